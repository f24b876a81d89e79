"""Run a set-up command and show what it says while it runs."""

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import StackFailed
from bench.processes import end_processes, held_tree


def find_program(name: str, path: str | None = None) -> str | None:
    """A program on a PATH, this process's unless told. Debian's `python` is called python3 only."""
    found = shutil.which(name, path=path)
    return found or (shutil.which("python3", path=path) if name == "python" else None)


def run_shown(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    show: Callable[[str], None],
    what: str,
) -> None:
    """Run to the end, handing each line to `show`. Raises StackFailed with the last lines."""
    last: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    last.append(line.rstrip())
                    show(line)
        except BaseException:
            # What it started would outlive it: podman leaves the step of a build running.
            end_processes(held_tree(process.pid), 5)
            raise
    if process.returncode != 0:
        tail = "\n    ".join(last) or "(it said nothing)"
        raise StackFailed(f"{what} failed with exit code {process.returncode}:\n    {tail}")
