"""A stack's image: built from its Dockerfile, or pulled by its digest; `make image`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import machine
from bench.commands import run_shown
from bench.containers import (
    LABEL,
    ContainerEngine,
    Image,
    ask,
    find_engine,
    flags_of,
    last_line,
    once_words,
)
from bench.digests import combined, folder_digest
from bench.errors import StackFailed, StackSkipped, UserError
from bench.folders import find_groups, find_stacks
from bench.paths import ROOT
from bench.progress import Reporter
from bench.server import our_mark
from bench.settings import Settings, resolve_device
from bench.stack import Stack, load_stack
from bench.toml_files import where

PULL_S = 3600.0


def arguments_of(dockerfile: str) -> dict[str, str | None]:
    """The build arguments that a Dockerfile declares, and what they are unless told."""
    found = re.findall(r"^ARG\s+(\w+)(?:=(\S+))?", dockerfile, re.M)
    return {name: value or None for name, value in reversed(found)}


def base_of(stack: Stack, device: str, base: str | None) -> str | None:
    """The image that a stack's is built on: BASE, or the stack's own for a device."""
    declared = arguments_of((stack.folder / "Dockerfile").read_text()).get("BASE")
    return base or stack.container.base.get(device) or declared


def tag_of(stack: Stack, device: str, base: str | None) -> str:
    """The name of the image that these sources make; other sources make another."""
    key = combined([folder_digest(stack.folder), base or "", device])[:12]
    return f"localhost/inference-study/{stack.folder.parent.name}-{stack.id}:{device}-{key}"


def look_up(engine: ContainerEngine, name: str, flags: tuple[str, ...] = ()) -> Image | None:
    """An image if it is on this machine."""
    said = ask(engine, "image", "inspect", name)
    if said.returncode != 0:
        return None
    found: Mapping[str, Any] = json.loads(said.stdout)[0]
    id = "sha256:" + str(found["Id"]).removeprefix("sha256:")
    return Image(engine, name, id, round(found["Size"] / 1e6, 1), flags)


def ensure_pulled(engine: ContainerEngine, name: str, report: Reporter) -> None:
    """Have an upstream image here. Raises StackSkipped with the engine's own reason."""
    if look_up(engine, name):
        return
    report.step(f"pulling {name}")
    said = ask(engine, "pull", name, timeout_s=PULL_S)
    if said.returncode != 0:
        raise StackSkipped(
            f"its image can't be pulled: {name}: {last_line(said.stderr)[:300]}",
            fix="give this machine a way to the registry, or name another image with BASE",
        )


def ensure_image(
    stack: Stack,
    device: str,
    report: Reporter,
    base: str | None = None,
    flags: tuple[str, ...] = (),
) -> Image:
    """The image of a stack, built or pulled unless it is here.

    Raises StackSkipped where no engine answers or an upstream image can't be had, StackFailed if
    building fails.
    """
    if stack.image is None:
        raise StackSkipped("it has no container: stack.toml names no image")
    if stack.container.base and device not in stack.container.base and not base:
        raise StackSkipped(
            f"its image is for {' and '.join(stack.container.base)} only, this is {device}",
            fix="another base with BASE=…, if its authors publish one",
        )
    engine = find_engine()
    name = stack.image
    if name != "Dockerfile":
        ensure_pulled(engine, name, report)
    else:
        below = base_of(stack, device, base)
        name = tag_of(stack, device, below)
        if look_up(engine, name) is None:
            if below:
                ensure_pulled(engine, below, report)
            build(engine, stack, device, below, name, report)
    found = look_up(engine, name, flags)
    if found is None:
        raise StackFailed(f"{engine.name} made {name}, but does not find it")
    return found


def build(
    engine: ContainerEngine,
    stack: Stack,
    device: str,
    base: str | None,
    tag: str,
    report: Reporter,
) -> None:
    """Build a stack's Dockerfile. Raises StackFailed with the end of what the engine said."""
    report.step(f"building the image of {where(stack.folder)}")
    declared = arguments_of((stack.folder / "Dockerfile").read_text())
    values = {"BASE": base, "DEVICE": device, "REVISION": machine.git_state()[0]}
    given = {name: value for name, value in values.items() if value and name in declared}
    run_shown(
        [
            *(engine.name, "build", *engine.build, "--tag", tag, "--label", f"{LABEL}={ROOT}"),
            *(w for name, value in given.items() for w in ("--build-arg", f"{name}={value}")),
            str(stack.folder),
        ],
        cwd=stack.folder,
        show=lambda line: report.detail(f"{stack.id}: {line}"),
        what=f"building {where(stack.folder / 'Dockerfile')}",
    )


def version_in(image: Image, distribution: str) -> str | None:
    """The version of a Python distribution in an image, else the one its label gives."""
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    words = once_words(image, our_mark(), ["python3", "-P", "-c", code, distribution])
    said = ask(image.engine, *words[1:])
    if said.returncode == 0:
        return said.stdout.strip()
    form = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    told = ask(image.engine, "image", "inspect", "--format", form, image.name).stdout.strip()
    return told if told not in ("", "<no value>") else None


def image_target(settings: Settings, report: Reporter) -> int:
    """`make image`: build or pull each stack's image. Raises UserError, StackFailed."""
    folders: list[Path] = find_stacks(find_groups(settings.group), settings.stack)
    if settings.base and len(folders) != 1:
        raise UserError(f"BASE={settings.base}: name the one stack with STACK=<group>/<stack>")
    device = resolve_device(settings.device)
    missed: list[str] = []
    for folder in folders:
        try:
            image = ensure_image(
                load_stack(folder, device),
                device,
                report,
                settings.base,
                flags_of(settings.container_flags),
            )
        except (StackSkipped, StackFailed) as why:
            missed.append(f"{where(folder)}: {why}")
        else:
            report.note(f"{image.name}  {image.size_mb:.0f} MB  {image.id}")
    if missed:
        raise StackFailed("\n".join(missed))
    return 0
