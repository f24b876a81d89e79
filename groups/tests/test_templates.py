"""`make template`: each stack as a service of its own, used the way its new owner would use it."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench.digests import folder_digest
from bench.environments import find_python
from bench.errors import StackSkipped, UserError
from bench.folders import all_groups, find_stacks
from bench.install import check_requirements
from bench.paths import BUILD, ROOT
from bench.settings import VARIABLES, read_settings
from bench.stack import load_stack
from bench.template import kept_files, make_service, template

# What takes seconds to install and start; the others are as slow as their frameworks.
QUICK = "1-image-classification/fastapi-onnxruntime"
LINK = re.compile(r"\]\(((?!https?:|#)[^)]+)\)")
IMPORT = re.compile(r'from "(\.[^"]+)"')
PORT = re.compile(r"(\S+)\s+127\.0\.0\.1:(\d+)")

FOLDERS = find_stacks(all_groups(), None)
NAMES = {f"{folder.parent.name}/{folder.name}": folder for folder in FOLDERS}


def environ() -> dict[str, str]:
    """A newcomer's environment: none of the study's variables is set."""
    ours = {*VARIABLES, "TO", "MAKEFLAGS", "MAKELEVEL", "STUDY_GROUPS"}
    return {k: v for k, v in os.environ.items() if k not in ours and k != "PYTHONPATH"}


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", *words],
        cwd=folder,
        env=environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def lend(service: Path, group: str) -> None:
    """What takes a quarter of an hour to build: tools, the runner and the artefact, from here.

    The service's own environment is not among them.
    """
    study = BUILD / "envs" / "study"
    lock = service / "shared" / "bench" / "requirements.lock"
    assert (study / "ready").stat().st_mtime >= lock.stat().st_mtime, "make would build ours anew"
    artefacts = BUILD / "artefacts" / group
    artefacts.mkdir(parents=True, exist_ok=True)
    for source, target in (
        (BUILD / "tools", "tools"),
        (study, "envs/study"),
        (artefacts, f"artefacts/{service.name}"),
    ):
        link = service / ".build" / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_service_leads_back(name: str, tmp_path: Path) -> None:
    """An import, a link or a path into the checkout works for us and breaks where we are not."""
    service = tmp_path / "my-service"
    make_service(NAMES[name], service)
    for file in service.rglob("*"):
        if ".git" in file.relative_to(service).parts or not file.is_file():
            continue
        assert not file.is_symlink(), f"{file} is a link"
        assert str(ROOT).encode() not in file.read_bytes(), f"{file} names the checkout"
        if file.suffix == ".md":
            for target in LINK.findall(file.read_text()):
                there = (file.parent / target.split("#")[0]).resolve()
                assert there.exists() and there.is_relative_to(service), f"{file}: {target}"
        if file.suffix == ".js":
            for target in IMPORT.findall(file.read_text()):
                assert (file.parent / target).exists(), f"{file} imports {target}"
    staged = subprocess.run(
        ["git", "ls-files"], cwd=service, capture_output=True, text=True, check=True
    ).stdout
    assert {"Makefile", "README.md", "LICENSE", "service/stack.toml"} <= set(staged.splitlines())
    stack = load_stack(NAMES[name])
    assert stack.summary in (service / "README.md").read_text()
    assert all(f"make {word}" in make(service, "help").stdout for word in ("run", "test", "bench"))
    for line in (service / "shared" / "VERSION").read_text().splitlines():
        if line.startswith("sha256"):
            _, sha256, part = line.split()
            assert sha256 == folder_digest(ROOT / part) == folder_digest(service / part)


@pytest.mark.parametrize(
    ("stack", "to", "said"),
    [
        (QUICK, "", "say where to"),
        ("", "a", "say which one"),
        ("nothing", "a", "no such stack"),
        (QUICK, "theirs", "is there already"),
        (QUICK, "My Service", "lower case"),
        (QUICK, "theirs/notes/a", "can't be written"),
    ],
)
def test_a_wrong_use_is_said_and_leaves_nothing(
    stack: str, to: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing over somebody's folder, or half a service, is worse than no service."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes").write_text("mine")
    monkeypatch.setenv("TO", str(tmp_path / to) if to else "")
    with pytest.raises(UserError, match=said):
        template(read_settings({"STACK": stack}), Console(quiet=True))
    assert [file.name for file in tmp_path.rglob("*")] == ["theirs", "notes"]


def test_a_checkout_that_a_repository_around_it_ignores_is_copied_all_the_same(
    tmp_path: Path,
) -> None:
    """A tarball unpacked in a project's ignored folder: git answers, and knows none of the files.
    Broken by a service without a single one of the stack's."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/study\n")
    source = tmp_path / "study" / "stack"
    source.mkdir(parents=True)
    (source / "server.py").write_text("")
    assert list(kept_files(source)) == [source / "server.py"]
    (tmp_path / ".gitignore").write_text("*.log\n")
    (source / "a.log").write_text("")
    assert list(kept_files(source)) == [source / "server.py"]


