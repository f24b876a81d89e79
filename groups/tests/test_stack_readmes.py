"""Each stack's README, followed as a newcomer would: copy the folder, run its commands as written.

Every `sh` and `python` block is run, in order, in a copy of the stack folder beside a copy of the
payloads. Lines that need a container engine are left out, and in `make test` those of grpcurl where
there is none on PATH (`make test-all` builds the one that grpcurl/go.mod pins); nothing else is.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from bench.artefact import ensure_artefact
from bench.environments import find_python
from bench.errors import StackSkipped
from bench.folders import all_groups, find_stacks
from bench.group import load_group
from bench.install import check_requirements
from bench.paths import BUILD
from bench.progress import Reporter
from bench.settings import VARIABLES
from bench.stack import Stack, load_stack
from bench.tools import ensure_go, uv

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
NEEDS_AN_ENGINE = re.compile(r"([A-Z_]+=\S+ )*(docker|podman) ")
NEEDS_GRPCURL = re.compile(r"(.*\| *)?grpcurl ")
ARTEFACT = "path/to/artefact"
# A tutorial's parts, in the order in which a newcomer needs them.
PARTS = ["Run it", "Call it", "Tune it", "Deploy it", "What it does badly"]
FOLDERS = find_stacks(all_groups(), None)


def steps(readme: str) -> list[tuple[str, str]]:
    """(language, command) of all blocks; `sh` blocks split into their lines."""
    found: list[tuple[str, str]] = []
    for language, block in BLOCK.findall(readme):
        if language == "python":
            found.append((language, block))
            continue
        joined = block.replace("\\\n", " ")
        found += [
            ("sh", line)
            for line in joined.splitlines()
            if line.strip() and not line.startswith("#") and not NEEDS_AN_ENGINE.match(line)
        ]
    return found


@pytest.fixture(scope="session")
def grpcurl(request: pytest.FixtureRequest) -> Path | None:
    """The folder that grpcurl is in; None without one, unless there is time to build it."""
    if found := shutil.which("grpcurl"):
        return Path(found).parent
    if request.config.option.markexpr == "not slow":
        return None
    folder = BUILD / "tools" / "grpcurl"
    go = ensure_go(Reporter(Console(quiet=True)))
    subprocess.run(
        [go, "build", "-o", f"{folder}/", "github.com/fullstorydev/grpcurl/cmd/grpcurl"],
        cwd=Path(__file__).parent / "grpcurl",
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
        check=True,
    )
    return folder


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}"
)
def test_a_readme_is_a_tutorial(folder: Path) -> None:
    """Someone who has to deploy a server tonight finds each step where every README has it, and a
    call for each way to call it."""
    text = (folder / "README.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert [heading for heading in headings if heading in PARTS] == PARTS
    assert text.index("\n## ") > 300, "it does not say first what it is"
    called = text[text.index("## Call it") :]
    wanted = ["curl -", "python"]
    if any(each.protocol.endswith("-grpc") for each in load_stack(folder).interfaces):
        wanted.append("grpcurl -")
    assert [way for way in wanted if way not in called] == []


def is_ready(stack: Stack, process: subprocess.Popen[bytes]) -> bool:
    """Whether the readiness URL answers on one of the ports that the server listens on."""
    import httpx

    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    ports: set[int] = set()
    for one in tree:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended since it was listed
            ports |= {c.laddr.port for c in one.net_connections() if c.status == "LISTEN"}
    for port in ports:
        names = {f"{name}_port": port for name in stack.ports}
        url = stack.ready_url.format(host="127.0.0.1", model="resnet50", **names)
        try:
            answer = httpx.get(url, timeout=2)
        except httpx.HTTPError:
            continue
        if answer.status_code == 200 and (stack.ready_contains or "") in answer.text:
            return True
    return False


def parameter(folder: Path) -> Any:
    """A stack, marked slow where its own tests are: it takes as long to follow."""
    tests = (folder / "tests").glob("test_*.py")
    slow = any("\npytestmark = pytest.mark.slow" in file.read_text() for file in tests)
    name = f"{folder.parent.name}/{folder.name}"
    return pytest.param(folder, marks=[pytest.mark.slow] if slow else [], id=name)


def healthy(home: Path, environ: dict[str, str]) -> bool | None:
    """What the container's health check says of a server on the usual port; None without one."""
    if not (home / "healthcheck.py").exists():
        return None
    check = [sys.executable, "-P", "healthcheck.py"]
    return subprocess.run(check, cwd=home, env=environ, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("folder", [parameter(folder) for folder in FOLDERS])
def test_the_readme_works_as_written(folder: Path, tmp_path: Path, grpcurl: Path | None) -> None:
    """A command that fails for whoever copies the folder makes the folder no template."""
    stack = load_stack(folder)
    if stack.container_only:
        pytest.skip("a container: it needs an engine and its image")
    try:
        check_requirements(stack.requires, find_python(stack.python), "cpu")
    except StackSkipped as skipped:
        pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")
    group = load_group(folder.parent)
    artefact = ensure_artefact(group, group.models[0], "auto", Reporter(Console(quiet=True)))
    home = tmp_path / folder.name
    shutil.copytree(folder, home, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    shutil.copytree(folder.parent / "payloads", tmp_path / "payloads")
    ours = {*VARIABLES, "Q", "FORMAT"}
    environ = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("PYTHON")}
    folders = [str(Path(uv()).parent), str(grpcurl or tmp_path), environ["PATH"]]
    environ["PATH"] = os.pathsep.join(folders)
    found = steps((folder / "README.md").read_text())
    if grpcurl is None:
        found = [step for step in found if not NEEDS_GRPCURL.match(step[1])]
    script = next(word for word in stack.command if word.endswith(".py"))
    starts = [line for language, line in found if language == "sh" and script in line]
    assert len(starts) == 1, f"the README should start the server once: {starts}"
    asked = 0
    server: subprocess.Popen[bytes] | None = None
    try:
        for language, text in found:
            text = text.replace(ARTEFACT, str(artefact.folder))
            if text.replace(str(artefact.folder), ARTEFACT) == starts[0]:
                server = subprocess.Popen(["bash", "-c", f"exec env {text}"], cwd=home, env=environ)
                deadline = time.monotonic() + stack.ready_timeout_s
                while not is_ready(stack, server):
                    assert server.poll() is None, f"{text}: ended with {server.returncode}"
                    assert time.monotonic() < deadline, f"{text}: never ready"
                    time.sleep(0.2)
                continue
            command = (
                ["bash", "-o", "pipefail", "-c", text]
                if language == "sh"
                else [sys.executable, "-c", text]
            )
            done = subprocess.run(
                command, cwd=home, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
            if server is not None:
                asked += 1
                assert done.stdout.strip(), f"{text}: no answer"
        assert server is not None and asked >= 2, "the README does not show how to call the server"
        assert healthy(home, environ) in (True, None), "its container would be restarted for ever"
        server.terminate()
        assert server.wait(stack.stop_timeout_s) == 0
        assert healthy(home, environ) in (False, None), "its container would never be restarted"
    finally:
        if server is not None and server.poll() is None:
            for process in psutil.Process(server.pid).children(recursive=True):
                process.kill()
            server.kill()
            server.wait()
