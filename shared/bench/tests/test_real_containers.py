"""What goes wrong with servers in containers, in a real engine: told, and nothing left behind.

Each test builds an image of a few lines on BASE, which must be on this machine and hold python3.
`.ci/containers` runs them; where no engine answers or BASE is not set, they say so.
"""

import contextlib
import os
import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from starts import GROUP, Place, Quiet, echo

from bench import images
from bench.containers import ContainerEngine, Image, ask, find_engine
from bench.errors import StackFailed, StackSkipped
from bench.paths import ROOT
from bench.stack import Stack, load_stack
from supply import images as bom

REPORT = Quiet(Console(quiet=True))
BASE = os.environ.get("BASE", "")


@pytest.fixture(scope="module")
def engine() -> ContainerEngine:
    """The engine of this machine, with BASE in it."""
    try:
        found = find_engine()
    except StackSkipped as why:
        pytest.skip(f"no container is started here: {why}")
    if not BASE or images.look_up(found, BASE) is None:
        pytest.skip("BASE names no image that is here: .ci/containers makes one")
    return found


def everything(engine: ContainerEngine) -> dict[str, set[str]]:
    """All containers (a build's too, where the engine shows them), networks and volumes."""
    asked = {
        "containers": ["ps", "-aq", *(["--external"] if engine.name == "podman" else [])],
        "networks": ["network", "ls", "-q"],
        "volumes": ["volume", "ls", "-q"],
    }
    return {kind: set(ask(engine, *words).stdout.split()) for kind, words in asked.items()}


@pytest.fixture
def nothing_left(engine: ContainerEngine) -> Generator[None]:
    """After the test the engine holds what it held before, its images aside."""
    before = everything(engine)
    yield
    assert everything(engine) == before


def a_stack(folder: Path, *lines: str) -> Stack:
    """A stack folder whose Dockerfile has these lines after its FROM."""
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("\n".join(["ARG BASE", "FROM ${BASE}", *lines, ""]))
    stack = replace(load_stack(GROUP / "steady"), folder=folder, image="Dockerfile")
    return replace(stack, ready_timeout_s=20, stop_timeout_s=1)


@contextlib.contextmanager
def built(engine: ContainerEngine, folder: Path, code: str, *flags: str) -> Generator[Image]:
    """An image that runs a line of Python, removed in the end."""
    image = images.ensure_image(
        a_stack(folder, f'CMD ["python3", "-c", "{code}"]'), "cpu", REPORT, BASE, flags
    )
    try:
        yield image
    finally:
        ask(engine, "rmi", image.name)  # refused while a container has it


@pytest.mark.parametrize(
    ("code", "flags", "says"),
    [
        ("raise SystemExit('no model here')", [], r"exited with code 1 before.*no model here"),
        ("x = b'x' * (1 << 30)", ["--memory=60m"], r"was killed for memory.*code 137"),
        ("import time; time.sleep(600)", [], r"not ready after 3 s"),
    ],
    ids=["dies", "memory", "never ready"],
)
def test_a_container_that_fails_has_a_row_that_says_so(
    engine: ContainerEngine,
    nothing_left: None,
    place: Place,
    tmp_path: Path,
    code: str,
    flags: list[str],
    says: str,
) -> None:
    """Broken by an engine that tells an end in words or files of its own: docker's and podman's
    differ, and a double only ever says what we believe."""
    timeout_s = 3 if "not ready" in says else 20
    with built(engine, tmp_path / "9-echo" / "fails", code, *flags) as image:
        served = place.having([place.bench.group.loads["closed-2"]]).serve(
            replace(echo("none"), image="Dockerfile", ready_timeout_s=timeout_s, stop_timeout_s=1),
            image=image,
        )
        assert served.reasons("closed-2") == {"NOT_MEASURED"}
        assert served.start["status"] == "failed" and served.start["image_id"] == image.id
        assert re.search(says, served.start["reason"]), served.start


def test_a_build_that_fails_says_why_and_leaves_no_container(
    engine: ContainerEngine, nothing_left: None, tmp_path: Path
) -> None:
    """Broken by a build's own containers, gigabytes each, that nobody removes."""
    stack = a_stack(tmp_path / "9-echo" / "unbuildable", "RUN echo no such package && exit 7")
    with pytest.raises(StackFailed, match=r"Dockerfile failed(.|\n)*no such package"):
        images.ensure_image(stack, "cpu", REPORT, BASE)
    assert images.look_up(engine, images.tag_of(stack, "cpu", BASE)) is None


def test_an_images_packages_are_told_without_running_it(
    engine: ContainerEngine, nothing_left: None, tmp_path: Path
) -> None:
    """Broken by an engine that exports its files under other names, by an image that is not found
    by its label, or by the container that is made for it."""
    with built(engine, tmp_path / "9-echo" / "told", "raise SystemExit(1)") as image:
        assert image.name in bom.images(ROOT, engine.name)
        packages = bom.components(bom.exported(engine.name, image.name))
        assert {"bash", "libc6"} <= {one["name"] for one in packages}


class Interrupting(Quiet):
    """A reporter during whose word Ctrl-C comes."""

    def detail(self, text: str) -> None:
        if "begun" in text:
            raise KeyboardInterrupt


def test_an_interrupted_build_leaves_no_process(engine: ContainerEngine, tmp_path: Path) -> None:
    """Broken by ending the engine's client alone: podman's step goes on beside the next
    measurement, with no parent."""
    stack = a_stack(tmp_path / "9-echo" / "slow", r"RUN printf 'beg%s\n' un; sleep 4242")
    # podman names what it keeps of a build after its base: nobody else's is removed below.
    base = f"localhost/interrupted-{tmp_path.parent.name}"
    ask(engine, "tag", BASE, base)
    with pytest.raises(KeyboardInterrupt):
        images.ensure_image(stack, "cpu", Interrupting(Console(quiet=True)), base)
    left = [each for each in psutil.process_iter(["cmdline"]) if "4242" in str(each.info)]
    assert left == []
    assert images.look_up(engine, images.tag_of(stack, "cpu", base)) is None
    ask(engine, "rm", "-f", f"{base.removeprefix('localhost/')}-working-container")
    ask(engine, "rmi", base)
