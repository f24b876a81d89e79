"""Each SQL definition against its plain statement in numpy, on arbitrary records."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from metrics import MetricsError, compute, store_samples
from metrics.ranks import percentile_ranks

START, END = 1_000_000_000, 2_000_000_000
SECONDS = (END - START) / 1e9
QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p95": (19, 20), "p99": (99, 100), "p999": (999, 1000)}
SCHEMA = pa.schema(
    [
        ("vu", pa.int64()),
        ("slot", pa.int64()),
        ("payloads", pa.list_(pa.int64())),
        ("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("first_ns", pa.int64()),
        ("done_ns", pa.int64()),
        ("connect_ns", pa.int64()),
        ("chunk_ns", pa.list_(pa.int64())),
        ("chunk_tokens", pa.list_(pa.int64())),
        ("status", pa.int32()),
        ("ok", pa.bool_()),
        ("units", pa.float64()),
        ("bytes", pa.int64()),
        ("error", pa.string()),
    ]
)
Record = dict[str, Any]


def record(draw: random.Random, streaming: bool) -> Record:
    """One record: right, wrong, refused or dropped, started before, in or after the window."""
    intended = draw.randint(START - 300_000_000, END + 100_000_000)
    kind = draw.choice(["ok"] * 8 + ["wrong", "refused", "dropped", "timeout"])
    answered = kind != "dropped"
    sent = intended + draw.randint(0, 10**7)
    gaps = [draw.randint(1, 10**8) for _ in range(draw.randint(0, 4))] if streaming else []
    chunks = [int(at) for at in sent + 1000 + np.cumsum(gaps)] if answered else []
    done = max([sent + draw.randint(1, 4 * 10**8), *chunks])
    return {
        "vu": draw.randint(0, 3),
        "slot": 0,
        "payloads": [draw.randint(0, 5) if answered else 9 for _ in range(draw.randint(1, 2))],
        "intended_ns": intended,
        "sent_ns": sent if answered else None,
        "first_ns": sent + 1 if answered else None,
        "done_ns": done if answered else None,
        "connect_ns": draw.choice([0, 0, 500]),
        "chunk_ns": chunks,
        "chunk_tokens": [draw.randint(1, 3) for _ in chunks],
        "status": {"ok": 200, "wrong": 200, "refused": 503, "dropped": -1, "timeout": -1}[kind],
        "ok": kind == "ok",
        "units": float(draw.randint(1, 8)),
        "bytes": 1,
        "error": {
            "wrong": "wrong answer: expected 1, got 2",
            "dropped": "dropped",
            "timeout": "timeout after 10 s",
        }.get(kind, ""),
    }


def records(n: int, seed: int, streaming: bool = False) -> list[Record]:
    """n records; drawn from a seed, as hypothesis takes minutes to draw each field itself."""
    draw = random.Random(seed)
    return [record(draw, streaming) for _ in range(n)]


def figures(folder: Path, rows: list[Record], **context: Any) -> dict[str, Any]:
    """compute() over these records. Refuses none: over nothing every definition agrees."""
    assert rows, "no records to compute over"
    file = folder / "requests.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    window = {"window_start_ns": START, "window_end_ns": END}
    return compute(file, None, window | context)


def offered(rows: list[Record]) -> list[Record]:
    """The requests that count: intended in [start, end)."""
    return [row for row in rows if START <= row["intended_ns"] < END]


def same(given: float | None, expected: float | None) -> bool:
    """Equal to rounding, or both null."""
    if given is None or expected is None:
        return given is expected
    return math.isclose(given, expected, rel_tol=1e-9, abs_tol=1e-9)


def percentiles(values: list[float]) -> dict[str, float | None]:
    """Order statistics and their intervals, stated from the binomial distribution itself."""
    ordered, n = np.sort(np.array(values)), len(values)
    found: dict[str, float | None] = {}
    for name, (up, down) in QUANTILES.items():
        q = up / down
        below = binom.cdf(np.arange(n + 1), n, q)
        low = int(np.argmax(below >= 0.025))
        high = int(np.argmax(below >= 0.975)) + 1
        middle = -(-n * up // down)
        known = n > 0 and low >= 1 and high <= n

        def at(rank: int, known: bool = known) -> float | None:
            return float(ordered[rank - 1]) if known and np.isfinite(ordered[rank - 1]) else None

        found[f"{name}_ms"] = at(middle)
        reached = at(middle) is not None
        found[f"{name}_ms_low"] = at(low) if reached else None
        found[f"{name}_ms_high"] = at(high) if reached else None
    return found


def assert_percentiles(found: dict[str, Any], name: str, values: list[float]) -> None:
    """Every column of the family `name` is the percentile of `values` that it says."""
    for column, expected in percentiles(values).items():
        value = found[f"{name}_{column}"]
        assert same(value, expected), (name, column, value, expected)


SEEDS = st.integers(0, 2**32)
MANY = st.builds(records, st.integers(1, 200), SEEDS)
STREAMS = st.builds(records, st.integers(1, 90), SEEDS, st.just(True))
slow = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scratch, one for all examples of a module."""
    return tmp_path_factory.mktemp("figures")


