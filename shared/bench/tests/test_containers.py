"""Servers in containers: what the engine is told, and what is made of what it says.

The engine is a double (engine_double.py): these tests say nothing about a real one. In
`.ci/containers` a stack runs in real containers.
"""

import json
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starts import GROUP, Place, Quiet, echo

from bench import containers, images, server
from bench import install as install_module
from bench.cgroups import Cgroup, CgroupMeter, cgroup_of, folder_of
from bench.containers import ENGINES, LABEL, Container, Image, find_engine, remove_leftovers
from bench.errors import StackFailed, StackSkipped, UserError
from bench.install import Installed, install, prepare
from bench.lock import of_ended_servers, of_the_dead
from bench.paths import ROOT
from bench.processes import SERVES
from bench.server import run_mark
from bench.sessions import began
from bench.settings import read_settings
from bench.setup import select
from bench.stack import InContainer, Stack, load_stack, per_device

DOUBLE = Path(__file__).parent / "engine_double.py"
REPORT = Quiet(Console(quiet=True))
OWN = {
    "ADDRESS": per_device("{host}:{http_port}={model_dir}"),
    "BATCH": {"cpu": "8", "cuda": "256"},
    "DEPTH": per_device("2"),
}
UPSTREAM = "registry.example/server@sha256:" + "0" * 64


@dataclass(frozen=True)
class Double:
    """The engine's double and what it was told."""

    home: Path

    def set(self, name: str, text: str) -> None:
        """Have it behave."""
        (self.home / name).write_text(text)

    def told(self, verb: str) -> list[list[str]]:
        """What it was told to do, of one kind."""
        file = self.home / "told"
        lines = file.read_text().splitlines() if file.exists() else []
        return [words for line in lines if (words := json.loads(line))[0] == verb]


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    """The double as the only engine on PATH."""
    home = tmp_path / "double"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{DOUBLE}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("DOUBLE_HOME", str(home))
    monkeypatch.setattr(containers, "USED", tmp_path / "used")
    return Double(home)


@pytest.fixture
def accounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup for the double's containers: it has none of its own."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    write(folder, {"cpu.stat": "usage_usec 5\n", "memory.current": "3000000\n"})
    write(folder, {"memory.stat": "inactive_file 1000000\n", "cgroup.procs": f"{os.getpid()}\n"})
    monkeypatch.setattr(containers, "cgroup", lambda container: Cgroup(folder, folder))  # pyright: ignore[reportUnknownLambdaType]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def an_image(*flags: str) -> Image:
    return Image(ENGINES[0], "localhost/echo:test", "sha256:ab", 100.0, flags)


def in_container(stack: Stack, **more: Any) -> Stack:
    return replace(stack, image="Dockerfile", ready_timeout_s=1, stop_timeout_s=1, **more)


