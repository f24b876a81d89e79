"""One builder of a thing at a time: a second one waits and then finds it built."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.progress import Reporter


@contextmanager
def only_builder(thing: Path, report: Reporter) -> Generator[None]:
    """Hold the lock beside a thing while it is checked and built; a crash releases it."""
    thing.parent.mkdir(parents=True, exist_ok=True)
    with thing.with_name(f".{thing.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report.step(f"waiting: another process is building {thing.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
