"""Find the highest rate, or number of users, that still holds: the arithmetic of a search alone.

What a probe is, and what it costs, is probing.py's business.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import beta  # pyright: ignore[reportMissingTypeStubs]

# A search ends when what holds and what fails are this close, as a share of what fails.
TOLERANCE = 0.05
# After a failed confirmation, how often a rate 5% lower is tried.
STEPS_DOWN = 2
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Span:
    """Where to search, ends included. `whole`: users, which come in whole numbers."""

    low: float
    high: float
    start: float
    whole: bool = False


@dataclass(frozen=True)
class Bounds:
    """The highest value seen to hold and the lowest seen to fail; None where none did."""

    holds: float | None
    fails: float | None


def tidy(value: float) -> float:
    """Three digits: what people say, and far finer than the tolerance."""
    return float(f"{value:.3g}")


def find(holds: Callable[[float], bool], span: Span) -> Bounds:
    """Double or halve from the start until one value holds and one fails, then bisect to 5%.

    With a `holds` that is true up to some capacity within the span, the result's `holds` is at
    most 5% (users: 5% or one user) below it, and never above. `fails` is None if even the span's
    highest value holds, `holds` is None if even its lowest fails.
    """
    best: float | None = None
    worst: float | None = None
    value = span.start
    while best is None or worst is None:
        if holds(value):
            best = value
            if value >= span.high:
                return Bounds(best, None)
            value = min(tidy(value * 2), span.high)
        else:
            worst = value
            if value <= span.low:
                return Bounds(None, worst)
            value = max(value // 2 if span.whole else tidy(value / 2), span.low)
    while worst - best > max(TOLERANCE * worst, 1 if span.whole else 0):
        middle = (best + worst) // 2 if span.whole else tidy((best + worst) / 2)
        if holds(middle):
            best = middle
        else:
            worst = middle
    return Bounds(best, worst)


def step_down(value: float, span: Span) -> float:
    """5% less, or one user."""
    if span.whole:
        return value - max(1, round(TOLERANCE * value))
    return tidy(value * (1 - TOLERANCE))


def confirm(holds: Callable[[float], bool], value: float, span: Span) -> float | None:
    """The value, or one up to two steps lower, that holds; None if none does."""
    for _ in range(1 + STEPS_DOWN):
        if holds(value):
            return value
        value = step_down(value, span)
        if value < span.low:
            break
    return None


def requests_to_show(share: float) -> int:
    """How many requests, all good, show with 95% confidence that `share` of them are: 72 for 0.95.

    The smallest n with share^n <= 2.5%, the two-sided interval's lower end (Clopper and Pearson).
    Shares above 0.99 are shown as well as 0.99 is.
    """
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(min(share, 0.99)))


def _beta(q: float, a: int, b: int) -> float:
    """The q-quantile of a beta distribution."""
    return float(beta.ppf(q, a, b))  # pyright: ignore[reportUnknownMemberType]


def shown(good: int, offered: int, share: float) -> bool | None:
    """Whether at least `share` of the requests are good; None if so few can't tell.

    Told when the exact 95% interval of good / offered leaves `share` out. It takes requests for
    independent; a queue's aren't, but beyond capacity almost all of them are late, so the answers
    that matter lie far from the edge.
    """
    if not offered:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = _beta(tail, good, offered - good + 1) if good else 0.0
    high = _beta(1 - tail, good + 1, offered - good) if good < offered else 1.0
    if low > share:
        return True
    return False if high < share else None