def test_an_engine_that_does_not_answer_is_none(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without its daemon would fail every start; the reason must name it."""
    assert find_engine().name == "docker"
    double.set("info", "1")
    monkeypatch.setenv("PATH", f"{double.home / 'bin'}:{double.home}")
    with pytest.raises(StackSkipped, match=r"docker does not answer.*Cannot connect") as skipped:
        find_engine()
    assert skipped.value.fix
    monkeypatch.setenv("PATH", str(double.home))
    with pytest.raises(StackSkipped, match=r"no container engine.*docker, podman, nerdctl"):
        find_engine()


def test_a_container_is_shut_in_and_told_what_a_process_is(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by a container that may write, that runs on the generator's CPUs, that sees secrets of
    the shell, or whose server listens where nobody calls."""
    monkeypatch.setenv("HUB_TOKEN", "secret")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/this/machine")
    monkeypatch.setenv("ADDRESS", "elsewhere")
    monkeypatch.setenv("DEPTH", "9")
    told = {"MODEL_DIR": str(tmp_path), "THREADS": "1", "DEVICE": "cpu"}
    stack = in_container(echo("none"), folder=tmp_path / "stack", container=InContainer({}, OWN))
    stack.folder.mkdir()
    (stack.folder / "tuned.sh").write_text("$ADDRESS $DEPTH")
    running = server.start(
        stack, None, told, [0], tmp_path / "logs", "test:x", an_image("--memory=2g")
    )
    try:
        deadline = time.monotonic() + 30
        while not double.told("run") and time.monotonic() < deadline:
            time.sleep(0.01)
        (words,) = double.told("run")
    finally:
        server.stop(running)
    options = words[: words.index("localhost/echo:test")]
    for wanted in (
        *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host"),
        *("--cpuset-cpus=0", "--pull=never", "--memory=2g", "--no-healthcheck"),
        *(
            f"{tmp_path}:/model:ro",
            f"{LABEL}={running.mark}",
            "MODEL_DIR=/model",
            "STATE_DIR=/state",
        ),
        *(f"HTTP_PORT={running.ports['http']}", "HOST=127.0.0.1", "OMP_WAIT_POLICY=PASSIVE"),
        *(f"ADDRESS=127.0.0.1:{running.ports['http']}=/model", "DEPTH=9", "BATCH=8"),
    ):
        assert wanted in options, wanted
    assert not [word for word in options if "secret" in word or "/of/this" in word]
    assert words[-1] == "localhost/echo:test", "an image of ours starts what it says itself"


def test_an_upstream_image_starts_the_command_of_stack_toml(double: Double, tmp_path: Path) -> None:
    """The bug this would catch: a port of its own, on which the runner never calls."""
    stack = replace(
        in_container(echo("none")), image=UPSTREAM, command=("serve", "--port", "{http_port}")
    )
    running = server.start(stack, None, {}, [0], tmp_path / "logs", "test:x", an_image())
    port = str(running.ports["http"])
    server.stop(running)
    (words,) = double.told("run")
    assert words[-3:] == ["localhost/echo:test", "--port", port]
    assert words[words.index("--entrypoint") + 1] == "serve"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("dies", "exited with code 3 before it was ready: .*no model in /model"),
        ("memory", "was killed for memory.*code 137"),
        ("memory file", "was killed for memory.*code 137"),
        ("waits", "not ready after 1 s"),
    ],
)
def test_a_container_that_fails_has_a_row_that_says_so(
    double: Double, place: Place, does: str, says: str
) -> None:
    """Broken by a row without its reason, or by a container that is left behind."""
    double.set("run", does)
    served = place.having([place.bench.group.loads["closed-2"]]).serve(
        in_container(echo("none")), image=an_image()
    )
    assert served.reasons("closed-2") == {"NOT_MEASURED"}
    assert served.start["status"] == "failed" and served.start["image_id"] == "sha256:ab"
    assert re.search(says, served.start["reason"]), served.start
    assert double.told("rm") and not list(double.home.glob("*.state"))


