"""A search on a server made up of goodputs: what becomes of its probes and its full windows."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import probing
from bench.group import Load, Slo
from bench.verdict import Verdict

RATE = Load("search", "search", arrivals="constant", low=0.1, high=1.0)
USERS = Load("search-users", "search_users", max_users=32)


def searched(
    monkeypatch: pytest.MonkeyPatch,
    load: Load,
    *,
    probes: float,
    windows: float,
    verdict: str = "VALID",
    hiccups: tuple[int, ...] = (),
) -> tuple[dict[str, Any], Verdict]:
    """A search up to 100/s or 32 users. Probes hold up to `probes`, full windows up to `windows`.

    The first probes have as many late answers of 80 as `hiccups` says, whatever they should have.
    """

    def seen(good: int) -> dict[str, Any]:
        p95 = 10.0 if good > 75 else None
        return {"offered": 80, "goodput": good / 80, "latency_p95_ms": p95, "slo_met": good >= 76}

    late = list(hiccups)
    seeds: dict[float, set[int]] = {}

    def probe(on: Any, value: float, seed: int) -> dict[str, Any]:
        assert seed not in seeds.setdefault(value, set()), "the same arrivals twice"
        seeds[value].add(seed)
        return seen(80 - (late.pop(0) if late else 0) if value <= probes else 20)

    def measure(*given: Any) -> tuple[dict[str, Any], Verdict]:
        at, rate = given[4], given[5]
        assert at.kind in {"open", "closed"}, "a full window is an ordinary trial"
        return seen(80 if (rate or at.users) <= windows else 70), Verdict(verdict, ())

    monkeypatch.setattr(probing, "probe", probe)
    monkeypatch.setattr(probing, "measure", measure)
    slo = Slo(100, None, None, 0.95)
    bench = cast(Any, SimpleNamespace(group=SimpleNamespace(slos={"cpu": slo}), device="cpu"))
    trial = cast(Any, SimpleNamespace(id="t", seed=7))
    highest = 100.0 if load.kind == "search" else None
    none = cast(Any, None)
    return probing.search(bench, none, none, trial, load, highest, None, None, {})


def test_the_row_is_the_confirming_window_s_and_carries_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken by a row of the last probe, or by a path without the probes that failed."""
    figures, verdict = searched(monkeypatch, RATE, probes=60, windows=100)
    assert verdict.verdict == "VALID" and figures["users"] is None
    assert 57 <= figures["rate_per_s"] <= 60
    path = figures["search_path"]
    assert [step["rate_per_s"] for step in path[:3]] == [50, 100, 75]
    assert [step["held"] for step in path[:3]] == [True, False, False]
    assert [step["confirming"] for step in path] == [False] * (len(path) - 1) + [True]
    assert path[-1]["rate_per_s"] == figures["rate_per_s"]
    figures, _ = searched(monkeypatch, USERS, probes=9, windows=32)
    assert (figures["users"], figures["rate_per_s"]) == (9, None)
    assert all(isinstance(step["users"], int) for step in figures["search_path"])


def test_a_probe_that_cannot_tell_is_repeated_and_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hiccup is no capacity: 75 of 80 can't tell, 155 of 160 holds; 151 of 160 does not.

    Broken by deciding on the first window's bare ratio, or on the second alone."""
    figures, _ = searched(monkeypatch, RATE, probes=60, windows=100, hiccups=(5,))
    first, second = figures["search_path"][:2]
    assert (first["rate_per_s"], first["held"]) == (50, None)
    assert (second["rate_per_s"], second["held"]) == (50, True)
    assert 57 <= figures["rate_per_s"] <= 60
    figures, _ = searched(monkeypatch, RATE, probes=60, windows=100, hiccups=(7, 2))
    assert [step["held"] for step in figures["search_path"][:3]] == [None, False, True]
    assert figures["rate_per_s"] < 50


def test_a_full_window_that_fails_costs_5_percent_and_twice_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken by reporting the probes' rate although the full window at it failed."""
    figures, verdict = searched(monkeypatch, RATE, probes=60, windows=56.5)
    assert verdict.verdict == "VALID" and 54 <= figures["rate_per_s"] <= 56.5
    figures, verdict = searched(monkeypatch, RATE, probes=60, windows=40)
    assert (verdict.verdict, verdict.reasons) == ("INVALID", ("UNSTABLE_SEARCH",))
    assert "rate_per_s" not in figures and "latency_p95_ms" not in figures
    assert sum(step["confirming"] for step in figures["search_path"]) == 3
    said = verdict.detail or ""
    assert said.startswith("probes held, full windows did not; goodput at 5")
    assert said.count("(0.88)") == 3


@pytest.mark.parametrize(
    ("load", "probes", "says"),
    [
        (RATE, 0, "the SLO fails even at the lowest load searched, 10/s"),
        (RATE, 1000, "the SLO still holds at the highest load searched, 100/s: raise high"),
        (USERS, 0, "the SLO fails even at the lowest load searched, 1 user"),
        (USERS, 99, "the SLO still holds at the highest load searched, 32 users: raise max_users"),
    ],
)
def test_a_search_without_a_result_says_why(
    monkeypatch: pytest.MonkeyPatch, load: Load, probes: float, says: str
) -> None:
    """Broken by taking the end of the span for the capacity."""
    figures, verdict = searched(monkeypatch, load, probes=probes, windows=1000)
    assert verdict == Verdict("INVALID", ("UNSTABLE_SEARCH",), says) and figures["search_path"]
    assert not any(step["confirming"] for step in figures["search_path"])


def test_a_window_that_is_invalid_for_another_reason_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late generator is not a slow server. Broken by stepping down until it is on time."""
    figures, verdict = searched(monkeypatch, RATE, probes=60, windows=100, verdict="INVALID")
    assert verdict.verdict == "INVALID"
    assert sum(step["confirming"] for step in figures["search_path"]) == 1


def test_a_span_for_users_begins_at_one() -> None:
    assert probing.span_of(USERS, None).low == 1
    assert probing.span_of(Load("one", "search_users", max_users=1), None).start == 1
    assert probing.span_of(RATE, 100.0).low == pytest.approx(10)
