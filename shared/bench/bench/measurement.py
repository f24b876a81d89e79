"""A measurement that is no run: what it was taken on, and its one file below the results."""

from pathlib import Path
from typing import Any

from bench.cpus import CpuSplit
from bench.machine import describe_machine, git_state
from bench.paths import results_dir
from bench.provenance import now
from bench.rows import SCHEMA_VERSION
from bench.setup import new_run_id
from bench.store import write_json
from bench.tools import tool_versions


def header(k6: Path, cpus: CpuSplit, name: str) -> dict[str, Any]:
    """When, on what and with what it was measured; `name` is the key of the measurement's id."""
    commit, dirty = git_state()
    return {
        "schema_version": SCHEMA_VERSION,
        name: new_run_id(),
        "measured_at": now(),
        "git_commit": commit,
        "git_dirty": dirty,
        "machine": describe_machine(),
        "server_cpus": list(cpus.server),
        "client_cpus": list(cpus.client),
        "shared_cpus": cpus.shared,
        "versions": tool_versions(k6),
    }


def flat_header(k6: Path, cpus: CpuSplit, name: str) -> dict[str, Any]:
    """The same for files whose rows each carry it: the machine in three columns."""
    full = header(k6, cpus, name)
    machine, versions = full.pop("machine"), full.pop("versions")
    return {
        **full,
        "cpu_model": machine["cpu_model"],
        "cpus": machine["cpus"],
        "kernel": machine["kernel"],
        "k6_version": versions["k6"],
    }


def save(kind: str, identity: str, data: dict[str, Any]) -> Path:
    """Write results/<kind>/<id>.json. Returns the file."""
    file = results_dir() / kind / f"{identity}.json"
    write_json(file, data)
    return file
