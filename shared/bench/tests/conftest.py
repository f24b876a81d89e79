"""The echo group's artefact, and a place to serve starts of a stack on it."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.artefact import Artefact, read_artefact, read_payloads
from bench.config import load_group
from bench.cpus import split_cpus
from bench.processes import end_processes, marked
from bench.trial import Bench

sys.path.append(str(Path(__file__).parent))  # starts.py

from starts import GROUP, TOOLS, Place


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
