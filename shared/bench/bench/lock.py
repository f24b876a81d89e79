"""One run at a time on a checkout, by a lock that a crash releases."""

import fcntl
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

from bench import containers, sessions
from bench.errors import UserError
from bench.paths import BUILD
from bench.processes import MARK, end_processes, marked
from bench.progress import Reporter
from bench.server import run_mark

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def machine_to_ourselves(report: Reporter) -> Generator[None]:
    """Hold the run lock; before and after, end what runs of this checkout left running.

    Raises UserError if another run holds it: two at once would measure each other.
    """
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "bench.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise UserError(
                f"{holder} is measuring on this checkout: wait until it has ended"
            ) from None
        lock.truncate(0)
        lock.write(f"make bench, process {os.getpid()},")
        lock.flush()
        if left := containers.remove_leftovers(run_mark()):
            report.note(f"removed {left} container(s) that an interrupted run left")
        if left := {*marked(run_mark()), *sessions.left_over()}:
            report.note(f"ending {len(left)} process(es) that an interrupted run left running")
            end_processes(sorted(left), 5)
        sessions.forget()
        # What builds and converts is ended with a crashed run too, not only servers.
        os.environ[MARK] = run_mark("set-up")
        try:
            yield
        finally:
            # An interrupt may have come between a start and whoever would have stopped it.
            handlers = {one: signal.signal(one, signal.SIG_IGN) for one in INTERRUPTS}
            containers.remove_leftovers(run_mark())
            end_processes(sorted({*marked(run_mark()), *sessions.left_over()}), 5)
            sessions.forget()
            os.environ.pop(MARK, None)
            for one, handler in handlers.items():
                signal.signal(one, handler)
