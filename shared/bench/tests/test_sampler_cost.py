"""The benchmark of the samplers' own cost, on pairs whose answer is known."""

import importlib.util
import itertools
import random
import sys
import time
from typing import Any

import pytest

from bench.paths import ROOT


def load_benchmark() -> Any:
    file = ROOT / "shared" / "bench" / "benchmarks" / "sampler_cost.py"
    spec = importlib.util.spec_from_file_location("sampler_cost", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sampler_cost"] = module
    spec.loader.exec_module(module)
    return module


cost = load_benchmark()
MS = 1_000_000


def a_load(pairs: int, on_ms: float, off_ms: float, drift: float) -> tuple[list[Any], list[Any]]:
    """A server that is always busy: each request takes its side's time, which drifts."""
    draw = random.Random(3)
    sides: list[Any] = []
    answers: list[Any] = []
    at = 0
    for pair in range(pairs):
        for sampled in draw.sample([True, False], 2):
            begin = at
            while at < begin + 2000 * MS:
                took = round((on_ms if sampled else off_ms) * MS * (1 + drift * pair / pairs))
                took = round(took * draw.uniform(0.9, 1.1))
                answers.append(cost.Answer(at, at, at + took))
                at += took
            # The switch comes somewhere within the last request.
            cut = at - round(took * draw.random())
            sides.append(cost.Side(pair, sampled, sides[-1].end_ns if sides else 0, cut, 0))
    busy = [
        cost.Side(s.pair, s.sampled, s.start_ns, s.end_ns, s.end_ns - s.start_ns) for s in sides
    ]
    return busy, answers


@pytest.mark.parametrize("true", [1.0, 1.02, 0.95])
def test_a_known_cost_is_found_whatever_drifts(true: float) -> None:
    """The server gets twice as slow on the way; on over off stays what it is. Broken by requests
    counted whole on one side (a switch cuts 2 of 40), or by sides compared across pairs."""
    sides, answers = a_load(60, on_ms=50 * true, off_ms=50, drift=1.0)
    low, middle, high = cost.t_interval(cost.cpu_ratios(sides, answers))
    assert low <= true <= high and high - low < 0.02, (low, middle, high)
    low, middle, high = cost.p99_interval(sides, answers, 1)
    assert low < high and low - 0.02 < true < high + 0.02, (low, middle, high)


def test_a_cut_request_counts_on_both_sides() -> None:
    answers = [cost.Answer(0, 0, 40), cost.Answer(0, 40, 80)]
    first, second = cost.Side(0, True, 0, 50, 1), cost.Side(0, False, 50, 80, 1)
    assert cost.requests_in([first, second], answers) == pytest.approx([1.25, 0.75])


def test_the_samplers_are_on_for_one_side_of_each_pair() -> None:
    """Broken by a sampler that stays on into the other side, or sides that leave time out."""
    on: list[int] = []
    seen: list[tuple[int, int]] = []

    class Sampler:
        def __enter__(self) -> None:
            on.append(1)

        def __exit__(self, *_: object) -> None:
            on.pop()

    def read() -> int:
        seen.append((len(on), time.monotonic_ns()))
        return len(seen)

    sides = cost.switch(4, 0.01, read, Sampler, random.Random(1))
    assert [side.pair for side in sides] == [0, 0, 1, 1, 2, 2, 3, 3]
    for pair in range(4):
        assert {side.sampled for side in sides if side.pair == pair} == {True, False}
    assert all(side.cpu_ns == 1 for side in sides) and not on
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(sides))
