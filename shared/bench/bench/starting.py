"""How a stack is started, as run.json keeps it: command, image, and the variables it gets."""

from collections.abc import Mapping
from typing import Any

from bench.install import Installed
from bench.knobs import knobs_of
from bench.paths import ROOT
from bench.server import environment_for


def short(value: str) -> str:
    """A value without this machine's path of the checkout."""
    return value.replace(f"{ROOT}/", "")


def started_with(installed: Installed, variables: Mapping[str, str]) -> dict[str, Any]:
    """A stack's commands and image as stack.toml has them; `variables`: what the runner sets.

    `knobs` are inherited variables that the stack's files name or that its libraries read. Ports
    and scratch folders, new at each start, are left out.
    """
    stack = installed.stack
    given = {"HOST", "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX", "OMP_NUM_THREADS", *variables}
    knobs = {
        name: short(value)
        for name, value in knobs_of(stack.folder, given, inside=bool(installed.image)).items()
    }
    started = environment_for(None, variables, {})
    return {
        "command": list(stack.command),
        "prepare": list(stack.prepare),
        "stop": list(stack.stop),
        "image": stack.image,
        "variables": {name: short(started[name]) for name in sorted(given)},
        "knobs": knobs,
    }
