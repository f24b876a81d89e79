"""Golden results: small folders with known answers, as the runner writes them."""

from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from golden import run_facts, trial_row, write_json
from metrics import compare
from reports.validate import faults

from .browsing import CHROMIUM

GROUP = "9-golden"
RECORDS = (
    "vu,slot,payloads,intended_ns,sent_ns,first_ns,done_ns,connect_ns,chunk_ns,chunk_tokens,"
    "status,ok,units,bytes,error\n"
)
Rows = list[dict[str, Any]]


def trials(stack: str, figures: Iterable[float], **more: Any) -> Rows:
    """A stack's trials of 4 callers, a block each, with these throughputs."""
    return [
        trial_row(stack, block)
        | {
            "trial_id": f"{stack}.rest.closed-4.{more.get('weights', 'pretrained')}.b{block}",
            "group_id": GROUP,
            "weights": "pretrained",
            "throughput_per_s": throughput,
            "latency_p50_ms": 1000 / throughput,
            "latency_p95_ms": 2000 / throughput,
            "cpu_cores_used": 1.0,
        }
        | more
        for block, throughput in enumerate(figures, 1)
    ]


def invalid(stack: str, reason: str) -> Rows:
    """Three trials that allow no conclusion."""
    nothing = dict.fromkeys(
        ("throughput_per_s", "latency_p50_ms", "latency_p95_ms", "cpu_cores_used")
    )
    more = {"verdict": "INVALID", "reasons": [reason], **nothing}
    return [row | more for row in trials(stack, (1, 1, 1))]


def at_a_rate(rows: Rows, load: str = "poisson-50") -> Rows:
    """The same trials under arrivals that come by themselves."""
    return [
        row
        | {
            "trial_id": row["trial_id"].replace("closed-4", load),
            "load": load,
            "load_kind": "open",
            "users": None,
            "rate_per_s": 5.0,
        }
        for row in rows
    ]


Golden = Callable[..., Path]


def write_golden(
    folder: Path, rows: Rows, skipped: dict[str, str] | None = None, **run: Any
) -> Path:
    """Writes a results folder of these trials; `skipped`: {stack: reason}, `run`: facts changed."""
    facts = (
        run_facts()
        | {
            "profile": "standard",
            "groups": {
                GROUP: {
                    "slo": {"latency_ms": 250, "ttft_ms": None, "tpot_ms": None, "share": 0.95},
                    "loads": {"poisson-50": {"arrivals": "poisson"}},
                }
            },
        }
        | run
    )
    run_id = facts["run_id"]
    common = {"schema_version": 1, "run_id": run_id, "group_id": GROUP}
    stacks = [
        common | {"stack": stack, "status": "measured", "block": 1, "interface": "rest"}
        for stack in sorted({row["stack"] for row in rows})
    ]
    stacks += [
        common | {"stack": stack, "status": "skipped", "reason": reason}
        for stack, reason in (skipped or {}).items()
    ]
    rows = [row | {"run_id": run_id} for row in rows]
    write_json(folder / run_id / "run.json", facts)
    write_json(folder / run_id / "comparisons.json", {"comparisons": compare(rows)})
    for number, row in enumerate(rows):
        write_json(folder / run_id / "trials" / f"{number}.json", row)
    for number, row in enumerate(stacks):
        write_json(folder / run_id / "stacks" / f"{number}.json", row)
    assert faults(folder) == []
    return folder


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    """write_golden into a folder of the test's own; called twice, both runs are there."""
    return partial(write_golden, tmp_path / "results")


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with sync_playwright() as play:
        # The pages are ours, and containers give Chromium no sandbox.
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()
