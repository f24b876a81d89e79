"""run.json: all that is needed to know what was measured, and to measure it again."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.artefact import payloads_digest
from bench.digests import file_digest
from bench.environments import ambient_packages, lock_for
from bench.inputs import group_digests, source_digests
from bench.install import server_variables
from bench.plan import as_table
from bench.rows import SCHEMA_VERSION, complete
from bench.starting import started_with
from bench.tools import tool_versions

if TYPE_CHECKING:
    from bench.setup import Part, Run


def now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def group_facts(part: "Part", run: "Run") -> dict[str, Any]:
    """What is fixed for one group in a run: digests, loads, order; engines are added as timed."""
    engine_locks = {
        f"engines/{engine.id}": file_digest(lock)
        for engine, _ in part.engines.values()
        if (lock := lock_for(engine.folder, run.device))
    }
    stack_locks = {
        stack: installed.lock_sha256
        for stack, installed in part.installed.items()
        if installed.lock_sha256
    }
    return {
        "unit": part.group.unit,
        "artefacts": {
            model: {
                "content_sha256": artefact.digest,
                "weights": artefact.weights,
                "source": artefact.manifest.get("source"),
                "quality": artefact.manifest.get("quality"),
                "files": artefact.manifest["files"],
            }
            for model, artefact in part.artefacts.items()
        },
        "payloads_sha256": payloads_digest(part.payloads),
        "payloads": len(part.payloads),
        "slo": asdict(part.group.slos[run.device]),
        "profile": asdict(part.profile),
        "loads": {name: asdict(load) for name, load in part.group.loads.items()},
        "locks_sha256": stack_locks | engine_locks,
        "inputs_sha256": group_digests(part, run.device),
        "packages": ambient_packages() if run.settings.runtime == "ambient" else None,
        "versions": {stack: installed.version for stack, installed in part.installed.items()},
        "started_with": {
            stack: started_with(
                installed,
                server_variables(
                    artefact, run.device, len(run.cpus.server), installed.stack.precision, None
                ),
            )
            for stack, installed in part.installed.items()
            for artefact in list(part.artefacts.values())[:1]
        },
        "order": [
            [start.block, start.model, start.stack, start.precision] for start in part.starts
        ],
        "engines": [],
        "rates": {},
    }


def run_facts(run: "Run", parts: Sequence["Part"]) -> dict[str, Any]:
    """run.json as it is when the run begins, held against its schema."""
    commit, dirty = machine.git_state()
    facts = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.id,
        "replay_of": None,
        "started_at": now(),
        "finished_at": None,
        "exit_code": None,
        "profile": run.settings.profile,
        "device": run.device,
        "runtime": run.settings.runtime,
        "weights": run.settings.weights,
        "seed": run.seed,
        "settings": asdict(run.settings),
        "git_commit": commit,
        "git_dirty": dirty,
        "sources_sha256": source_digests(),
        "machine": machine.describe_machine(),
        "server_cpus": list(run.cpus.server),
        "client_cpus": list(run.cpus.client),
        "shared_cpus": run.cpus.shared,
        "elapsed_s": None,
        "steal_share": None,
        "calibration": None,
        "versions": tool_versions(run.k6),
        "groups": {part.group.id: group_facts(part, run) for part in parts},
        "plan": [row for part in parts for row in as_table(part.starts)],
    }
    return complete("run", facts)
