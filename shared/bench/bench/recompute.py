"""`make recompute RUN=<id>`: derive every figure again from the raw records and compare."""

import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console

import metrics
from bench.errors import UserError
from bench.paths import results_dir
from bench.resume import find_run
from bench.settings import Settings
from bench.store import read_json


def same(stored: Any, again: Any) -> bool:
    """Equal, floats to 9 digits: JSON keeps them all, sums may differ in the last."""
    if isinstance(stored, float) and isinstance(again, int | float):
        return math.isclose(stored, again, rel_tol=1e-9, abs_tol=1e-12)
    return stored == again


def differences(row: dict[str, Any], raw: Path) -> list[str]:
    """Columns whose stored figure isn't what the raw records say."""
    context = json.loads((raw / "context.json").read_text())
    figures = metrics.compute(raw / "requests.parquet", raw / "samples.parquet", context)
    return [
        f"{column}: stored {row[column]}, recomputed {value}"
        for column, value in figures.items()
        if column in row and not same(row[column], value)
    ]


def recompute(settings: Settings, console: Console) -> int:
    """Returns 0 if all figures are equal, 3 if one differs. Raises UserError."""
    if not settings.run:
        raise UserError("say which run: make recompute RUN=<id>")
    find_run(settings.run)
    folder = results_dir() / settings.run
    checked = wrong = 0
    for file in sorted((folder / "trials").glob("*.json")):
        row = read_json(file)
        raw = folder / "raw" / file.stem
        if row is None or row["verdict"] == "INVALID" or not (raw / "context.json").exists():
            continue
        checked += 1
        for line in differences(row, raw):
            wrong += 1
            console.print(f"{file.stem}: {line}", markup=False, highlight=False)
    if not checked:
        raise UserError(f"RUN={settings.run}: its raw records are not here; nothing to recompute")
    console.print(f"{checked} trials recomputed, {wrong} figures differ", highlight=False)
    return 3 if wrong else 0
