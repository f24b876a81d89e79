"""What kill -9 leaves behind, at any moment and to whomever."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from bench import sessions
from bench.environments import environment_path
from bench.lock import hand_mark, machine_to_ourselves, of_the_dead
from bench.processes import MARK, SERVES, end_processes, marked, of_session
from bench.progress import Reporter
from bench.server import environment_for, free_ports, run_mark, spawn
from reports.validate import faults

# What the runner has just said when it is killed, and again after a seeded part of a second.
MOMENTS = (
    "calibration: grpc",
    "bare engine plain, digest, fp32, block 1",
    "block 1: rest: comparing",
    "block 1: rest: closed-2",
    "(block 1)",
    "(block 2)",
)


def left_running() -> list[psutil.Process]:
    """Processes that runs of this checkout started."""
    found: list[psutil.Process] = []
    for pid in marked(run_mark()):
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def someone_elses_server(folder: Path) -> subprocess.Popen[bytes]:
    """A server with the command line of the stack's own, started by hand."""
    env = environment_path(folder, "cpu")
    full = environment_for(env, {}, free_ports(["http"]))
    full.pop(MARK, None)
    return subprocess.Popen(
        [str(env / "bin" / "python"), "-P", "../server.py", "--fault", "none"], cwd=folder, env=full
    )


def test_a_runner_killed_at_any_moment_loses_and_leaves_nothing(study: Any) -> None:
    """Broken by a file written in place (torn), a resumed run that measures again what it has, a
    lock that outlives its holder, a server that the next run doesn't find, or finds by its name."""
    draw = random.Random(20261121)
    run: str | None = None
    finished: dict[Path, str] = {}
    orphans: list[psutil.Process] = []
    orphaned = 0
    foreign: subprocess.Popen[bytes] | None = None
    twins = 0
    try:
        for moment in MOMENTS:
            again = {"RUN": run} if run else {}
            runner = study.start("bench", STACK="steady", PROFILE="standard", **again)
            runner.wait_for(moment)
            assert not any(map(alive, orphans)), f"still alive after the next start: {orphans}"
            if foreign is None:
                foreign = someone_elses_server(study.groups / "9-echo" / "steady")
            time.sleep(draw.random())
            assert runner.process.poll() is None, runner.said()
            runner.process.kill()
            runner.process.wait()
            orphans = left_running()
            orphaned += len(orphans)
            mine = command_line(psutil.Process(foreign.pid))
            twins += sum(command_line(one) == mine for one in orphans)
            run = study.runs()[0] if study.runs() else None
            if run:
                assert faults(study.results) == []
            assert all(file.read_text() == text for file, text in finished.items())
            finished = {file: file.read_text() for file in study.results.glob("*/trials/*.json")}
        assert orphaned and twins, "no kill left a server behind: nothing was tested"
        assert len(finished) == 2, "the moments were not spread over the run"
        code, said = study.run("bench", RUN=run)
        assert code == 0, said
        assert not any(map(alive, orphans)) and left_running() == []
        assert foreign and foreign.poll() is None, "a process that no run started was ended"
    finally:
        if foreign:
            foreign.kill()
            foreign.wait()
    assert study.runs() == [run] and faults(study.results) == []
    assert all(file.read_text() == text for file, text in finished.items())
    rows = study.trials(run)
    assert len(rows) == 3 and all(row["completed"] for row in rows.values())
    engines = study.facts(run)["groups"]["9-echo"]["engines"]
    assert {row["block"] for row in engines} == {1, 2, 3}, "a block's ceiling was lost"
    code, said = study.run("recompute", RUN=run)
    assert code == 0 and "3 trials recomputed, 0 figures differ" in said, said


def serving(study: Any) -> Any:
    """A `make serve` that has got its server ready."""
    runner = study.start("serve", STACK="steady")
    runner.wait_for("Ctrl-C stops it")
    return runner


def served_by(server: int) -> list[int]:
    """What the `make serve` of this number started."""
    return marked(f"{SERVES}{server}.")


