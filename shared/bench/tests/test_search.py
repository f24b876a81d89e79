"""The arithmetic of a search against servers whose capacity is known because it is made up."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.group import Slo
from bench.plan import probe_s
from bench.search import Span, confirm, find, requests_to_show, shown, step_down

CAPACITIES = st.floats(2.0, 900.0)
RATES = Span(low=1, high=1000, start=500)


def counted(holds: Callable[[float], bool]) -> tuple[Callable[[float], bool], list[float]]:
    """The same question, with what was asked kept in order."""
    asked: list[float] = []

    def ask(value: float) -> bool:
        asked.append(value)
        return holds(value)

    return ask, asked


@given(capacity=CAPACITIES, start=st.floats(1.0, 1000.0))
def test_a_rate_is_found_within_5_percent_below_capacity(capacity: float, start: float) -> None:
    """Whatever the capacity and the start, no more probes than a bracket and a bisection take.

    Broken by ending at the middle instead of at what held, or by a tolerance of the lower end."""
    ask, asked = counted(lambda rate: rate <= capacity)
    bounds = find(ask, Span(1, 1000, start))
    assert bounds.holds is not None and bounds.fails is not None
    assert bounds.holds <= capacity < bounds.fails
    assert bounds.holds >= 0.95 * capacity
    assert {bounds.holds, bounds.fails} <= set(asked)
    assert len(asked) <= 11 + 5
    assert all(1 <= rate <= 1000 for rate in asked)


@given(capacity=st.integers(1, 63), most=st.integers(64, 500), start=st.integers(1, 64))
def test_users_are_whole_and_found_exactly_where_5_percent_is_less_than_one(
    capacity: int, most: int, start: int
) -> None:
    """Broken by a bisection that asks for 4.5 users or never ends between 4 and 5."""
    ask, asked = counted(lambda users: users <= capacity)
    bounds = find(ask, Span(1, most, start, whole=True))
    assert all(users == int(users) and 1 <= users <= most for users in asked)
    assert bounds.holds is not None
    assert capacity - max(0, int(0.05 * (bounds.fails or 0))) <= bounds.holds <= capacity
    assert len(set(asked)) == len(asked)


@given(start=st.floats(1.0, 1000.0))
def test_a_search_ends_at_the_span_s_ends_and_says_which(start: float) -> None:
    """All hold or none does: the end itself is asked, and the other bound stays open.

    Broken by going on for ever, or by taking the highest rate tried for the capacity."""
    span = Span(1, 1000, start)
    ask, asked = counted(lambda rate: True)
    assert (find(ask, span).holds, find(ask, span).fails) == (1000, None)
    assert max(asked) == 1000
    ask, asked = counted(lambda rate: False)
    assert (find(ask, span).holds, find(ask, span).fails) == (None, 1)
    assert min(asked) == 1


@given(capacity=CAPACITIES, seed=st.integers(0, 2**32))
def test_noise_near_the_edge_moves_the_result_no_further_than_the_noise(
    capacity: float, seed: int
) -> None:
    """Answers are random within 10% of the capacity, and right elsewhere: the result lies within
    10% and the tolerance. Broken by a bisection that loses its bracket to one wrong answer."""
    draw = random.Random(seed)

    def noisy(rate: float) -> bool:
        if abs(rate / capacity - 1) < 0.1:
            return draw.random() < 0.5
        return rate < capacity

    bounds = find(noisy, RATES)
    if bounds.holds is None or bounds.fails is None:
        assert capacity < 1.2 or capacity > 880
        return
    assert 0.95 * 0.9 * capacity <= bounds.holds <= 1.1 * capacity


@given(found=CAPACITIES, truth=st.floats(0.5, 1.2))
def test_a_confirmation_steps_down_twice_at_most(found: float, truth: float) -> None:
    """What is confirmed held in a full window, and is at most two steps of 5% below what was found.

    Broken by reporting the rate that failed, or by stepping down until something holds."""
    ask, asked = counted(lambda rate: rate <= truth * found)
    value = confirm(ask, found, Span(0.1, 1000, 1))
    assert len(asked) <= 3
    if value is None:
        assert len(asked) == 3 and min(asked) > truth * found
    else:
        assert value == asked[-1] <= truth * found
        assert value >= 0.95**2 * 0.99 * found


def test_a_confirmation_stays_in_the_span() -> None:
    """One user less than one is nobody. Broken by a plan for 0 users."""
    ask, asked = counted(lambda users: False)
    assert confirm(ask, 2, Span(1, 64, 8, whole=True)) is None
    assert asked == [2, 1]
    assert step_down(100, Span(1, 200, 8, whole=True)) == 95


@pytest.mark.parametrize(("share", "least"), [(0.95, 72), (0.9, 36), (0.99, 368), (1.0, 368)])
def test_the_fewest_requests_that_show_a_share(share: float, least: int) -> None:
    """As for the percentile: p95 needs 72. Broken by a one-sided or a normal interval."""
    assert requests_to_show(share) == least
    if share < 1:
        assert shown(least, least, share) is True
        assert shown(least - 1, least - 1, share) is None


@pytest.mark.parametrize(
    ("good", "offered", "told"),
    [(80, 80, True), (77, 80, None), (74, 80, None), (60, 80, False), (0, 80, False), (0, 0, None)],
)
def test_a_probe_is_told_only_where_its_interval_leaves_the_share_out(
    good: int, offered: int, told: bool | None
) -> None:
    """A hiccup in 80 requests is no verdict. Broken by comparing the bare ratio."""
    assert shown(good, offered, 0.95) is told


def test_a_wrong_clear_answer_is_rare() -> None:
    """At exactly the share, 80 requests are called clear in at most 5% of 2,000 seeded draws.

    Broken by an interval that is too narrow (Wald's: above 10%)."""
    draw = random.Random(7)
    called = sum(
        shown(sum(draw.random() < 0.95 for _ in range(80)), 80, 0.95) is not None
        for _ in range(2000)
    )
    assert 0 < called <= 0.05 * 2000


@pytest.mark.parametrize("rate", [2.0, 20.0, 2000.0])
@pytest.mark.parametrize("limit_ms", [25, 250, 2000])
def test_a_probe_is_long_enough_to_show_an_overload_of_5_percent(
    rate: float, limit_ms: float
) -> None:
    """A queue that grows by 5% of the rate makes at least 5% of a probe's answers late.

    Broken by a window shorter than the queue needs to reach the limit, or by too few requests."""
    seconds = probe_s(Slo(limit_ms, None, None, 0.95), rate)
    assert seconds * rate >= 72
    n = int(seconds * rate)
    lateness_s = [0.05 * i / rate for i in range(n)]
    late = sum(one > limit_ms / 1000 for one in lateness_s)
    assert late >= 0.05 * n - 2
