"""A server that stalls, through the whole path: schedule, k6, records, metric SQL, verdict.

The truth is the null server's own record of when it answered, not what it was told to do.
"""

import json
import math
import urllib.request
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import starts
from starts import Place

from bench import server
from bench.group import Load
from bench.trial import measure
from bench.verdict import Verdict
from metrics.records import connection

RATE = 25
WINDOW_S = 20


@dataclass(frozen=True)
class Stalled:
    """One trial against a server that stalled: figures, verdict, and for each request of the
    window when it was due and when the server says that it answered, in nanoseconds."""

    figures: dict[str, Any]
    verdict: Verdict
    due_ns: list[int]
    answered_ns: list[int]

    @property
    def true_p99_ms(self) -> float:
        """The 99th percentile, nearest rank, of answer − due."""
        waits = sorted(a - d for a, d in zip(self.answered_ns, self.due_ns, strict=True))
        assert len(waits) > 400, "too few requests to tell anything"
        return waits[math.ceil(0.99 * len(waits)) - 1] / 1e6


def order_stall(plan: dict[str, Any], length_ms: int) -> None:
    """Make the null server of this plan stall from now on."""
    url = f"http://{plan['targets']['http']}/control/stall?ms={length_ms}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()


def stalled(place: Place, load: Load, after_s: float, length_ms: int) -> Stalled:
    """Measure a null server that stalls `after_s` into the window."""
    running = starts.start(place, starts.null_stack("-delay 5ms"))
    folder = place.bench.raw / load.name
    # The null server numbers its answers; there is nothing right or wrong about them.
    artefact = replace(place.artefact, expected={})
    trial = starts.a_trial(load, "http")
    try:
        with starts.in_window(folder, after_s, lambda plan: order_stall(plan, length_ms)):
            figures, verdict = measure(
                place.bench, running, artefact, trial, load, RATE, None, None, {}
            )
        with urllib.request.urlopen(running.fill("http://{host}:{http_port}/control/log")) as log:
            entries = json.load(log)["requests"]
    finally:
        server.stop(running)
    sent_ns = {entry["request"]: entry["sent_ns"] for entry in entries}
    due: list[int] = []
    answered: list[int] = []
    for number, intended in window_requests(folder):
        due.append(intended)
        answered.append(sent_ns[number][0])
    return Stalled(figures, verdict, due, answered)


def window_requests(folder: Path) -> list[tuple[int, int]]:
    """(the server's number, intended start) of the window's answered requests."""
    context = json.loads((folder / "context.json").read_text())
    edges = [context["window_start_ns"], context["window_end_ns"]]
    with connection() as db:
        return db.execute(
            f"select units::bigint, intended_ns from '{folder / 'requests.parquet'}'"
            " where ok and intended_ns >= ? and intended_ns < ? order by intended_ns",
            edges,
        ).fetchall()


CONSTANT = Load("constant", "open", arrivals="constant", max_users=64)
POISSON = Load("poisson", "open", arrivals="poisson", max_users=64)
FEW = Load("few-users", "open", arrivals="constant", max_users=4)


@pytest.fixture(scope="module")
def trials(shared_place: Place) -> Generator[dict[str, Stalled]]:
    """Three trials of 20 s with a stall of 1 s in the midst, side by side: they mostly wait."""
    place = shared_place.having([CONSTANT, POISSON, FEW], WINDOW_S)
    with ThreadPoolExecutor(3) as pool:
        loads = (CONSTANT, POISSON, FEW)
        measured = pool.map(lambda load: stalled(place, load, 6, 1000), loads)
        yield {load.name: trial for load, trial in zip(loads, measured, strict=True)}


@pytest.mark.parametrize("name", ["constant", "poisson", "few-users"])
def test_a_stall_is_in_the_p99(trials: dict[str, Stalled], name: str) -> None:
    """p99 of latency is the server's own within 5%, or the row is INVALID. A generator that waits
    for its users, or moves its schedule, reports a p99 of some milliseconds here."""
    trial = trials[name]
    assert trial.true_p99_ms > 600, "the server did not stall"
    if trial.verdict.verdict != "INVALID":
        assert trial.figures["latency_p99_ms"] == pytest.approx(trial.true_p99_ms, rel=0.05)


def test_the_schedule_does_not_wait_for_the_server(trials: dict[str, Stalled]) -> None:
    """A due time that slips while the server stalls would hide the stall from both sides above."""
    for name in ("constant", "few-users"):
        due = trials[name].due_ns
        gaps = [later - earlier for earlier, later in pairwise(due)]
        assert len(gaps) > 400 and max(abs(gap - 1e9 / RATE) for gap in gaps) < 1e3


def test_service_time_is_not_called_latency(trials: dict[str, Stalled]) -> None:
    """With few users most of a stall's victims are not sent until it is over. Counted from the
    send the stall all but vanishes; whoever called that latency would report it so."""
    trial = trials["few-users"]
    assert trial.figures["latency_p99_ms"] > 600
    assert trial.figures["service_time_p99_ms"] < trial.figures["latency_p99_ms"] / 2
    sent_in_time = trials["constant"].figures
    assert sent_in_time["service_time_p99_ms"] > 600, "here all were sent before the stall's end"


def test_what_is_never_sent_makes_the_row_invalid(place: Place) -> None:
    """Too few users for a stall that outlasts the window: part of the load was never offered, and
    a percentile over the rest would be that of an easier load."""
    load = Load("too-few", "open", arrivals="constant", max_users=2)
    trial = stalled(place.having([load], window_s=2), load, 1, 3000)
    assert trial.verdict.verdict == "INVALID"
    assert "DROPPED_ITERATIONS" in trial.verdict.reasons
    assert "2 users were busy" in (trial.verdict.detail or "")
    assert trial.figures["dropped"] > 10
