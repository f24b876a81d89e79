"""How a stack is started, as run.json keeps it: command, image, and the variables it gets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.install import Installed
from bench.paths import ROOT
from bench.server import environment_for

# Read by libraries below a server, which its own files need not name.
LIBRARY = re.compile(
    "(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|MALLOC|LD|CUDA|NVIDIA|NCCL|TORCH|PYTORCH|ORT)_"
    "|JAVA_TOOL_OPTIONS$|GOMAXPROCS$|GOGC$"
)
# Of every login; and what is nobody's business.
COMMON = {"HOME", "HOST", "HOSTNAME", "LANG", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"}
SECRET = re.compile("TOKEN|KEY|SECRET|PASSW|CREDENTIAL")
TEXT = {".cfg", ".js", ".json", ".pbtxt", ".properties", ".py", ".sh", ".toml", ".yaml", ".yml"}


def words_in(folder: Path) -> set[str]:
    """The words in a project's own files that could be names of variables."""
    texts = (
        file.read_text(errors="replace")
        for file in folder.rglob("*")
        if file.suffix in TEXT and file.is_file()
    )
    return {word for text in texts for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", text)}


def short(value: str) -> str:
    """A value without this machine's path of the checkout."""
    return value.replace(f"{ROOT}/", "")


def started_with(installed: Installed, variables: Mapping[str, str]) -> dict[str, Any]:
    """A stack's commands and image as stack.toml has them; `variables`: what the runner sets.

    `knobs` are inherited variables that the stack's files name or that its libraries read. Ports
    and scratch folders, new at each start, are left out.
    """
    stack = installed.stack
    inherited = environment_for(None, {}, {})
    given = {"HOST", "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX", "OMP_NUM_THREADS", *variables}
    own = words_in(stack.folder)
    knobs = {
        name: short(value)
        for name, value in sorted(inherited.items())
        if name not in given | COMMON
        and (name in own or LIBRARY.match(name))
        and not SECRET.search(name)
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
