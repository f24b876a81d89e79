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


Counters = dict[str, float | None]


def scrape(url: str | None, mapping: dict[str, dict[str, Any]]) -> Counters | None:
    """Shared name -> value now; a name that the server doesn't tell has None.

    None instead of all of them where it didn't answer: never an error, and never "not yet born".
    """
    if not url:
        return {}
    try:
        with open_url(url, timeout_s=2) as response:
            samples = parse(response.read(4_000_000).decode(errors="replace"))
    except (OSError, HTTPException, ValueError):
        return None
    return {shared: pick(samples, want) for shared, want in mapping.items()}


def difference(before: Counters | None, after: Counters | None) -> Counters:
    """What each counter grew by; a counter born in between started at 0, a missing one is None.

    So are all where one of the two scrapes failed: all since the server's start is not what the
    window added. Of a gauge, the mean of its two readings, or the one there is.
    """
    if after is None:
        return dict.fromkeys(before or {})
    grown: Counters = {}
    for name, end in after.items():
        begin = (before or {}).get(name)
        if name in GAUGES:
            both = [value for value in (begin, end) if value is not None]
            grown[name] = sum(both) / len(both) if both else None
            continue
        grown[name] = None if before is None or end is None else end - (begin or 0.0)
    return grown
