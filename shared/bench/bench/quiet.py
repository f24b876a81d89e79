"""Wait, before a trial, until nothing else uses the machine; a bounded time."""

import time
from collections.abc import Callable

from bench.progress import Reporter
from bench.surroundings import Reading, between
from bench.verdict import disturbances

# Long enough for the kernel's 10 ms ticks to tell 0.1 CPUs from none.
LOOK_S = 0.3


def wait_until_quiet(
    read: Callable[[], Reading], cpus: int, limit_s: float, report: Reporter
) -> dict[str, str]:
    """Look at the machine until it is quiet or `limit_s` seconds have passed; at least once.

    Returns what still disturbed it at the last look, in words, by the verdict's code; empty if it
    is quiet.
    """
    deadline = time.monotonic() + limit_s
    told = False
    while True:
        first = read()
        time.sleep(LOOK_S)
        found = disturbances(between(first, read(), cpus))
        if not found or time.monotonic() >= deadline:
            return {code: f"before the trial {seen}" for code, seen in found.items()}
        text = f"waiting for the machine to become quiet ({', '.join(found.values())})"
        (report.detail if told else report.step)(text)
        told = True