def test_a_stack_folder_has_the_same_four_commands() -> None:
    """A newcomer who opens one folder types `make run` there, not a line of three variables."""
    for name, folder in NAMES.items():
        done = make(folder, "-n", "run", "test", "bench", "image")
        assert done.returncode == 0, done.stderr
        for target in ("serve", "test-stack", "bench", "image"):
            assert f"{target} STACK={name}" in done.stdout
        assert (folder / "Makefile").read_text() == (FOLDERS[0] / "Makefile").read_text()


def parameter(name: str) -> object:
    return pytest.param(name, marks=[] if name == QUICK else [pytest.mark.slow])


@pytest.mark.parametrize("name", [parameter(name) for name in NAMES])
def test_a_service_runs_and_answers(name: str, tmp_path: Path) -> None:
    """Installed from its locks, started and called, in a folder of its own.

    A module that is only importable in the checkout, or a lock left out, would show here.
    """
    stack = load_stack(NAMES[name])
    try:
        check_requirements(stack.requires, find_python(stack.python), "cpu")
    except StackSkipped as skipped:
        pytest.skip(f"{name} can't run here: {skipped}; {skipped.fix or ''}")
    service = tmp_path / "my-service"
    done = make(ROOT, "template", f"STACK={name}", f"TO={service}")
    assert done.returncode == 0, done.stdout + done.stderr
    lend(service, NAMES[name].parent.name)
    if stack.container_only:
        done = make(service, "run")
        assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr, done
        return
    log = tmp_path / "said"
    with log.open("w") as said:
        running = subprocess.Popen(
            ["make", "-s", "run"],
            cwd=service,
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300 + stack.ready_timeout_s
        while "Ctrl-C stops it" not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        ports = dict(PORT.findall(log.read_text()))
        assert set(ports) == {interface.name for interface in stack.interfaces}
        call = first_call(service, ports[stack.interfaces[0].name])
        done = subprocess.run(
            ["bash", "-c", call],
            cwd=service / "service",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 and done.stdout.strip(), call + done.stdout + done.stderr
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(stack.stop_timeout_s + 30)
    if name == QUICK:
        return
    (block,) = re.findall(r"^```sh\n(.*?)^```$", (service / "README.md").read_text(), re.M | re.S)
    for line in block.splitlines():
        done = make(service, *line.split()[1:])
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(service.glob("results/*/trials/*.json"))


def first_call(service: Path, port: str) -> str:
    """The tutorial's first curl to the server, at the port it was given; errors make it fail."""
    text = (service / "service" / "README.md").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("curl ") and "READY" not in line]
    assert lines, "the tutorial calls the server with curl nowhere"
    line = re.sub(r"\b(localhost|127\.0\.0\.1):\d+", f"127.0.0.1:{port}", lines[0])
    return line.replace("curl ", "curl --fail ", 1)
