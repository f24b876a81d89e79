"""A small results folder as the runner writes it, checked against the schemas before use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golden import RUN, run_facts, trial_row, write_json
from metrics import compare, store_records
from reports.validate import faults

HEADER = (
    "vu,slot,payloads,intended_ns,sent_ns,first_ns,done_ns,connect_ns,chunk_ns,chunk_tokens,"
    "status,ok,units,bytes,error\n"
)


def stack_rows() -> list[dict[str, Any]]:
    """One stack that was measured and one that was skipped."""
    common = {
        "schema_version": 1,
        "run_id": RUN,
        "group_id": "1-image-classification",
        "model": "resnet50",
        "interface": "rest",
    }
    return [
        common | {"stack": "alpha", "status": "measured", "block": 1, "ready_s": 1.5},
        common | {"stack": "gamma", "status": "skipped", "reason": "no java", "fix": "apt-get"},
    ]


def measured_on(name: str, at: str) -> dict[str, Any]:
    """What each row of a measurement of the tools carries."""
    return {
        "schema_version": 1,
        name: at,
        "measured_at": f"{at}T00:00:00Z",
        "cpu_model": "A CPU",
        "cpus": 2,
        "kernel": "6.1",
        "k6_version": "k6 v2.2.0",
        "server_cpus": [0],
        "client_cpus": [1],
        "shared_cpus": False,
    }


def overhead_rows(at: str, p50: float) -> list[dict[str, Any]]:
    """Two interfaces, one payload size, both kinds of connection."""
    return [
        measured_on("overhead_id", at)
        | {
            "interface": interface,
            "payload_bytes": 100,
            "connection": connection,
            "requests": 99,
            "overhead_p50_ms": p50,
            "overhead_p95_ms": 2 * p50,
            "connect_p50_ms": 0.5 if connection == "new" else None,
        }
        for interface in ("grpc", "rest-raw")
        for connection in ("reused", "new")
    ]


def crosscheck_rows(at: str) -> list[dict[str, Any]]:
    """Locust on the null server."""
    return [
        measured_on("crosscheck_id", at)
        | {
            "generator": "locust",
            "generator_version": "2.47.0",
            "server": "null server",
            "load": "closed with a stall",
            "seconds": 10.0,
            "requests": 900,
            "errors": 0,
            "reported_p99_ms": 31.0,
            "truth_p99_ms": 931.0,
        }
    ]


def calibration_facts(at: str) -> dict[str, Any]:
    """A calibration with one goal met and one missed."""
    goal = {"protocol": "http", "figure": "late start p99", "unit": "ms", "at_most": True}
    return {
        "schema_version": 1,
        "calibration_id": at,
        "measured_at": f"{at}T00:00:00Z",
        "machine": {"cpu_model": "A CPU"},
        "server_cpus": [0],
        "client_cpus": [1],
        "shared_cpus": False,
        "versions": {},
        "highest_rate_per_s": 4000.0,
        "runs_left_out": 0,
        "goals_met": 1,
        "goals_missed": 1,
        "goals": [
            goal | {"reached": 0.25, "goal": 0.5, "met": True},
            goal | {"reached": 0.75, "goal": 0.5, "met": False},
        ],
        "runs": [],
    }


@pytest.fixture
def write() -> Callable[[Path, Any], None]:
    """Write an object as JSON, folders included."""
    return write_json


@pytest.fixture
def results(tmp_path: Path, write: Callable[[Path, Any], None]) -> Path:
    """A run of two stacks in three blocks with comparisons and one trial's raw records."""
    folder = tmp_path / "results"
    run = folder / RUN
    rows = [trial_row(stack, block) for stack in ("alpha", "beta") for block in (1, 2, 3)]
    write(run / "run.json", run_facts())
    for row in rows:
        write(run / "trials" / f"{row['trial_id']}.json", row)
    for number, row in enumerate(stack_rows()):
        write(run / "stacks" / f"{number}.json", row)
    write(run / "comparisons.json", {"comparisons": compare(rows)})
    for at, p50 in (("2026-01-01", 0.1), ("2026-01-02", 0.2)):
        write(folder / "overhead" / f"{at}.json", {"overhead": overhead_rows(at, p50)})
    write(folder / "crosscheck" / "a.json", {"crosschecks": crosscheck_rows("2026-01-02")})
    write(folder / "calibration" / "a.json", calibration_facts("2026-01-02"))
    records = tmp_path / "records.csv"
    records.write_text(
        HEADER
        + "0,0,3,100,110,150,200,0,,,200,true,1,99,\n"
        + "0,1,4;5,200,0,0,0,0,,,-1,false,0,0,dropped\n"
    )
    raw = run / "raw" / rows[0]["trial_id"] / "requests.parquet"
    assert store_records(records, raw) == 2
    assert faults(folder) == []
    return folder
