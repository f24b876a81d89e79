"""Read a server's own Prometheus metrics under the shared names."""

import re
from http.client import HTTPException
from typing import Any

from bench.local_http import open_url

# What is in use at a moment, where all other shared names count up.
GAUGES = ("kv_cache_usage",)
LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Samples of the text exposition format: (name, labels, value). Odd lines are left out."""
    samples: list[tuple[str, dict[str, str], float]] = []
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        samples.append((found[1], dict(LABEL.findall(found[2] or "")), value))
    return samples


def pick(samples: list[tuple[str, dict[str, str], float]], want: dict[str, Any]) -> float | None:
    """The sum over all samples of a name whose labels include the wanted ones; None: not there."""
    labels: dict[str, str] = want.get("labels", {})
    values = [
        value
        for name, has, value in samples
        if name == want["name"] and labels.items() <= has.items()
    ]
    return sum(values) * want.get("scale", 1.0) if values else None


def scrape(url: str | None, mapping: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Shared name -> value now. A server that doesn't tell gives None, never an error."""
    if not url:
        return {}
    try:
        with open_url(url, timeout_s=2) as response:
            samples = parse(response.read(4_000_000).decode(errors="replace"))
    except (OSError, HTTPException, ValueError):
        return dict.fromkeys(mapping)
    return {shared: pick(samples, want) for shared, want in mapping.items()}


def difference(
    before: dict[str, float | None], after: dict[str, float | None]
) -> dict[str, float | None]:
    """What each counter grew by; a counter born in between started at 0, a missing one is None.

    Of a gauge, the mean of its two readings.
    """
    grown: dict[str, float | None] = {}
    for name, end in after.items():
        begin = before.get(name)
        if name in GAUGES:
            both = [value for value in (begin, end) if value is not None]
            grown[name] = sum(both) / len(both) if both else None
            continue
        grown[name] = None if end is None else end - (begin or 0.0)
    return grown