@slow
@given(rows=MANY)
def test_latency_ranks_failures_last(folder: Path, rows: list[Record]) -> None:
    """Latency from the intended start; a failed request is slower than every answered one.

    Broken by measuring from the send, by leaving failures out, or by interpolating."""
    counted = offered(rows)
    found = figures(folder, rows)
    for name, since in (("latency", "intended_ns"), ("service_time", "sent_ns")):
        values = [(r["done_ns"] - r[since]) / 1e6 if r["ok"] else math.inf for r in counted]
        assert_percentiles(found, name, values)
    good = [(r["done_ns"] - r["intended_ns"]) / 1e6 for r in counted if r["ok"]]
    assert same(found["latency_mean_ms"], float(np.mean(good)) if good else None)
    assert same(found["latency_max_ms"], max(good, default=None))


@slow
@given(rows=MANY)
def test_outcomes_throughput_and_audit(folder: Path, rows: list[Record]) -> None:
    """Counts are over what was offered in the window, throughput over what ended in it.

    Broken by one population for both, or by an edge of the window counted twice."""
    found, counted = figures(folder, rows), offered(rows)
    failed = [r for r in counted if not r["ok"]]
    assert found["offered"] == len(counted) == found["completed"] + found["errors"]
    assert found["errors"] == len(failed)
    assert found["refused"] == sum(r["status"] == 503 for r in failed)
    assert found["dropped"] == sum(r["error"] == "dropped" for r in failed)
    assert found["timed_out"] == sum(r["error"].startswith("timeout") for r in failed)
    assert found["wrong_answers"] == sum(r["error"].startswith("wrong") for r in failed)
    ended = [r for r in rows if r["ok"] and START <= r["done_ns"] < END]
    assert same(found["requests_per_s"], len(ended) / SECONDS)
    assert same(found["throughput_per_s"], sum(r["units"] for r in ended) / SECONDS)
    assert found["throughput_per_user_per_s"] is None  # nobody said how many users
    each = sum(r["units"] for r in ended) / len(ended) if ended else None
    assert same(found["units_per_answer"], each)
    sent = [r for r in counted if r["sent_ns"] is not None]
    assert found["payloads_distinct"] == len({p for r in sent for p in r["payloads"]})
    assert found["connections_opened"] == sum(r["connect_ns"] > 0 for r in counted)
    late = sorted((r["sent_ns"] - r["intended_ns"]) / 1e6 for r in sent)
    expected = late[-(-len(late) * 99 // 100) - 1] if late else None
    assert same(found["late_start_p99_ms"], expected)


@slow
@given(rows=MANY, limit=st.integers(1, 400), share=st.sampled_from([0.5, 0.95]))
def test_goodput(folder: Path, rows: list[Record], limit: int, share: float) -> None:
    """Answers within the limit over requests offered. Broken by dividing by those answered."""
    counted = offered(rows)
    met = sum(r["ok"] and (r["done_ns"] - r["intended_ns"]) / 1e6 <= limit for r in counted)
    found = figures(folder, rows, slo_latency_ms=limit, slo_share=share)
    expected = met / len(counted) if counted else None
    assert same(found["goodput"], expected)
    assert found["slo_met"] == (None if expected is None else expected >= share)
    for context in ({}, {"slo_latency_ms": limit, "slo_share": share, "client_batch": 8}):
        assert figures(folder, rows, **context)["goodput"] is None


@slow
@given(rows=STREAMS, ttft=st.integers(1, 60), tpot=st.integers(1, 60))
def test_streams(folder: Path, rows: list[Record], ttft: int, tpot: int) -> None:
    """TTFT, ITL and TPOT as defined. Broken by stamps of the send, by per-request mean gaps,
    by counting chunks instead of tokens, or by failures that vanish."""
    assume(any(r["chunk_ns"] for r in rows))
    counted = offered(rows)
    first: list[float] = []
    gaps: list[float] = []
    per_token: list[float] = []
    met = 0
    for r in counted:
        chunks, tokens = r["chunk_ns"], sum(r["chunk_tokens"])
        to_first = (chunks[0] - r["intended_ns"]) / 1e6 if r["ok"] and chunks else math.inf
        first.append(to_first)
        gaps += [gap / 1e6 for gap in np.diff(chunks)]
        if chunks and not r["ok"]:
            gaps.append(math.inf)
        one = 0.0
        if not r["ok"]:
            per_token.append(math.inf)
        elif tokens > 1:
            one = (chunks[-1] - chunks[0]) / 1e6 / (tokens - 1)
            per_token.append(one)
        met += r["ok"] and to_first <= ttft and one <= tpot
    found = figures(folder, rows, slo_ttft_ms=ttft, slo_tpot_ms=tpot, slo_share=0.5)
    assert_percentiles(found, "ttft", first)
    assert_percentiles(found, "itl", gaps)
    assert_percentiles(found, "tpot", per_token)
    assert same(found["goodput"], met / len(counted) if counted else None)
    answered = [r for r in counted if r["ok"]]
    chunks = sum(len(r["chunk_ns"]) for r in answered)
    tokens = sum(sum(r["chunk_tokens"]) for r in answered)
    assert same(found["tokens_per_chunk"], tokens / chunks if chunks else None)


@slow
@given(rows=MANY)
def test_nothing_streams_is_null_not_failed(folder: Path, rows: list[Record]) -> None:
    """Unary rows have no streaming figures. Broken by calling every TTFT infinite."""
    found = figures(folder, rows)
    streaming = [c for c in found if c.startswith(("ttft_", "itl_", "tpot_", "tokens_per_chunk"))]
    assert len(streaming) == 46
    assert all(found[column] is None for column in streaming)


@slow
@given(rows=MANY)
def test_backlog_slope(folder: Path, rows: list[Record]) -> None:
    """Slope of the requests intended and not yet done, over the offered rate.

    Broken by dropped requests that leave or by counting the window's requests alone."""
    counted = offered(rows)
    assume(counted)
    at = START + (END - START) * np.arange(101) / 100
    waiting = [
        sum(r["intended_ns"] <= t for r in rows)
        - sum(r["done_ns"] is not None and r["done_ns"] <= t for r in rows)
        for t in at
    ]
    slope = np.polyfit((at - START) / 1e9, waiting, 1)[0] / (len(counted) / SECONDS)
    assert abs(figures(folder, rows)["backlog_slope"] - slope) < 1e-6


@slow
@given(
    rows=st.builds(records, st.integers(250, 500), SEEDS),
    failing=st.sampled_from([0.0, 0.01, 0.03]),
    spread=st.sampled_from([5, 12, 60]),
    start=st.integers(350, 700),
    length=st.integers(1, 150),
)
def test_recovery(
    folder: Path, rows: list[Record], failing: float, spread: int, start: int, length: int
) -> None:
    """The first request after a burst from which on the p95 of the next 20 and that of all the
    rest are at most 1.1 times the p95 before; null where none is.

    Broken by a window that looks back, by one that ends early with fewer than 20, by failures that
    vanish, and by the end of the burst taken for its start."""
    draw = random.Random(start * 1000 + length)
    burst, end = START + start * 10**6, START + (start + length) * 10**6
    for slot, r in enumerate(rows):
        failed = draw.random() < failing
        slowed = 5 if burst <= r["intended_ns"] < end + 10**8 else 1
        latency_ms = slowed * (100 + draw.random() * spread)
        r |= {
            "slot": slot,
            "ok": not failed,
            "status": draw.choice([503, 200]) if failed else 200,
            "done_ns": r["intended_ns"] + int(latency_ms * 1e6),
        }

    def p95(some: list[Record]) -> float:
        waits = [(r["done_ns"] - r["intended_ns"]) / 1e6 if r["ok"] else math.inf for r in some]
        return float(np.sort(np.array(waits))[-(-len(waits) * 19 // 20) - 1])

    counted = sorted(offered(rows), key=lambda r: (r["intended_ns"], r["slot"]))
    before = [r for r in counted if r["intended_ns"] < burst]
    during = [r for r in counted if burst <= r["intended_ns"] < end]
    after = [r for r in counted if r["intended_ns"] >= end]
    found = figures(folder, rows, burst_start_ns=burst, burst_end_ns=end)
    assert found["burst_offered"] == len(during)
    assert found["burst_refused"] == sum(r["status"] == 503 for r in during)
    normal = p95(before) if len(before) >= 72 and math.isfinite(p95(before)) else None
    assert same(found["before_burst_p95_ms"], normal)
    back = [
        (r["intended_ns"] - end) / 1e9
        for place, r in enumerate(after)
        if normal is not None
        and len(after) - place >= 20
        and p95(after[place : place + 20]) <= 1.1 * normal
        and p95(after[place:]) <= 1.1 * normal
    ]
    assert same(found["recovery_s"], back[0] if back else None)
    event(f"recovered: {bool(back)}, normal known: {normal is not None}")


def burst_rows(slow_until_ms: int, **relapse: Any) -> list[Record]:
    """2,000 requests/s of 20 ms; a burst from 400 to 500 ms makes them 90 ms for a while."""
    rows = steady(2000, 20)
    for row in rows:
        since = row["intended_ns"] - START
        if 400_000_000 <= since < slow_until_ms * 1_000_000:
            row["done_ns"] += 70_000_000
        if relapse and relapse["begin_ms"] <= since / 1e6 < relapse["end_ms"]:
            row["done_ns"] += 70_000_000
    return rows


BURST = {"burst_start_ns": START + 400_000_000, "burst_end_ns": START + 500_000_000}


def test_recovery_worked_by_hand(folder: Path) -> None:
    """Slow until 200 ms after the burst: recovered then, less the one slow request in 20.

    Broken by the moment the window ends instead of the one it begins at."""
    found = figures(folder, burst_rows(700), **BURST)
    assert same(found["before_burst_p95_ms"], 20)
    assert found["recovery_s"] == pytest.approx(0.2 - 0.0005)
    assert (found["burst_offered"], found["burst_refused"]) == (200, 0)
    assert figures(folder, burst_rows(500), **BURST)["recovery_s"] == 0


def test_a_relapse_is_no_recovery_and_neither_is_a_good_end_of_a_few_requests(folder: Path) -> None:
    """Fast for 100 ms and slow again: it counts from the second time on; never back: null.

    Broken by taking the first good window."""
    again = burst_rows(600, begin_ms=700, end_ms=800)
    assert figures(folder, again, **BURST)["recovery_s"] == pytest.approx(0.3 - 0.0005)
    assert figures(folder, burst_rows(1000), **BURST)["recovery_s"] is None
    assert figures(folder, burst_rows(991), **BURST)["recovery_s"] is None


def test_without_a_burst_nothing_recovers(folder: Path) -> None:
    """Every other trial has null there. Broken by a count of 0 that reads as "none refused"."""
    found = figures(folder, steady(200, 20))
    columns = ("burst_offered", "burst_refused", "before_burst_p95_ms", "recovery_s")
    assert [found[column] for column in columns] == [None] * 4


def steady(n: int, latency_ms: float, **more: Any) -> list[Record]:
    """n requests evenly over the window, each answered after the same time."""
    step = (END - START) // n
    return [
        {
            "vu": 0, "slot": i, "payloads": [0], "intended_ns": START + i * step,
            "sent_ns": START + i * step, "first_ns": START + i * step,
            "done_ns": START + i * step + int(latency_ms * 1e6), "connect_ns": 0, "chunk_ns": [],
            "chunk_tokens": [], "status": 200, "ok": True, "units": 1.0, "bytes": 1, "error": "",
        } | more
        for i in range(n)
    ]  # fmt: skip


def test_backlog_of_a_server_that_keeps_up_and_of_one_that_never_answers(folder: Path) -> None:
    """About 0 and about 1: what SATURATED is decided by. Broken by a wrong denominator."""
    assert abs(figures(folder, steady(500, 20))["backlog_slope"]) < 0.03
    never = figures(folder, steady(500, 20, done_ns=None, ok=False, status=-1))
    assert abs(never["backlog_slope"] - 1) < 0.03


def test_generator_late_leaves_out_the_wait_for_a_busy_user(folder: Path) -> None:
    """One user, 20 ms a request, due every 10 ms: late_start grows, the generator is on time.

    Broken by taking the wait for an answer for lateness of the generator."""
    rows = steady(40, 0)
    free = START
    for number, row in enumerate(rows):
        row["intended_ns"] = START + number * 10_000_000
        row["sent_ns"] = max(row["intended_ns"], free) + 300_000
        row["done_ns"] = free = row["sent_ns"] + 20_000_000
    found = figures(folder, rows)
    assert found["late_start_p99_ms"] > 300
    assert same(found["generator_late_p99_ms"], 0.3)


def test_generator_late_does_not_blame_the_generator_for_a_timeout(folder: Path) -> None:
    """Nobody knows when a user whose request was never answered was free: it says nothing.

    Broken by taking the next request's wait for it for lateness of the generator."""
    rows = steady(40, 0)
    for number, row in enumerate(rows):
        row["intended_ns"] = START + number * 10_000_000
        row["sent_ns"] = row["intended_ns"] + 200_000
        row["done_ns"] = row["sent_ns"] + 1_000_000
    rows[20] |= {"done_ns": None, "status": -1, "ok": False}
    rows[21]["sent_ns"] += 5_000_000
    rows[21]["done_ns"] += 5_000_000
    assert same(figures(folder, rows)["generator_late_p99_ms"], 0.2)


@pytest.mark.parametrize(
    ("q", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)]
)
def test_percentiles_need_enough_requests(q: float, least: int) -> None:
    """The design's table of sample sizes. Broken by a normal approximation of the interval."""
    assert percentile_ranks(least - 1, q) is None
    assert percentile_ranks(least, q) is not None


@given(n=st.integers(1, 20_000), q=st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
@settings(deadline=None)
def test_intervals_cover(n: int, q: float) -> None:
    """Whatever n, the ranks cover the quantile with at least 95%. Broken by ranks off by one."""
    ranks = percentile_ranks(n, q)
    if ranks is None:
        assert 1 - max(q, 1 - q) ** n < 0.975
        return
    assert 1 <= ranks["low"] <= ranks["middle"] <= ranks["high"] <= n
    assert binom.cdf(ranks["high"] - 1, n, q) - binom.cdf(ranks["low"] - 1, n, q) >= 0.95


def test_a_percentile_among_failures_is_null(folder: Path) -> None:
    """6 of 100 fail: p90 stands with an open upper end, p95 is null. Broken by survivors' bias."""
    rows = steady(100, 20)
    for row in rows[:6]:
        row |= {"ok": False, "status": 500}
    found = figures(folder, rows)
    assert found["latency_p90_ms"] == found["latency_p90_ms_low"] == 20
    assert found["latency_p90_ms_high"] is None
    assert [found[f"latency_p95_ms{end}"] for end in ("", "_low", "_high")] == [None] * 3


def test_samples_counters_and_context(tmp_path: Path) -> None:
    """Figures from samples and counters, worked by hand: samples outside the window don't count.

    Broken by integrating to the first sample after the window or by a mean of cumulative values."""
    rows = [
        {
            "t_ns": START + i * 100_000_000,
            "server_cpu_ns": i * 50_000_000,
            "generator_cpu_ns": i * 20_000_000,
            "gpu_utilization": 0.5,
            "gpu_memory_bytes": 10**9 + i,
            "gpu_power_w": 100.0,
        }
        for i in range(-5, 26)
    ]
    rows[0] |= {"server_cpu_ns": -(10**12), "gpu_power_w": 9e9}
    store_samples(rows, tmp_path / "samples.parquet")
    pq.write_table(pa.Table.from_pylist(steady(50, 1), SCHEMA), tmp_path / "requests.parquet")
    found = compute(
        tmp_path / "requests.parquet",
        tmp_path / "samples.parquet",
        {
            "window_start_ns": START, "window_end_ns": END + 10**9,
            "generator_cpus": 2, "max_batch": 8,
            "engine_throughput_per_s": 100, "memory_idle_mb": 100, "memory_peak_mb": 250.5,
            "queue_seconds_sum": 2, "queue_seconds_count": 50,
            "inference_seconds_sum": 5, "inference_seconds_count": 50,
            "batch_items_sum": 50, "batch_executions_count": 25, "cache_hits_count": 3,
            "tokens_sum": 600, "padded_tokens_sum": 900,
            "kv_cache_usage": 0.4, "users": 5,
        },
    )  # fmt: skip
    expected = {
        "cpu_cores_used": 0.5, "generator_cpu_share": 0.1, "gpu_utilization": 0.5,
        "gpu_memory_mb": 1000.00002, "power_w": 100, "energy_j_per_unit": 4, "queue_ms": 40,
        "inference_ms": 100, "batch_mean": 2, "batch_efficiency": 0.25, "serving_efficiency": 0.25,
        "memory_growth_mb": 150.5, "cache_hits": 3, "window_s": 2,
        "tokens_per_s": 300, "padding_waste": 1.5, "memory_mb_per_1000": 10020,
        "kv_cache_usage": 0.4, "throughput_per_user_per_s": 5, "units_per_answer": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("lookups", "share"), [(None, 0.25), (400, 0.05), (0, None)])
def test_a_caches_hits_are_of_what_was_looked_for(
    tmp_path: Path, lookups: int | None, share: float | None
) -> None:
    """20 hits of 80 requests, or of 400 tokens. Broken by tokens held against requests: one prompt
    of 256 cached tokens would make 25 requests a cache's."""
    pq.write_table(pa.Table.from_pylist(steady(80, 1), SCHEMA), tmp_path / "requests.parquet")
    context = {"cache_hits_count": 20, "cache_lookups_count": lookups}
    edges = {"window_start_ns": START, "window_end_ns": START + 10**12}
    found = compute(tmp_path / "requests.parquet", None, {**edges, **context})
    assert found["offered"] == 80
    assert found["cache_hit_share"] == share


def test_no_requests_is_all_null(tmp_path: Path) -> None:
    """A trial without a single record computes: counts 0, figures null. Broken by a row lost."""
    pq.write_table(SCHEMA.empty_table(), tmp_path / "requests.parquet")
    found = compute(
        tmp_path / "requests.parquet", None, {"window_start_ns": START, "window_end_ns": END}
    )
    assert found["offered"] == found["completed"] == 0
    assert found["throughput_per_s"] == 0
    assert found["latency_p50_ms"] is found["goodput"] is found["backlog_slope"] is None


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"window_start_ns": 5, "window_end_ns": 5}, "window"),
        ({}, "window"),
        ({"window_start_ns": 1, "window_end_ns": 2, "max_bacth": 8}, "max_bacth"),
    ],
)
def test_wrong_context_is_named(tmp_path: Path, context: dict[str, Any], named: str) -> None:
    """A typo or an empty window is an error, not a null. Broken by dict.get."""
    with pytest.raises(MetricsError, match=named):
        compute(tmp_path / "none.parquet", None, context)
