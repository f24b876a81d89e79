"""The audit's statistics: what it must find, and how often it may be wrong."""

import random

import pytest

from bench.audit import judge_pairs
from bench.pairs import EQUAL, FALSE_ALARMS, REPEATS, pairs_needed, ratios, sequence


@pytest.mark.parametrize("payloads", [1, 7, 8, 16, 33])
def test_each_payload_is_first_and_then_repeated_among_others(payloads: int) -> None:
    """All firsts before all repetitions would charge any drift of the machine to the firsts."""
    order = sequence(payloads)
    assert sorted(order) == sorted(list(range(payloads)) * (REPEATS + 1))
    firsts = [order.index(number) for number in range(payloads)]
    assert firsts == sorted(firsts)
    if payloads > 1:
        repeated_before = sum(order.index(n) != i for i, n in enumerate(order[: firsts[-1]]))
        assert repeated_before > (payloads - 1) * (REPEATS - 1)


def test_how_many_pairs_prove_it() -> None:
    """P(all of 7 heads) is 0.8%, of 6 it is 1.6%: fewer than 7 pairs can't tell."""
    assert [pairs_needed(n) for n in (0, 6, 7, 8, 16)] == [None, None, 7, 8, 14]


def alarms(quicker: float, noise: float, payloads: int, runs: int) -> float:
    """The share of simulated audits that raise the alarm, where repetitions take `quicker` of the
    first's time, payloads differ tenfold in cost, and times have log-normal noise."""
    draw = random.Random(f"{quicker}/{noise}/{payloads}")
    order = sequence(payloads)
    raised = 0
    for _ in range(runs):
        cost = [1e6 * 10 ** draw.random() for _ in range(payloads)]
        seen: set[int] = set()
        times: list[int | None] = []
        for number in order:
            share = quicker if number in seen else 1.0
            seen.add(number)
            times.append(round(cost[number] * share * draw.lognormvariate(0, noise)))
        raised += judge_pairs(ratios(order, times)) is not None
    return raised / runs


@pytest.mark.parametrize("payloads", [8, 16])
@pytest.mark.parametrize("noise", [0.02, 0.3, 1.0])
def test_false_alarms_are_rare(payloads: int, noise: float) -> None:
    """At the limit itself, and where nothing caches, whatever the noise. 4,000 audits: three
    standard errors are 0.5% at 1%. A test on means, or one-sided the wrong way, fails here."""
    assert alarms(EQUAL, noise, payloads, 4000) <= FALSE_ALARMS + 0.005
    assert alarms(1.0, noise, payloads, 1000) <= FALSE_ALARMS + 0.005


@pytest.mark.parametrize("payloads", [8, 16])
def test_a_cache_is_found(payloads: int) -> None:
    """Ten times quicker, with noise that triples one time in twenty: found in every audit."""
    assert alarms(0.1, 0.3, payloads, 300) == 1.0


def test_what_was_not_answered_is_no_pair() -> None:
    order = sequence(8)
    assert ratios(order, [None] * len(order)) == []
    assert judge_pairs([]) is None
    half: list[int | None] = [10 if number % 2 else None for number in order]
    assert ratios(order, half) == [1.0] * 4
