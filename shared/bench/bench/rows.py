"""Trial and stack rows as the results schema has them: every column, null if unknown."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema

from bench.artefact import Artefact
from bench.group import SEARCHES, Load
from bench.install import Installed
from bench.paths import ROOT
from bench.plan import Trial
from bench.verdict import Verdict

if TYPE_CHECKING:
    from bench.setup import Part, Run

SCHEMA_VERSION = 1


@cache
def result_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a results file: run, stack or trial."""
    return json.loads((ROOT / "results" / "schema" / f"{kind}.schema.json").read_text())


def complete(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """The row with every column of its schema, in the schema's order; absent ones are null.

    Raises jsonschema.ValidationError for a row that the schema doesn't allow: a defect of ours.
    """
    columns = result_schema(kind)["properties"]
    full = {name: row.get(name) for name in columns if name in row or name != "extra"}
    full |= {name: value for name, value in row.items() if name not in columns}
    jsonschema.validate(json.loads(json.dumps(full, default=str)), result_schema(kind))
    return full


def at_load(
    load: Load, rate_per_s: float | None, measured: Mapping[str, Any]
) -> dict[str, float | None]:
    """The users and the rate of a trial: as planned, or as a search found them."""
    if load.kind in SEARCHES:
        return {name: measured.get(name) for name in ("users", "rate_per_s")}
    return {"users": load.users, "rate_per_s": rate_per_s}


def trial_record(
    run: "Run",
    part: "Part",
    installed: Installed,
    artefact: Artefact,
    trial: Trial,
    rate_per_s: float | None,
    figures: dict[str, Any],
    verdict: Verdict,
    detail: str | None,
) -> dict[str, Any]:
    """One planned trial's row. An INVALID one keeps its figures only where it was measured."""
    load = part.group.loads[trial.load]
    columns = result_schema("trial")["properties"]
    measured = figures if verdict.verdict != "INVALID" else {}
    row = {
        **{name: value for name, value in measured.items() if name in columns},
        "schema_version": SCHEMA_VERSION,
        "run_id": run.id,
        "trial_id": trial.id,
        "group_id": part.group.id,
        "stack": trial.stack,
        "server_version": installed.version,
        "runtime": run.settings.runtime,
        "interface": trial.interface,
        "generator": "k6",
        "model": trial.model,
        "weights": artefact.weights,
        "precision": installed.stack.precision,
        "device": run.device,
        "block": trial.block,
        "load": trial.load,
        "load_kind": load.kind,
        **at_load(load, rate_per_s, measured),
        "search_path": figures.get("search_path"),
        "client_batch": load.client_batch,
        "seed": trial.seed,
        "unit": part.group.unit,
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "detail": detail,
        "artefact_sha256": artefact.digest,
    }
    return complete("trial", row)


def stack_record(run: "Run", part: "Part", row: dict[str, Any]) -> dict[str, Any]:
    """One row of the view `stacks`."""
    artefact = part.artefacts[row["model"]]
    return complete(
        "stack",
        {
            "schema_version": SCHEMA_VERSION,
            "run_id": run.id,
            "group_id": part.group.id,
            "weights": artefact.weights,
            "device": run.device,
            "runtime": run.settings.runtime,
            **row,
        },
    )
