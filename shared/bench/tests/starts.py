"""Starts without a whole run around them: a real server, the real k6, and any load."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import server
from bench.artefact import Artefact
from bench.containers import Image
from bench.group import Load
from bench.install import Installed
from bench.paths import BUILD, K6_SOURCE
from bench.plan import Start, Trial
from bench.progress import Reporter
from bench.server import Running
from bench.session import run_start
from bench.stack import Interface, Stack, load_stack
from bench.store import read_json
from bench.trial import Bench
from bench.verdict import Verdict, conclude

GROUP = Path(__file__).parent / "fixtures" / "groups" / "9-echo"
TOOLS = BUILD / "tools" / "bin"


@dataclass
class Served:
    """What a start left: the last row of each load, the start's row, and what was reported."""

    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    figures: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    start: dict[str, Any] = field(default_factory=dict[str, Any])

    def reasons(self, load: str) -> set[str]:
        """The codes of one load's row; each must say in words what was seen."""
        verdict = self.verdicts[load]
        assert bool(verdict.reasons) == bool(verdict.detail), verdict
        return set(verdict.reasons)


class Quiet(Reporter):
    """A reporter that prints nothing."""

    def note(self, text: str) -> None:
        pass


def a_trial(load: Load, interface: str = "rest") -> Trial:
    """The trial of one load."""
    return Trial(load.name, GROUP.name, "test", "digest", interface, load.name, 1, 1, 7)


@dataclass(frozen=True)
class Place:
    """Where a test serves its starts."""

    bench: Bench
    artefact: Artefact

    def having(self, loads: Sequence[Load] = (), window_s: float = 1.5, **other: Any) -> "Place":
        """The same place with other loads, another window, or another field of Bench."""
        group = replace(self.bench.group, loads={load.name: load for load in loads})
        profile = replace(self.bench.profile, window_s=window_s)
        return replace(self, bench=replace(self.bench, group=group, profile=profile, **other))

    def serve(
        self, stack: Stack, rates: dict[str, float] | None = None, image: Image | None = None
    ) -> Served:
        """Serve one start of a stack with all loads of the group."""
        served = Served()
        trials = tuple(a_trial(load) for load in self.bench.group.loads.values())

        def save(
            trial: Trial, figures: dict[str, Any], verdict: Verdict, detail: str | None
        ) -> None:
            served.figures[trial.load] = figures
            served.verdicts[trial.load] = replace(verdict, detail=detail)

        def condemn(trials: list[Trial], code: str, why: str) -> None:
            for trial in trials:
                before = served.verdicts[trial.load]
                detail = "; ".join(filter(None, (why, before.detail)))
                served.verdicts[trial.load] = conclude({*before.reasons, code}, detail)

        run_start(
            self.bench,
            Installed(stack, None, None, None, None, image),
            self.artefact,
            {"THREADS": "1"},
            Start(GROUP.name, stack.id, "digest", 1, trials),
            {name: (rates or {}).get(name) for name in self.bench.group.loads},
            dict.fromkeys(self.bench.group.loads),
            trials,
            Quiet(Console(quiet=True)),
            save,
            lambda name, row: served.start.update(row),
            condemn,
        )
        assert set(served.verdicts) == set(self.bench.group.loads), "a trial has no row"
        return served


def echo(fault: str) -> Stack:
    """The echo server with a fault of fixtures/groups/9-echo/server.py."""
    steady = load_stack(GROUP / "steady")
    command = ("python", "-P", "../server.py", "--fault", fault)
    return replace(steady, id=fault, command=command, ready_timeout_s=60)


def burstable() -> Stack:
    """A server that is quick for 150 requests in a row; what follows without a pause waits 1 s."""
    command = ("python", "-P", "../server.py", "--burst", "150")
    return replace(echo("none"), id="burstable", command=command)


def null_stack(*flags: str) -> Stack:
    """The null server as a stack: it keeps a record of when it really answered."""
    command = " ".join(
        [
            f"exec '{TOOLS / 'nullserver'}' -http $HOST:$HTTP_PORT -grpc $HOST:$GRPC_PORT",
            *flags,
        ]
    )
    return replace(
        load_stack(GROUP / "steady"),
        id="null",
        folder=K6_SOURCE / "tests",
        command=("sh", "-c", command),
        ports=("http", "grpc"),
        ready_url="http://{host}:{http_port}/control/log",
        ready_timeout_s=60,
        interfaces=(Interface("http", "null", "http", {}),),
    )


def start(place: Place, stack: Stack) -> Running:
    """Start a stack without the rest of a start; whoever calls this stops it."""
    logs = place.bench.raw / f"logs-{time.monotonic_ns()}"
    cpus = place.bench.cpus.server
    running = server.start(stack, None, {"THREADS": "1"}, cpus, logs, place.bench.mark)
    server.wait_ready(running)
    return running


@contextlib.contextmanager
def hogs(count: int) -> Generator[None]:
    """Processes beside, that use all the CPU they get."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def in_window(
    folder: Path, after_s: float, act: Callable[[dict[str, Any]], None]
) -> Generator[None]:
    """Call `act` with the trial's plan, so long after the window of the trial below it began.

    A trial that never came to its window fails the test.
    """
    acted: list[bool] = []
    over = threading.Event()

    def watch() -> None:
        while not (said := read_json(folder / "k6.json")) and not over.wait(0.01):
            pass
        if said:
            due = said["window_start_ns"] / 1e9 + after_s
            over.wait(max(0.0, due - time.monotonic()))
            act(read_json(folder / "plan.json") or {})
            acted.append(True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(30)
    assert acted, f"{folder.name} never came to its window"
