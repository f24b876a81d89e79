"""Variables that a stack gets from whoever starts it: its own knobs, and its libraries'."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from bench.digests import IGNORED
from bench.settings import SECRET, VARIABLES

# Read by libraries below a server, which its own files need not name.
LIBRARY = re.compile(
    "(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|MALLOC|LD|CUDA|NVIDIA|NCCL|TORCH|PYTORCH|ORT)_"
    "|JAVA_TOOL_OPTIONS$|GOMAXPROCS$|GOGC$"
)
# Of every login; and what is nobody's business.
COMMON = {"HOME", "HOST", "HOSTNAME", "LANG", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"}
TEXT = {".cfg", ".js", ".json", ".pbtxt", ".properties", ".py", ".sh", ".toml", ".yaml", ".yml"}


def words_in(folder: Path) -> set[str]:
    """The words in a project's own files that could be names of variables."""
    texts = (
        file.read_text(errors="replace")
        for file in folder.rglob("*")
        if file.suffix in TEXT
        and file.is_file()
        and not IGNORED & set(file.relative_to(folder).parts)
    )
    return {word for text in texts for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", text)}


def knobs_of(folder: Path, given: Collection[str], *, inside: bool = False) -> dict[str, str]:
    """The inherited variables that a project's files name or that its libraries read.

    `given` are the runner's own. `inside`: those that go into a container too, where this machine's
    paths are not.
    """
    own = words_in(folder)
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name not in {*given, *COMMON, *VARIABLES}
        and not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        and (name in own or LIBRARY.match(name))
        and not SECRET.search(name)
        and not (inside and "/" in value)
    }
