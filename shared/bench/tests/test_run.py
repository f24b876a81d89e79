"""Whole runs of the real runner and the real k6 against small servers with the faults of big ones.

The invariant throughout: every planned trial has a row, a fault costs its own rows only, and
nothing that was started is alive afterwards.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import server
from bench.errors import StackFailed
from bench.paths import BUILD, ROOT
from bench.processes import MARK, end_processes, marked
from bench.stack import load_stack
from reports.files import Folder
from reports.load import open_results

FIXTURES = Path(__file__).parent / "fixtures" / "groups"
K6 = BUILD / "tools" / "bin" / "k6"


@pytest.fixture
def bench(tmp_path: Path):
    """Start `python -m bench bench` on the test group; results go to a folder of the test's."""
    started: list[subprocess.Popen[str]] = []
    assert K6.exists(), "k6 is not built: run `make test`, which builds it"

    def start(**variables: str) -> subprocess.Popen[str]:
        variables = {"STUDY_GROUPS": str(FIXTURES), "RESULTS": str(tmp_path), **variables}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench", "bench"],
            cwd=ROOT,
            env={**os.environ, "DEVICE": "cpu", "COLUMNS": "200", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    end_processes(marked(server.run_mark()), 1)


def finish(process: subprocess.Popen[str]) -> str:
    """What a run said, once it has ended."""
    said, _ = process.communicate(timeout=240)
    return said


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of one kind below a results folder; every file must be whole."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob(f"*/{kind}/*.json"))]


def run_id(folder: Path) -> str:
    """The one run in a results folder."""
    (run,) = folder.glob("*/run.json")
    return run.parent.name


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait a bounded time; a condition that never comes true fails the test by its name."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def test_each_fault_costs_its_own_rows_only(bench: Any, tmp_path: Path) -> None:
    """A stack that dies, lies, hangs or never gets ready must not take a healthy one's rows."""
    process = bench()
    said = finish(process)
    assert process.returncode == 3, said
    trials = rows(tmp_path, "trials")
    assert len(trials) == 14, said
    by_stack: dict[str, list[dict[str, Any]]] = {}
    for row in trials:
        by_stack.setdefault(row["stack"], []).append(row)
    for row in by_stack["steady"]:
        # A busy machine may make the generator late; anything else would be the runner's fault.
        assert set(row["reasons"]).isdisjoint({"NOT_MEASURED", "PARITY_DRIFT", "ERRORS"}), row
        assert row["throughput_per_s"] or "GENERATOR_LATE" in row["reasons"], row
    for name, reason in (
        ("never-ready", "NOT_MEASURED"),
        ("dies", "NOT_MEASURED"),
        ("wrong-answers", "PARITY_DRIFT"),
        ("caches", "UNEQUAL_WORK"),
    ):
        assert any(reason in row["reasons"] for row in by_stack[name]), by_stack[name]
        for row in by_stack[name]:
            if row["verdict"] == "INVALID":
                assert row["throughput_per_s"] is None and row["detail"]
    stacks = {row["stack"]: row for row in rows(tmp_path, "stacks")}
    assert stacks["steady"]["status"] == "measured"
    assert stacks["steady"]["ready_s"] > 0 and stacks["steady"]["first_request_ms"] > 0
    assert stacks["steady"]["processes"] >= 1
    assert "not ready after 3 s" in stacks["never-ready"]["reason"]
    assert "server" in stacks["dies"]["reason"]
    assert stacks["caches"]["repeat_ratio"] < 0.9 < stacks["steady"]["repeat_ratio"] * 2
    assert "killed" in stacks["hangs-on-stop"]["reason"]
    assert "differ from the reference" in stacks["wrong-answers"]["reason"]
    assert stacks["needs-more"]["status"] == "skipped"
    assert stacks["needs-more"]["reason"] == "no-such-command is not on PATH"
    assert stacks["needs-more"]["fix"] == "install no-such-command" and "needs-more" not in by_stack
    well = {"steady", "paced", "caches", "needs-more"}
    assert all(row["status"] == "failed" for name, row in stacks.items() if name not in well)
    assert marked(server.run_mark()) == [], "something was left running"


def test_a_skipped_stack_is_no_failure(bench: Any, tmp_path: Path) -> None:
    """What can't run here must not make a run fail that measured all that can; nor may its bare
    engine, which lacks the same."""
    process = bench(STACK="needs-more,steady")
    said = finish(process)
    assert process.returncode == 0, said
    assert "skipping 9-echo/needs-more" in said and "install no-such-command" in said
    assert {row["stack"] for row in rows(tmp_path, "trials")} == {"steady"}


def test_a_run_in_the_python_that_is_there(bench: Any, tmp_path: Path) -> None:
    """RUNTIME=ambient, where it is called python3 only. Broken by an environment that is made all
    the same, by a row that looks pinned, or by one that doesn't tell what it was measured with."""
    shadow = tmp_path / "bin"
    shadow.mkdir()
    (shadow / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (shadow / "python3").chmod(0o755)
    path = [each for each in os.environ["PATH"].split(":") if not Path(each, "python").exists()]
    results = tmp_path / "results"
    process = bench(STACK="steady", RUNTIME="ambient", PATH=":".join([str(shadow), *path]),
                    RESULTS=str(results))  # fmt: skip
    said = finish(process)
    assert process.returncode == 0, said
    assert "installing" not in said
    trials = rows(results, "trials")
    assert trials and all("UNPINNED" in row["reasons"] for row in trials)
    facts = json.loads((results / run_id(results) / "run.json").read_text())
    assert facts["groups"]["9-echo"]["packages"]["pytest"]


def test_a_copied_folder_is_a_new_stack(bench: Any, tmp_path: Path) -> None:
    """Adding a stack is copying a folder: no list elsewhere names it. An interface that it can't
    be measured with is told, not failed."""
    groups = tmp_path / "shared" / "bench" / "tests" / "fixtures" / "groups"
    shutil.copytree(FIXTURES, groups)
    shutil.copytree(ROOT / "shared" / "k6" / "js", tmp_path / "shared" / "k6" / "js")
    shutil.copytree(groups / "9-echo" / "steady", groups / "9-echo" / "fourth")
    with (groups / "9-echo" / "fourth" / "stack.toml").open("a") as file:
        file.write('[interfaces.raw]\nprotocol = "echo"\nport = "http"\nskip = "another image"\n')
    process = bench(STUDY_GROUPS=str(groups), STACK="fourth", RESULTS=str(tmp_path / "results"))
    said = finish(process)
    assert process.returncode == 0, said
    measured = rows(tmp_path / "results", "trials")
    assert {(row["stack"], row["interface"]) for row in measured} == {("fourth", "rest")}
    found = {row["interface"]: row for row in rows(tmp_path / "results", "stacks")}
    assert (found["raw"]["status"], found["raw"]["reason"]) == ("skipped", "another image")
    assert found["rest"]["status"] == "measured"
    # A busy machine may make the generator late; a closed load has no schedule to be late for.
    closed = [row for row in measured if row["load_kind"] == "closed"]
    assert closed and all(row["completed"] > 0 for row in closed)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_is_continued(bench: Any, tmp_path: Path, end: signal.Signals) -> None:
    """However the runner ends: finished trials stay as they are, the missing ones come later."""
    process = bench(STACK="steady", PROFILE="standard")
    wait_for(lambda: len(list(tmp_path.glob("*/trials/*.json"))) == 1, "a first trial")
    process.send_signal(end)
    said = finish(process)
    first = {file: file.read_text() for file in tmp_path.glob("*/trials/*.json")}
    assert first
    for text in first.values():
        json.loads(text)
    if end != signal.SIGKILL:
        assert process.returncode == 130
        assert f"make bench RUN={run_id(tmp_path)}" in said
        assert marked(server.run_mark()) == [], "something was left running"
    process = bench(RUN=run_id(tmp_path))
    said = finish(process)
    assert process.returncode == 0, said
    assert len(rows(tmp_path, "trials")) == 3
    assert all(file.read_text() == text for file, text in first.items())
    assert marked(server.run_mark()) == []


@pytest.mark.slow
def test_a_start_cut_off_before_its_audit_is_audited_later(bench: Any, tmp_path: Path) -> None:
    """Rows are written as trials end, the audit comes after them: killed in between, a caching
    stack's rows would stay VALID for good if a continued run took them for finished."""
    process = bench(STACK="caches")
    wait_for(lambda: len(list(tmp_path.glob("*/trials/*.json"))) == 2, "both trials")
    process.kill()
    finish(process)
    assert not rows(tmp_path, "stacks"), "the kill came after the audit"
    assert not any("UNEQUAL_WORK" in row["reasons"] for row in rows(tmp_path, "trials"))
    process = bench(RUN=run_id(tmp_path))
    said = finish(process)
    assert process.returncode == 0, said
    assert all("UNEQUAL_WORK" in row["reasons"] for row in rows(tmp_path, "trials")), said
    assert len(rows(tmp_path, "trials")) == 2 and rows(tmp_path, "stacks")
    assert "closed-2\n" not in said, "what was measured is not measured again"


def test_two_runs_at_once_do_not_measure_each_other(bench: Any, tmp_path: Path) -> None:
    first = bench(STACK="steady", PROFILE="standard")
    wait_for(lambda: bool(list(tmp_path.glob("*/run.json"))), "the first run's start")
    second = bench(STACK="steady")
    said = finish(second)
    assert second.returncode == 2
    assert "is measuring on this checkout" in said
    finish(first)
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"STACK": "stedy"}, "did you mean 'steady'?"),
        ({"PROFILE": "smok"}, "did you mean 'smoke'?"),
        ({"MODEL": "gpt"}, "known: digest"),
        ({"INTERFACE": "grcp"}, "known: rest"),
        ({"RUN": "never"}, "no such run"),
        ({"DEVICE": "gpu"}, "did you mean 'cpu'?"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    bench: Any, variables: dict[str, str], says: str
) -> None:
    process = bench(**variables)
    said = finish(process)
    assert process.returncode == 2, said
    assert says in said
    assert "Traceback" not in said


