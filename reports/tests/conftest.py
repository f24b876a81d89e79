"""A small results folder as the runner writes it, checked against the schemas before use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metrics import compare, store_records
from reports.validate import faults

RUN = "20260101-000000-abcd"
HEADER = (
    "vu,slot,payloads,intended_ns,sent_ns,first_ns,done_ns,connect_ns,chunk_ns,chunk_tokens,"
    "status,ok,units,bytes,error\n"
)


def trial_row(stack: str, block: int, **more: Any) -> dict[str, Any]:
    """One valid trial row."""
    return {
        "schema_version": 1,
        "run_id": RUN,
        "trial_id": f"{stack}.rest.closed-4.b{block}",
        "group_id": "1-image-classification",
        "stack": stack,
        "server_version": "1.0",
        "runtime": "native",
        "interface": "rest",
        "generator": "k6",
        "model": "resnet50",
        "weights": "random",
        "precision": "fp32",
        "device": "cpu",
        "block": block,
        "load": "closed-4",
        "load_kind": "closed",
        "users": 4,
        "client_batch": 1,
        "unit": "images",
        "verdict": "VALID",
        "reasons": [],
        "offered": 100,
        "completed": 100,
        "errors": 0,
        "throughput_per_s": (20.0 if stack == "alpha" else 10.0) + block / 10,
        "latency_p50_ms": 50.0,
    } | more


def run_facts() -> dict[str, Any]:
    """A valid run.json."""
    return {
        "schema_version": 1,
        "run_id": RUN,
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:10:00Z",
        "exit_code": 0,
        "profile": "smoke",
        "device": "cpu",
        "runtime": "native",
        "weights": "auto",
        "seed": 7,
        "git_commit": "0" * 40,
        "git_dirty": False,
        "machine": {"cpu_model": "A CPU", "cpus": 2, "memory_mb": 8000, "gpus": []},
        "server_cpus": [0],
        "client_cpus": [1],
        "groups": {},
    }


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


@pytest.fixture
def write() -> Callable[[Path, Any], None]:
    """Write an object as JSON, folders included."""

    def write_json(file: Path, data: Any) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data, indent=1))

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
