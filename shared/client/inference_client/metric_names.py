"""The metric names that all stacks share, whatever a server calls its own.

A stack maps its server's Prometheus names to these in `[metrics.map]` of stack.toml. All but the
last are cumulative counters: what is measured is the difference over the window. The last is a
gauge, read at both edges of the window.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MetricName:
    """One shared metric: its name, the unit it counts in, and what it means."""

    name: str
    unit: Literal["seconds", "requests", "items", "batches", "hits", "lookups", "tokens", "share"]
    meaning: str


METRIC_NAMES: tuple[MetricName, ...] = (
    MetricName("queue_seconds_sum", "seconds", "time that requests waited in the server's queue"),
    MetricName("queue_seconds_count", "requests", "requests that queue_seconds_sum adds up"),
    MetricName(
        "inference_seconds_sum",
        "seconds",
        "time requests spent in the model, each charged with the whole batch it rode in",
    ),
    MetricName(
        "inference_seconds_count", "requests", "requests that inference_seconds_sum charges"
    ),
    MetricName("batch_items_sum", "items", "items executed, summed over all batches"),
    MetricName("batch_executions_count", "batches", "batches executed"),
    MetricName("refused_count", "requests", "requests refused because the server was too busy"),
    MetricName(
        "cache_hits_count",
        "hits",
        "requests answered from a cache, not computed; or tokens of prompts, if lookups are too",
    ),
    MetricName("cache_lookups_count", "lookups", "what was looked for in it, in its hits' unit"),
    MetricName("tokens_sum", "tokens", "input tokens executed, padding left out"),
    MetricName("padded_tokens_sum", "tokens", "input tokens executed, padding included"),
    MetricName("kv_cache_usage", "share", "share of the key-value cache that is in use, 0 to 1"),
)
