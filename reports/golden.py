"""Results that the tests know by heart: a trial and a run, as the runner writes them."""

import json
from pathlib import Path
from typing import Any

RUN = "20260101-000000-abcd"


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


def write_json(file: Path, data: Any) -> None:
    """Write an object as JSON, folders included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=1))
