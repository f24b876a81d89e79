"""What a page's script is given: the filters, the points and the tables, as columns."""

import hashlib
from collections.abc import Iterable
from typing import Any, TypeVar

from pages import encode
from pages.answers import SETUP
from pages.figure import Figure
from pages.names import MEASURES, NAMES, PERCENTILES, name_of

Row = dict[str, Any]
Value = TypeVar("Value")
FILTERS = {
    "machine_name": "Machine",
    "device": "Device",
    "model": "Model",
    "weights": "Weights",
    "precision": "Precision",
    "runtime": "Runtime",
    "generator": "Generator",
}
VERDICTS = (("usable", "not INVALID"), ("valid", "VALID only"))
TRIAL_COLUMNS = {
    # A narrow screen shows three.
    "stack": "stack",
    "verdict": "verdict",
    "load": "load",
    "interface": "interface",
    "block": "block",
    "reasons": "reasons",
    "throughput_per_s": "units/s",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
    "latency_p99_ms": "p99 ms",
    "ttft_p50_ms": "first token p50 ms",
    "ttft_p95_ms": "first token p95 ms",
    "itl_p50_ms": "gap p50 ms",
    "tpot_p50_ms": "per token p50 ms",
    "padding_waste": "padding, ×",
    "memory_mb_per_1000": "MB for 1,000/s",
    "goodput": "within the limit",
    "serving_efficiency": "of engine",
    "offered": "offered",
    "errors": "errors",
    "detail": "detail",
    "run_id": "run",
    "trial_id": "trial",
}


def data(
    group: str, unit: str, titles: dict[str, str], asked: dict[str, list[Row]], charts: list[Figure]
) -> Row:
    """One group's data, ready for JSON; `asked`: the rows of each question."""
    points, figures = encode.points(asked["points"])
    loads = in_order(row["load"] for row in asked["workloads"])
    setups = in_order(tuple(row[name] for name in SETUP) for row in asked["workloads"])
    limits = {tuple(row[name] for name in SETUP): row["slo"] for row in asked["workloads"]}
    return {
        "group": file_name(group),
        "setup": SETUP,
        "setups": setups,
        "filters": _filters(asked, setups, loads, figures),
        "loads": loads,
        "titles": titles,
        "names": {
            name: {
                "label": name_of(name, unit).removesuffix(", %").removesuffix(", ×"),
                "better": better,
                "share": of == "%",
            }
            for name, (_, of, better) in NAMES.items()
        },
        "measures": MEASURES,
        "slos": [limits[setup] for setup in setups],
        "points": points,
        "figures": figures,
        "tables": {
            name: encode.columns(asked[name])
            for name in ("trials", "complexity", "cost", "verdicts", "time")
        }
        | {"precisions": encode.columns(by_precision(asked["points"]))},
        "trialColumns": [
            (name, title)
            for name, title in TRIAL_COLUMNS.items()
            if any(row[name] not in (None, "") for row in asked["trials"])
        ],
        "charts": [
            {
                "id": one.id,
                "title": one.title,
                "caption": one.caption,
                "source": one.source,
                "figures": one.figures,
                "workload": one.workload,
                "measure": one.measure,
                "family": one.family,
                "wide": one.wide,
                "spec": one.spec,
            }
            for one in charts
        ],
    }


def _filters(
    asked: dict[str, list[Row]], setups: list[Any], loads: list[str], figures: Row
) -> list[Row]:
    def options(values: Any) -> list[Row]:
        return [{"value": one, "title": one} for one in values]

    everything = [{"value": "all", "title": "all"}]
    found = [
        {"name": name, "title": title, "options": options(in_order(s[at] for s in setups))}
        for at, (name, title) in enumerate(FILTERS.items())
    ]
    interfaces = in_order(row["interface"] for row in asked["workloads"])
    # Rates are each machine's and model's own: a load that has several is called by its name.
    said: dict[str, set[str]] = {}
    for row in asked["workloads"]:
        said.setdefault(row["load"], set()).add(row["load_title"])
    titles = {load: next(iter(names)) if len(names) == 1 else load for load, names in said.items()}
    measures = [name for name in MEASURES if any(f.startswith(f"{name}_p") for f in figures)]
    components = in_order(row["component"] for row in asked["complexity"])
    drawn = [p for p in PERCENTILES if any(f.endswith(f"_{p}_ms") for f in figures)]
    # What comes first is what a page shows unasked: p95, or the median where most have too few
    # requests for that.
    enough = _known(figures, "p95") >= _known(figures, "p50") / 2
    drawn.sort(key=lambda name: name != ("p95" if enough else "p50"))
    return [
        *found,
        {"name": "interface", "title": "Interface", "options": everything + options(interfaces)},
        {
            "name": "load",
            "title": "Load",
            "options": everything + [{"value": one, "title": titles[one]} for one in loads],
        },
        {
            "name": "verdict",
            "title": "Verdict",
            "options": [{"value": value, "title": title} for value, title in VERDICTS],
        },
        {
            "name": "measure",
            "title": "Latency curves show",
            "options": [{"value": one, "title": MEASURES[one]} for one in measures],
        },
        {
            "name": "percentile",
            "title": "Percentile",
            "options": [{"value": p, "title": p.replace("p999", "p99.9")} for p in drawn],
        },
        {"name": "component", "title": "Complexity is", "options": options(components)},
    ]


def _known(figures: Row, percentile: str) -> int:
    """How many points have this percentile of any measure."""
    ends = f"_{percentile}_ms"
    names = [name for name in figures if name.endswith(ends) and not name.startswith("service")]
    return sum(value is not None for name in names for value in figures[name]["value"])


def by_precision(points: list[Row]) -> list[Row]:
    """The throughput of what was measured at several precisions. The precision is called
    `computed`: the choice of one must not hide the other."""
    same = (*SETUP, "stack", "interface", "load", "verdicts")
    alike = [name for name in same if name != "precision"]
    found: dict[tuple[Any, ...], list[Row]] = {}
    for point in points:
        if point["load_kind"] == "closed":
            found.setdefault(tuple(point[name] for name in alike), []).append(point)
    return [
        {name: point[name] for name in (*alike, "load_title", "blocks", "run_id")}
        | {"computed": point["precision"]}
        | figure
        for several in found.values()
        if len(several) > 1
        for point in several
        for figure in point["figures"]
        if figure["figure"] == "throughput_per_s"
    ]


def in_order(values: Iterable[Value]) -> list[Value]:
    """Each value once, where it first came."""
    return list(dict.fromkeys(values))


def file_name(group: str) -> str:
    """The group's name if it can be a file's, else a digest of it: names come from results."""
    plain = group.replace("-", "").replace("_", "").replace(".", "")
    if plain.isascii() and plain.isalnum() and group != "index" and len(group) < 100:
        return group
    return "group-" + hashlib.sha256(group.encode()).hexdigest()[:12]