def test_what_does_not_stop_in_its_time_is_killed_and_said(
    double: Double, tmp_path: Path, accounted: None
) -> None:
    """The bug this would catch: a server whose drain never ends, told as a clean stop."""
    double.set("run", "stubborn")
    running = server.start(
        in_container(echo("none")), None, {}, [0], tmp_path / "logs", "test:x", an_image()
    )
    deadline = time.monotonic() + 30
    while not list(double.home.glob("*.state")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running.processes() == {os.getpid()} and running.memory_bytes() == 2_000_000
    assert "still running 1 s" in (server.stop(running) or "")
    assert not list(double.home.glob("*.state"))


def test_a_dead_starters_containers_are_found_by_label_and_only_they(double: Double) -> None:
    """A run's and a server's by hand. Broken by leaving them to run beside the next measurement, or
    by ending somebody else's, or those of one who still serves."""
    ended, alive = f"{SERVES}{os.getpid()}.1", f"{SERVES}{os.getpid()}.{began(os.getpid())}"
    labels = {"run": f"{ROOT}:run", "served": f"{ended}:0a", "serving": f"{alive}:0b"}
    others = {"other": "/elsewhere:run", "others": "/elsewhere:serve:1.1:0c", "hand": "test:x"}
    for name, label in (labels | others).items():
        double.set(f"{name}.state", f"0 false {LABEL}={label}")
    containers.remember(ENGINES[0], alive)
    assert remove_leftovers(of_the_dead) == 0 and not double.told("ps"), "asked for nothing"
    assert list(containers.USED.iterdir()), "who serves was forgotten before it ended"
    containers.remember(ENGINES[0], ended)
    assert remove_leftovers(of_ended_servers) == 1
    containers.remember(ENGINES[0], run_mark("run-1"))
    assert remove_leftovers(of_the_dead) == 1 and not list(containers.USED.iterdir())
    left = {file.stem for file in double.home.glob("*.state")}
    assert left == {"serving", *others}


def a_stack(folder: Path, dockerfile: str) -> Stack:
    """A stack folder with a Dockerfile of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    return replace(load_stack(GROUP / "steady"), folder=folder, image="Dockerfile")


def test_an_image_is_built_once_a_state_of_its_sources(double: Double, tmp_path: Path) -> None:
    """Broken by measuring yesterday's image after today's edit, or by an argument that a Dockerfile
    doesn't take."""
    stack = a_stack(tmp_path / "9-echo" / "one", "ARG BASE=docker.io/x@sha256:1\nFROM ${BASE}\n")
    double.set("images", "docker.io/x@sha256:1\n")
    first = images.ensure_image(stack, "cpu", REPORT)
    assert images.ensure_image(stack, "cpu", REPORT).name == first.name
    (words,) = double.told("build")
    assert "BASE=docker.io/x@sha256:1" in words and not [w for w in words if "REVISION" in w]
    assert f"{LABEL}={ROOT}" in words, "`make clean` finds images by it"
    assert first.size_mb == 123.4 and first.id.startswith("sha256:ab")
    (stack.folder / "server.py").write_text("edited")
    edited = images.ensure_image(stack, "cpu", REPORT)
    double.set("images", (double.home / "images").read_text() + "localhost/mine\n")
    based = images.ensure_image(stack, "cpu", REPORT, base="localhost/mine")
    assert len({first.name, edited.name, based.name}) == 3
    assert "BASE=localhost/mine" in double.told("build")[-1]
    double.set("build", "1")
    (stack.folder / "server.py").write_text("broken")
    with pytest.raises(StackFailed, match=r"Dockerfile failed(.|\n)*pip install failed"):
        images.ensure_image(stack, "cpu", REPORT)


def test_an_image_out_of_reach_skips_its_stack(double: Double, tmp_path: Path) -> None:
    """The bug this would catch: no registry here, told as a fault of the stack's."""
    container = read_settings({"RUNTIME": "container"})
    stack = replace(load_stack(GROUP / "steady"), image=UPSTREAM)
    with pytest.raises(StackSkipped, match=r"can't be pulled.*no route to the registry"):
        install(stack, "cpu", container, REPORT)
    double.set("pullable", UPSTREAM)
    found = install(stack, "cpu", container, REPORT)
    assert found.image and found.image.name == UPSTREAM and found.install_mb == 123.4
    assert found.version == "1.2.3"
    with pytest.raises(StackSkipped, match="names no image"):
        install(replace(stack, image=None), "cpu", container, REPORT)


def test_an_image_for_gpus_is_no_fault_on_a_cpu(double: Double) -> None:
    """Broken by a server that is started where it can't run, and whose row then says failed."""
    base = {"cuda": UPSTREAM}
    stack = in_container(load_stack(GROUP / "steady"), container=InContainer(base, {}))
    with pytest.raises(StackSkipped, match="its image is for cuda only, this is cpu") as skipped:
        images.ensure_image(stack, "cpu", REPORT)
    assert "BASE" in (skipped.value.fix or "") and not double.told("build")


def test_what_must_be_converted_is_converted_by_the_image(
    double: Double, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by converting with another version than the one that serves, by an artefact that can
    be written to, or by files that the caller can't remove."""
    monkeypatch.setattr(install_module, "BUILD", tmp_path)
    stack = in_container(echo("none"), prepare=("python", "-P", "prepare.py"))
    installed = Installed(stack, None, None, None, None, an_image())
    variables = prepare(installed, place.artefact, "cpu", 1, REPORT)
    made = Path(variables["PREPARED_DIR"])
    assert made.is_dir() and made.is_relative_to(tmp_path)
    (words,) = double.told("run")
    assert f"{place.artefact.folder}:/model:ro" in words and "--network=none" in words
    assert f"{made.with_name(made.name + '.partial')}:/prepared" in words
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert words[-4:] == ["python", "localhost/echo:test", "-P", "prepare.py"]
    assert "PREPARED_DIR=/prepared" in words and "MODEL_DIR=/model" in words
    prepare(installed, place.artefact, "cpu", 1, REPORT)
    assert len(double.told("run")) == 1, "converted twice"


def test_a_base_is_for_one_stack() -> None:
    """A CPU stack's base below every image of a group would measure nobody's set-up."""
    with pytest.raises(UserError, match="BASE=x: name the one stack"):
        select(read_settings({"GROUP": "1", "BASE": "x"}), "cpu")


MOUNTS = """
24 30 0:22 / /sys rw - sysfs sysfs rw
31 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
""".strip()
PURE = "31 24 0:26 /box /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"


@pytest.mark.parametrize(
    ("memberships", "mounts", "controller", "folder"),
    [
        ("4:memory:/pod/a\n0::/\n", MOUNTS, "memory", "/sys/fs/cgroup/memory/pod/a"),
        ("1:cpu,cpuacct:/pod/a\n0::/\n", MOUNTS, "cpuacct", "/sys/fs/cgroup/cpu,cpuacct/pod/a"),
        ("0::/box/pod/a\n", PURE, "memory", "/sys/fs/cgroup/pod/a"),
        ("0::/pod/a:b\n", PURE.replace("/box", "/"), "cpuacct", "/sys/fs/cgroup/pod/a:b"),
        ("1:name=systemd:/pod\n", MOUNTS, "memory", None),
    ],
)
def test_a_containers_cgroup_is_found(
    memberships: str, mounts: str, controller: str, folder: str | None
) -> None:
    """Version 1, 2 or both, and from inside a box. Broken by taking the whole machine's."""
    found = folder_of(memberships, mounts, controller)
    assert (str(found) if found else None) == folder


def test_both_versions_are_read_in_the_same_units(tmp_path: Path) -> None:
    """The bug this would catch: microseconds taken for nanoseconds, page cache for the server's."""
    one, two = tmp_path / "v1", tmp_path / "v2"
    for folder in (one, two):
        folder.mkdir()
    write(one, {"cpuacct.usage": "2500000\n", "memory.usage_in_bytes": "9000\n"})
    write(one, {"memory.stat": "cache 5000\ninactive_file 1\ntotal_inactive_file 4000\n"})
    write(two, {"cpu.stat": "usage_usec 2500\nuser_usec 1\n", "memory.current": "9000\n"})
    write(two, {"memory.stat": "anon 1\ninactive_file 4000\n", "cgroup.procs": "12\n13\n"})
    for folder in (one, two):
        meter = CgroupMeter(Cgroup(folder, folder))
        assert (meter.read().cpu_ns, meter.read().rss_bytes) == (2_500_000, 5000)
    assert Cgroup(two, two).pids() == {12, 13} and Cgroup(one, one).pids() == set()
    for file in one.iterdir():
        file.unlink()
    assert meter.read().cpu_ns == 2_500_000
    gone = CgroupMeter(Cgroup(one, one))
    assert gone.read().cpu_ns == 0, "a container that has ended is no error"


def test_a_process_that_is_gone_has_no_cgroup() -> None:
    with pytest.raises(StackFailed, match="accounts for no CPU or memory"):
        cgroup_of(2**22 + 1)


def test_a_container_that_ended_is_not_metered(double: Double) -> None:
    """Broken by taking the cgroup of process 0, the whole machine's."""
    double.set("gone.state", f"0 false {LABEL}=test:x")
    with pytest.raises(StackFailed, match="has ended"):
        containers.cgroup(Container(ENGINES[0], "gone"))
