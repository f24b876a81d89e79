"""One run at a time on a checkout, by a lock that a crash releases; and what the dead left, ended.

A run's mark says that a run made it: whoever holds the lock knows that all others are dead. A
server by hand needs no lock, so its mark names the process that serves, which lives or doesn't.
"""

import fcntl
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from bench import containers, sessions
from bench.errors import UserError
from bench.paths import BUILD
from bench.processes import MARK, RUNS, SERVES, end_processes, marks
from bench.progress import Reporter
from bench.server import run_mark

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def of_runs(mark: str) -> bool:
    """Whether this is the mark, or the label, of a run of this checkout."""
    return f"{mark}:".startswith(RUNS)


def of_ended_servers(mark: str) -> bool:
    """Whether this is the mark of a server by hand of this checkout, and who served has ended."""
    if not mark.startswith(SERVES):
        return False
    pid, _, begin = mark.removeprefix(SERVES).partition(":")[0].partition(".")
    return not pid.isdigit() or sessions.began(int(pid)) != begin


def of_the_dead(mark: str) -> bool:
    """Whether whoever started this has ended, as the holder of the lock knows."""
    return of_runs(mark) or of_ended_servers(mark)


def hand_mark() -> str:
    """The mark of what this process serves by hand."""
    return f"{SERVES}{os.getpid()}.{sessions.began(os.getpid())}"


def end_leftovers(dead: Callable[[str], bool]) -> tuple[int, int]:
    """End what starters left that are `dead`, by their marks. Returns: containers, processes."""
    removed = containers.remove_leftovers(dead)
    left = {*(pid for pid, mark in marks().items() if dead(mark)), *sessions.left_over(dead)}
    end_processes(sorted(left), 5)
    sessions.forget(dead)
    return removed, len(left)


def clear(dead: Callable[[str], bool], report: Reporter) -> None:
    """`end_leftovers`, told."""
    removed, ended = end_leftovers(dead)
    if removed:
        report.note(f"removed {removed} container(s) that an interrupted run or server left")
    if ended:
        report.note(f"ended {ended} process(es) that an interrupted run or server left running")


@contextmanager
def leaving_nothing(mark: str, mine: Callable[[str], bool]) -> Generator[None]:
    """What is built and converted meanwhile carries `mark`; in the end all that is `mine` ends."""
    os.environ[MARK] = mark
    try:
        yield
    finally:
        # An interrupt may have come between a start and whoever would have stopped it.
        handlers = {one: signal.signal(one, signal.SIG_IGN) for one in INTERRUPTS}
        end_leftovers(mine)
        os.environ.pop(MARK, None)
        for one, handler in handlers.items():
            signal.signal(one, handler)


@contextmanager
def machine_to_ourselves(report: Reporter) -> Generator[None]:
    """Hold the run lock; before and after, end what the dead of this checkout left running.

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
        clear(of_the_dead, report)
        with leaving_nothing(run_mark("set-up"), of_the_dead):
            yield


@contextmanager
def served_by_hand(report: Reporter) -> Generator[str]:
    """The mark of what this process serves; before, end what dead ones left, and then its own."""
    clear(of_ended_servers, report)
    mark = hand_mark()
    with leaving_nothing(mark, lambda other: other.startswith(mark)):
        yield mark
