"""The fixture `server`: the stack whose folder a test file is in, really running."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bench.artefact import Artefact, Payload, read_payloads
from bench.cpus import split_cpus
from bench.errors import StackSkipped
from bench.group import load_group
from bench.progress import Reporter
from bench.serve import served
from bench.server import Running
from bench.settings import read_settings
from bench.stack import Stack


@dataclass(frozen=True)
class Server:
    """What tests of a stack may rely on."""

    running: Running
    artefact: Artefact
    payloads: list[Payload]

    @property
    def stack(self) -> Stack:
        return self.running.stack

    @property
    def url(self) -> str:
        """Base of the HTTP port, no slash at the end."""
        return f"http://127.0.0.1:{self.running.ports['http']}"

    @property
    def pid(self) -> int:
        return self.running.pid

    def port(self, name: str) -> int:
        return self.running.ports[name]

    def alive(self) -> bool:
        return self.running.alive()

    def payload(self, number: int) -> bytes:
        return self.payloads[number].data()


def stack_folder(test_file: Path) -> Path:
    """The stack folder above a test file."""
    for folder in test_file.parents:
        if (folder / "stack.toml").exists():
            return folder
    raise AssertionError(f"{test_file} is not in a stack folder")


@pytest.fixture
def start_server(request: pytest.FixtureRequest, tmp_path: Path):
    """A context manager that starts a server of its own, for tests that end or overload it."""
    import contextlib
    import os

    @contextlib.contextmanager
    def start() -> Iterator[Server]:
        folder = stack_folder(request.path)
        report = Reporter(Console(quiet=True))
        try:
            context = served(
                folder, read_settings({}), split_cpus(dict(os.environ)), tmp_path, report
            )
            with context as (running, artefact):
                payloads = read_payloads(load_group(folder.parent))
                yield Server(running, artefact, payloads)
        except StackSkipped as skipped:
            pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")

    return start


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """One server for all tests of a file. It must outlive them: each test's request is served."""
    import os

    folder = stack_folder(request.path)
    logs = tmp_path_factory.mktemp(folder.name)
    report = Reporter(Console(quiet=True))
    try:
        context = served(folder, read_settings({}), split_cpus(dict(os.environ)), logs, report)
        running, artefact = context.__enter__()
    except StackSkipped as skipped:
        pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")
    try:
        yield Server(running, artefact, read_payloads(load_group(folder.parent)))
    finally:
        context.__exit__(None, None, None)