def test_a_full_disk_is_said_and_nothing_is_torn(bench: Any, tmp_path: Path) -> None:
    """A disk that fills up during a run costs the rows it can't hold, not the whole ones."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        process = bench(STACK="steady", RESULTS=str(small))
        said = finish(process)
        assert process.returncode == 3, said
        assert "No space left on device" in said
        assert "Traceback" not in said
        rows(small, "trials")
        assert marked(server.run_mark()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_a_port_taken_before_the_bind_is_that_stacks_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may bind the chosen port first; the server then says so and ends."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(server, "free_ports", lambda names: {"http": taken.getsockname()[1]})
        stack = load_stack(FIXTURES / "9-echo" / "steady")
        running = server.start(stack, None, {"THREADS": "1"}, [0], tmp_path, "port-test:")
        try:
            with pytest.raises(StackFailed, match=r"exited with code 1 .*Address already in use"):
                server.wait_ready(running)
        finally:
            server.stop(running)
    assert marked("port-test:") == []
    assert MARK in running.env and not running.state.exists()


def test_figures_can_be_derived_again(bench: Any, tmp_path: Path) -> None:
    """A stored figure that its raw records don't give is a wrong figure, whoever changed it."""
    finish(bench(STACK="steady"))
    again = {**os.environ, "RESULTS": str(tmp_path), "RUN": run_id(tmp_path)}
    command = [sys.executable, "-P", "-m", "bench", "recompute"]
    done = subprocess.run(command, env=again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recomputed, 0 figures differ" in done.stdout
    (file,) = tmp_path.glob("*/trials/*closed-2*.json")
    row = json.loads(file.read_text())
    file.write_text(json.dumps({**row, "latency_p50_ms": row["latency_p50_ms"] * 1.001}))
    done = subprocess.run(command, env=again, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "latency_p50_ms: stored" in done.stdout


def test_each_run_says_how_wrong_its_generator_is(bench: Any, tmp_path: Path) -> None:
    """A figure without its error can't be trusted: calibration lands in run.json and in `runs`."""
    finish(bench(STACK="steady"))
    (file,) = tmp_path.glob("*/run.json")
    found = json.loads(file.read_text())["calibration"]
    assert found["calibration_error_p99_ms"] > 0
    protocols = {"http", "grpc", "sse", "grpc-stream", "ws"}
    assert {case["protocol"] for case in found["cases"]} == protocols
    for case in found["cases"]:
        assert case["requests"] > 50 and case["latency_error_p50_ms"] > 0
        if case["protocol"] not in ("http", "grpc"):
            assert {"ttft_error_p99_ms", "itl_error_p99_ms"} <= set(case)
    assert found["highest_rate_per_s"] is not None
    with open_results(Folder(str(tmp_path))) as loaded:
        shown = loaded.db.execute(
            "select unnest(calibration_cases, recursive := true) from runs"
        ).fetchall()
    assert {row[0] for row in shown} == protocols
