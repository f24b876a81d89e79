"""What the figures are called on a page, in the order they stand there, and how one is written."""

import math
from typing import Any

from reports.show import cell

# A figure's name on a page, its unit ({unit}: what the group counts), and which way is better.
NAMES = {
    "throughput_per_s": ("throughput", "{unit}/s", "more"),
    "latency_p50_ms": ("latency p50", "ms", "less"),
    "latency_p95_ms": ("latency p95", "ms", "less"),
    "latency_p99_ms": ("latency p99", "ms", "less"),
    "ttft_p50_ms": ("first token p50", "ms", "less"),
    "ttft_p95_ms": ("first token p95", "ms", "less"),
    "itl_p95_ms": ("token gap p95", "ms", "less"),
    "tpot_p50_ms": ("time per token p50", "ms", "less"),
    "tpot_p95_ms": ("time per token p95", "ms", "less"),
    "goodput": ("within the limit", "%", "more"),
    "serving_efficiency": ("of the bare engine", "%", "more"),
    "cpu_cores_used": ("CPU", "cores", "less"),
    "memory_peak_mb": ("peak memory", "MB", "less"),
    "gpu_utilization": ("GPU busy", "%", "less"),
    "gpu_memory_mb": ("GPU memory", "MB", "less"),
    "power_w": ("power", "W", "less"),
    "energy_j_per_unit": ("energy per unit", "J", "less"),
    "memory_mb_per_1000": ("memory for 1,000 {unit}/s", "MB", "less"),
    "throughput_per_user_per_s": ("throughput of each caller", "{unit}/s", "more"),
    "tokens_per_s": ("input tokens", "tokens/s", "more"),
    "padding_waste": ("padding, computed / asked", "×", "less"),
    "tokens_per_chunk": ("tokens in a chunk", "tokens", "more"),
    "kv_cache_usage": ("key-value cache in use", "%", "less"),
    "queue_ms": ("queue", "ms", "less"),
    "inference_ms": ("inference", "ms", "less"),
    "rest_ms": ("rest", "ms", "less"),
    "batch_mean": ("batch", "items", "more"),
    "batch_efficiency": ("batch of the configured maximum", "%", "more"),
    "service_time_p50_ms": ("service time p50", "ms", "less"),
}
MEASURES = {
    "latency": "latency",
    "service_time": "service time",
    "ttft": "time to the first token",
    "itl": "gap between tokens",
    "tpot": "time per token",
}
PERCENTILES = ("p50", "p90", "p95", "p99", "p999")


def name_of(figure: str, unit: str) -> str:
    """`latency p95, ms`."""
    title, of, _ = NAMES[figure]
    return f"{title}, {of}".format(unit=unit)


def written(value: Any) -> str:
    """A value for readers, as templates/rows.js writes it: three digits, or all whole ones."""
    if isinstance(value, bool) or not isinstance(value, float):
        return cell(value)
    size = abs(value)
    if not math.isfinite(value) or size >= 1e9 or 0 < size < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def times(ratio: float) -> str:
    """`1.31`; two digits where two decimals say nothing or too much."""
    return f"{ratio:.2f}" if 0.1 <= ratio < 1e6 else f"{ratio:.2g}"
