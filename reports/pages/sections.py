"""Which charts a group's page has: those for which there is data, in the order of the page."""

from collections.abc import Iterable
from typing import Any

from pages import charts
from pages.figure import Figure
from pages.names import MEASURES
from pages.resources import precisions, where_the_time_goes
from pages.scales import Scales

Row = dict[str, Any]
COMPARED = (
    "throughput_per_s",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "ttft_p50_ms",
    "ttft_p95_ms",
    "itl_p95_ms",
    "tpot_p50_ms",
    "goodput",
    "serving_efficiency",
    "padding_waste",
    "cpu_cores_used",
    "memory_peak_mb",
    "memory_mb_per_1000",
    "gpu_memory_mb",
    "energy_j_per_unit",
)
STREAMED = {
    "ttft": "From the intended start to the first chunk with text; a queue is in it.",
    "tpot": "From the first token to the last, over the tokens between: how fast the text runs on.",
    "itl": "Each gap between chunks with text. A chunk may hold several tokens: read it with the"
    " time per token.",
}
FAMILIES = {
    "users": ("callers that wait", "callers"),
    "constant": ("even arrivals", "offered load, requests/s"),
    "poisson": ("Poisson arrivals", "offered load, requests/s"),
}


def figures(
    points: Iterable[Row], scales: Scales, unit: str, tables: dict[str, list[Row]]
) -> dict[str, list[Figure]]:
    """{section: its charts} for points as reports/questions/points.sql gives them."""
    rows = list(points)
    known = {one["figure"] for row in rows for one in row["figures"]}
    families = [f for f in FAMILIES if any(family(row) == f for row in rows)]
    found: dict[str, list[Figure]] = {
        "compare": _compare(known),
        "load": _load(scales, families, known, unit) + _streams(scales, rows, families, known),
        "time": where_the_time_goes(scales, known, unit, tables),
        "precisions": precisions(scales, unit, tables),
        "complexity": _complexity(scales, unit, tables),
        "cost": _cost(scales, unit, tables),
        "trust": _trust(tables),
    }
    return found


def family(row: Row) -> str:
    """Which of FAMILIES a point belongs to; empty for none: a batch, a search, a burst,
    payloads of their own."""
    if row["client_batch"] > 1 or row["payloads"]:
        return ""
    if row["load_kind"] == "closed":
        return "users"
    return row["arrivals"] if row["arrivals"] in FAMILIES else ""


def _compare(known: set[str]) -> list[Figure]:
    shown = tuple(name for name in COMPARED if name in known)
    return (
        [
            Figure(
                "heatmap",
                "Every figure, relative to the best",
                "Each line is one figure under one load; colour: how far it is from the best"
                " of its line. Below each value its 95% interval over the blocks.",
                charts.heatmap(),
                figures=shown,
                workload=True,
                wide=True,
            )
        ]
        if shown
        else []
    )


def _load(scales: Scales, families: list[str], known: set[str], unit: str) -> list[Figure]:
    found: list[Figure] = []
    for one in families:
        title, axis = FAMILIES[one]
        found.append(
            Figure(
                f"latency-{one}",
                f"Latency against load: {title}",
                "Bands and bars are 95% intervals over the blocks; the dashed line is the limit.",
                charts.against_load(scales, axis, "ms"),
                figures=("",),
                family=one,
            )
        )
    if "goodput" in known:
        for one in families:
            title, axis = FAMILIES[one]
            found.append(
                Figure(
                    f"goodput-{one}",
                    f"Answers within the limit: {title}",
                    "Of all requests offered: errors, refusals and late answers are misses. The"
                    " dashed line is the share that must be met.",
                    charts.against_load(scales, axis, "share of requests", share=True),
                    figures=("goodput",),
                    family=one,
                )
            )
    if "users" in families and "throughput_per_s" in known:
        title, axis = FAMILIES["users"]
        found.append(
            Figure(
                "throughput-users",
                f"Throughput against load: {title}",
                "Where the curve bends down or flat, more callers only wait longer.",
                charts.against_load(scales, axis, f"{unit}/s"),
                figures=("throughput_per_s",),
                family="users",
            )
        )
    if any(name.startswith("latency_p") for name in known):
        found.append(
            Figure(
                "percentiles",
                "The tail: percentiles under one load",
                "Each step to the right is rarer. A curve ends where there are too few requests"
                " to tell.",
                charts.percentiles(scales, "ms"),
                figures=("*",),
                workload=True,
            )
        )
    return found


def _streams(scales: Scales, rows: list[Row], families: list[str], known: set[str]) -> list[Figure]:
    """For answers that stream: when the text begins, and how fast it runs on."""
    loads = {f: len({row["load"] for row in rows if family(row) == f}) for f in families}
    # Of a single load there is no curve; it stands in the comparison.
    curves = [f for f in families if loads[f] > 1] or families[:1]
    found: list[Figure] = []
    for measure, caption in STREAMED.items():
        if not any(name.startswith(f"{measure}_p") for name in known):
            continue
        name = MEASURES[measure]
        for one in curves:
            title, axis = FAMILIES[one]
            found.append(
                Figure(
                    f"{measure}-{one}",
                    f"{name[0].upper()}{name[1:]} against load: {title}",
                    caption,
                    charts.against_load(scales, axis, "ms"),
                    figures=("",),
                    measure=measure,
                    family=one,
                )
            )
    return found


def _complexity(scales: Scales, unit: str, tables: dict[str, list[Row]]) -> list[Figure]:
    if not tables["complexity"]:
        return []
    return [
        Figure(
            "complexity",
            "What there is to run and keep",
            "Counted in each stack's folder, or measured in its runs. No score: every component by"
            " itself, relative to the least.",
            charts.heatmap(intervals=False),
            source="complexity",
            wide=True,
        ),
        Figure(
            "performance-complexity",
            "Performance against complexity",
            "The most that a stack served under any load, against one component. Further left and"
            " higher is better.",
            charts.scatter(scales, f"{unit}/s"),
            source="scatter",
        ),
    ]


def _cost(scales: Scales, unit: str, tables: dict[str, list[Row]]) -> list[Figure]:
    if not any(row["usd_per_million"] is not None for row in tables["cost"]):
        return []
    return [
        Figure(
            "cost",
            f"What a million {unit} cost",
            "The machine's price by the hour over the most that a stack served on it.",
            charts.bars(scales, f"$ per million {unit}"),
            source="cost",
        )
    ]


def _trust(tables: dict[str, list[Row]]) -> list[Figure]:
    if not tables["verdicts"]:
        return []
    return [
        Figure(
            "verdicts",
            "Trials by verdict",
            "VALID: nothing speaks against it. DEGRADED: read with care. INVALID: no conclusion.",
            charts.stacked(
                "trials", ("VALID", "DEGRADED", "INVALID"), ("#2f8f83", "#e0a526", "#b5433b")
            ),
            source="verdicts",
        )
    ]
