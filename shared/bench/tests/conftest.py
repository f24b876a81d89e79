"""Where tests measure: single starts of a stack, and whole runs watched from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bench.artefact import Artefact, read_artefact, read_payloads
from bench.cpus import split_cpus
from bench.group import load_group
from bench.paths import BUILD, ROOT
from bench.processes import SERVES, end_processes, marked
from bench.server import run_mark
from bench.trial import Bench

sys.path.append(str(Path(__file__).parent))  # starts.py

from starts import GROUP, TOOLS, Place

FIXTURES = Path(__file__).parent / "fixtures" / "groups"
# Started alone, the test stacks have no environment; not every machine knows the name `python`.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """The echo group's artefact."""
    out = tmp_path_factory.mktemp("artefact") / "digest"
    command = [sys.executable, "-P", "build.py", "--model", "digest", "--weights", "random"]
    more = ["--payloads", str(GROUP / "payloads"), "--out", str(out)]
    subprocess.run([*command, *more], cwd=GROUP / "model", check=True, capture_output=True)
    return read_artefact(out)


def a_place(artefact: Artefact, folder: Path) -> Generator[Place]:
    """A place to serve starts; whatever was started there is ended afterwards."""
    assert (TOOLS / "k6").exists(), "k6 is not built: run `make test`, which builds it"
    group = load_group(GROUP)
    payloads = read_payloads(group)
    mark = f"test:{os.getpid()}:{time.monotonic_ns()}"
    yield Place(
        Bench(
            group=group,
            profile=replace(group.profiles["smoke"], warmup_s=0.3, quiet_wait_s=0),
            payloads=[payload for payload in payloads if not payload.audit],
            held_back=[payload for payload in payloads if payload.audit],
            cpus=split_cpus({}),
            k6=TOOLS / "k6",
            device="cpu",
            runtime="native",
            raw=folder,
            mark=mark,
        ),
        artefact,
    )
    end_processes(marked(mark), 1)


@pytest.fixture
def place(artefact: Artefact, tmp_path: Path) -> Generator[Place]:
    """A place of the test's own."""
    yield from a_place(artefact, tmp_path)


@pytest.fixture(scope="module")
def shared_place(artefact: Artefact, tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    """A place for all tests of a module."""
    yield from a_place(artefact, tmp_path_factory.mktemp("place"))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait a bounded time; a condition that never comes true fails the test by its name."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


@dataclass
class Runner:
    """One `python -m bench TARGET` and what it has said so far."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, phrase: str) -> None:
        """Until it has said this; fails if it ends first."""
        wait_until(
            lambda: phrase in self.said() or self.process.poll() is not None,
            f"{phrase!r} in:\n{self.said()}",
        )
        assert phrase in self.said(), f"it ended without {phrase!r}:\n{self.said()}"

    def finish(self) -> int:
        return self.process.wait(240)


@dataclass
class Study:
    """A results folder and a groups folder of the test's own."""

    results: Path
    groups: Path = FIXTURES
    started: list[Runner] = field(default_factory=list)

    def start(self, target: str, **variables: str) -> Runner:
        log = self.results.with_name(f"said-{len(self.started)}.txt")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench", target],
                cwd=ROOT,
                env={
                    **{name: value for name, value in os.environ.items() if name != "RUN"},
                    **{"DEVICE": "cpu", "COLUMNS": "200", "RESULTS": str(self.results)},
                    **{"STUDY_GROUPS": str(self.groups), **variables},
                },
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.started.append(Runner(process, log))
        return self.started[-1]

    def run(self, target: str, **variables: str) -> tuple[int, str]:
        """Run a target to its end: its exit code and what it said."""
        runner = self.start(target, **variables)
        return runner.finish(), runner.said()

    def runs(self) -> list[str]:
        return sorted(file.parent.name for file in self.results.glob("*/run.json"))

    def facts(self, run: str) -> dict[str, Any]:
        return json.loads((self.results / run / "run.json").read_text())

    def trials(self, run: str) -> dict[str, dict[str, Any]]:
        files = (self.results / run / "trials").glob("*.json")
        return {file.stem: json.loads(file.read_text()) for file in files}


@pytest.fixture
def study(tmp_path: Path):
    assert (BUILD / "tools" / "bin" / "k6").exists(), "k6 is not built: run `make test`"
    found = Study(tmp_path / "results")
    found.results.mkdir()
    yield found
    for runner in found.started:
        if runner.process.poll() is None:
            runner.process.kill()
            runner.process.wait()
        end_processes(marked(f"{SERVES}{runner.process.pid}."), 1)
    end_processes(marked(run_mark()), 1)
