"""The charts of where the time goes: parts of a request, resources, batches, precisions."""

from typing import Any

from pages import charts
from pages.figure import Figure
from pages.names import NAMES, name_of
from pages.scales import Scales

Row = dict[str, Any]
RESOURCES = (
    "throughput_per_s",
    "cpu_cores_used",
    "memory_peak_mb",
    "memory_mb_per_1000",
    "kv_cache_usage",
    "gpu_utilization",
    "gpu_memory_mb",
    "power_w",
    "energy_j_per_unit",
)
BY_LOAD = {
    "batch_mean": (
        "Batches really executed",
        "Payloads executed together, mean, as the server tells, under each load.",
    ),
    "batch_efficiency": (
        "How full the batches are",
        "Batch really executed over the largest that the server is configured for.",
    ),
    "padding_waste": (
        "How much of the work is padding",
        "Tokens that the model computes for each one that was asked: 1 is no waste. As the server"
        " tells.",
    ),
    "tokens_per_s": (
        "Input tokens a second",
        "Without padding, as the server tells: how much text goes through.",
    ),
    "throughput_per_user_per_s": (
        "What each caller gets",
        "Throughput over the callers that share it.",
    ),
    "tokens_per_chunk": (
        "Tokens in a chunk",
        "Where it is above 1, a gap between chunks is more than a gap between tokens.",
    ),
}


def where_the_time_goes(
    scales: Scales, known: set[str], unit: str, tables: dict[str, list[Row]]
) -> list[Figure]:
    """What the servers tell of a request, against the bare engine; then resources and batches.

    known: the figures that any point has.
    """
    found: list[Figure] = []
    parts = [name for name in ("queue_ms", "inference_ms", "rest_ms") if name in known]
    if "inference_ms" in parts:
        found.append(
            Figure(
                "where",
                "Where a request's time goes, as the server tells",
                "Means. The rest is decoding and transport. A part that a server does not tell is"
                " missing; where it charges each request with its whole batch, there is no rest.",
                charts.stacked(
                    "ms", [name_of(name, unit) for name in parts], ("#c9a227", "#8d7bb5", "#9aa5b1")
                ),
                figures=tuple(parts),
                workload=True,
            )
        )
    singles = {
        "serving_efficiency": (
            "Speed kept of the bare engine",
            "100% is the same model on the same CPUs in a bare process. Above 102% the engine's own"
            " measurement is at fault.",
            1.0,
        ),
        "service_time_p50_ms": (
            "What each interface takes",
            "From the actual send to the last byte, median.",
            None,
        ),
    }
    for name, (title, caption, rule) in singles.items():
        if name in known:
            axis = "of the bare engine" if rule else "ms"
            spec = charts.bars(scales, axis, rule, share=rule is not None)
            found.append(Figure(name, title, caption, spec, figures=(name,), workload=True))
    for name in RESOURCES:
        if name in known:
            named = NAMES[name][0].format(unit=unit)
            title = f"{named[0].upper()}{named[1:]} under one load"
            if name == "throughput_per_s":
                title = "Throughput, to read beside the resources below"
            share = NAMES[name][1] == "%"
            axis = named if share else NAMES[name][1].format(unit=unit)
            spec = charts.bars(scales, axis, share=share)
            found.append(
                Figure(
                    f"use-{name}",
                    title,
                    "Mean over the blocks.",
                    spec,
                    figures=(name,),
                    workload=True,
                )
            )
    streams = "ttft_p50_ms" in known
    for name, (title, caption) in BY_LOAD.items():
        if name in known and (streams or name != "throughput_per_user_per_s"):
            axis = name_of(name, unit).removesuffix(", ×").removesuffix(", %")
            spec = charts.by_load(scales, axis, share=NAMES[name][1] == "%")
            found.append(Figure(f"by-load-{name}", title, caption, spec, figures=(name,)))
    for name, title, axis in (
        ("cpu_cores", "CPU over time", "cores"),
        ("memory_mb", "Memory over time", "MB"),
        ("gpu_utilization", "GPU over time", "busy"),
        ("gpu_memory_mb", "GPU memory over time", "MB"),
        ("power_w", "Power over time", "W"),
        ("throughput_per_s", "Throughput over time", f"{unit}/s"),
    ):
        if any(row["figure"] == name for row in tables["time"]):
            found.append(
                Figure(
                    f"time-{name}",
                    title,
                    "One line a trial of the first block, from its raw records.",
                    charts.over_time(scales, axis, share=name == "gpu_utilization"),
                    source="time",
                    figures=(name,),
                    workload=True,
                )
            )
    return found


def precisions(scales: Scales, unit: str, tables: dict[str, list[Row]]) -> list[Figure]:
    """One chart, where a stack was measured at several."""
    if not tables["precisions"]:
        return []
    return [
        Figure(
            "precisions",
            "Throughput at each precision",
            "The same stack and load. Each precision is an experiment of its own: it is compared"
            " with other stacks only at that precision.",
            charts.bars(scales, f"{unit}/s"),
            source="precisions",
        )
    ]
