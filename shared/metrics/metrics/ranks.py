"""Ranks of a percentile and of its confidence interval in a sorted sample."""

from functools import cache

from scipy.stats import binom  # pyright: ignore[reportMissingTypeStubs]

CONFIDENCE = 0.95


@cache
def percentile_ranks(n: int | None, q: float) -> dict[str, int] | None:
    """Nearest rank and 95% interval ranks (1-based) of the q-quantile of n independent values.

    The number of values below the true quantile is binomial(n, q), so the order statistics at its
    2.5% and 97.5% points cover it with at least 95% whatever the distribution. Returns None where
    one of the two does not exist: p50 needs 6 values, p90 36, p95 72, p99 368, p99.9 3,688. Source:
    Hahn and Meeker, Statistical Intervals, section 5.2.
    """
    if not n:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = int(binom.ppf(tail, n, q))  # pyright: ignore[reportUnknownMemberType]
    high = int(binom.ppf(1 - tail, n, q)) + 1  # pyright: ignore[reportUnknownMemberType]
    if low < 1 or high > n:
        return None
    # q has three decimals at most; integers keep 0.95 * 20 from becoming 19.000000000000004.
    middle = -(-n * round(q * 1000) // 1000)
    return {"low": low, "middle": middle, "high": high}
