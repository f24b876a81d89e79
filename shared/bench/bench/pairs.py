"""The design of the equal-work audit: in which order payloads are asked, and what counts as proof.

Each payload is asked once and REPEATS times again, the first time of one between the repetitions
of those before it. So a payload is compared with itself, and whatever drifts or disturbs falls on
first and repeated alike.
"""

import math
import statistics
from collections.abc import Sequence

# Odd: then a first request is as likely to be above the median of its repetitions as below it.
REPEATS = 3
# Repeated payloads that take less than this share of a new one's time are not the same work.
EQUAL = 0.9
# How often the audit may say so of a server whose repetitions take that share or more.
FALSE_ALARMS = 0.01


def sequence(payloads: int) -> list[int]:
    """The order of asking, by number. Round t has payload t for the first time and those of the
    REPEATS rounds before it; every other round goes backwards, so that no place is a first's own.
    """
    order: list[int] = []
    for t in range(payloads + REPEATS):
        numbers = [n for n in range(t, t - REPEATS - 1, -1) if 0 <= n < payloads]
        order += numbers if t % 2 else reversed(numbers)
    return order


def pairs_needed(pairs: int) -> int | None:
    """How many pairs must be below EQUAL before that proves unequal work; None: too few to tell.

    A one-sided sign test. Where a repetition takes EQUAL of the first request's time or more, a
    pair falls below EQUAL with probability 1/2 at most, and so many of them with FALSE_ALARMS at
    most; far more rarely where both take the same time. 7 pairs are the fewest that can tell. A
    cache that makes answers several times quicker puts every pair below, whatever the payload.
    """
    for needed in range(pairs + 1):
        tail = sum(math.comb(pairs, k) for k in range(needed, pairs + 1)) / 2**pairs
        if tail <= FALSE_ALARMS:
            return needed
    return None


def ratios(order: Sequence[int], times: Sequence[int | None]) -> list[float]:
    """Median of the repetitions / first for each payload that was answered each time.

    `times` are those of the requests in `order`, None where one was not answered.
    """
    taken: dict[int, list[int]] = {}
    for number, time in zip(order, times, strict=False):
        if time is not None:
            taken.setdefault(number, []).append(time)
    return [
        statistics.median(mine[1:]) / mine[0]
        for mine in taken.values()
        if len(mine) == REPEATS + 1 and mine[0] > 0
    ]