def test_a_killed_server_by_hand_is_ended_and_a_live_one_is_not(study: Any) -> None:
    """`make serve` and kill -9. Broken by a server that keeps its memory and CPU until the machine
    restarts, or by a second `make serve`, or a run, that ends what another one serves."""
    first, second = (serving(study) for _ in range(2))
    left, kept = served_by(first.process.pid), served_by(second.process.pid)
    assert left and kept
    first.process.kill()
    first.process.wait()
    assert served_by(first.process.pid) == left, "the kill left nothing: nothing was tested"
    third = serving(study)
    assert "that an interrupted run or server left running" in third.said()
    assert served_by(first.process.pid) == [] and served_by(second.process.pid) == kept
    third.process.kill()
    third.process.wait()
    with machine_to_ourselves(Reporter(Console(quiet=True))):
        assert served_by(third.process.pid) == [] and served_by(second.process.pid) == kept
    assert served_by(second.process.pid) == kept, "the run's end is not the server's"
    second.process.send_signal(signal.SIGINT)
    assert second.finish() == 130 and served_by(second.process.pid) == []
    notes = sessions.noted(lambda mark: mark.startswith(f"{SERVES}{second.process.pid}."))
    assert not list(notes), "a note outlived what it led to"


@pytest.mark.parametrize("mark", [run_mark("killed"), f"{SERVES}{2**22 + 1}.1"])
def test_what_lost_its_mark_is_found_by_its_session(tmp_path: Path, mark: str) -> None:
    """A server whose worker rewrote its title, and a starter that was killed: nothing carries the
    mark any more. Broken by an engine that computes beside the next run for ever; by a number that
    is somebody else's by now and is ended all the same; or by ending what a live one serves."""
    started = {"cwd": tmp_path, "env": {**os.environ, MARK: mark}, "cpus": [0]}
    logs = {"stdout": tmp_path / "out", "stderr": tmp_path / "err"}
    wiped = spawn(["sh", "-c", "env -i sleep 60 & exit 0"], **started, **logs)
    foreign, served = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2))
    note = sessions.BEGUN / str(served.pid)
    try:
        assert wiped.wait() == 0
        deadline = time.monotonic() + 60
        while marked(mark):
            assert time.monotonic() < deadline, "the worker still has its mark"
            time.sleep(0.01)
        assert len(sessions.left_over(of_the_dead)) == 1
        (sessions.BEGUN / str(foreign.pid)).write_text(f"{sessions.boot_id()} 1 {mark}")
        sessions.remember(served.pid, hand_mark())
        with machine_to_ourselves(Reporter(Console(quiet=True))):
            assert of_session(wiped.pid) == []
        assert foreign.poll() is None and not list(sessions.noted(of_the_dead))
        assert served.poll() is None and note.exists()
    finally:
        end_processes([*of_session(wiped.pid), foreign.pid, served.pid], 1)
        note.unlink(missing_ok=True)
        for process in (foreign, served):
            process.wait()


def kill_one(words: str) -> None:
    """Kill -9 the one process of the run with this in its command line."""
    (process,) = [one for one in left_running() if words in " ".join(command_line(one))]
    os.kill(process.pid, 9)


def test_a_killed_generator_or_server_costs_its_own_trial(study: Any) -> None:
    """Broken by figures of a torn record, by a run that gives up, or by a failed trial that counts
    as done when the run is continued."""
    runner = study.start("bench", STACK="steady", PROFILE="standard")
    for block, victim in ((1, "k6 run"), (2, "server.py")):
        runner.wait_for(f"block {block}: rest: closed-2")
        time.sleep(0.6)
        kill_one(victim)
    assert runner.finish() == 3, runner.said()
    (run,) = study.runs()
    before = study.trials(run)
    for block, why in ((1, "k6 exited with code -9"), (2, "the server e")):
        row = before[f"9.steady.digest.rest.closed-2.b{block}"]
        assert row["reasons"] == ["NOT_MEASURED"] and why in row["detail"], row
        assert row["throughput_per_s"] is None
    whole = before["9.steady.digest.rest.closed-2.b3"]
    assert whole["completed"], runner.said()
    assert faults(study.results) == [] and left_running() == []
    code, said = study.run("bench", RUN=run)
    assert code == 0, said
    after = study.trials(run)
    assert after[whole["trial_id"]] == whole and len(after) == 3
    assert all(row["completed"] for row in after.values())
