"""What a run has written so far: run.json, a row a start, a row a trial."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.plan import Start, Trial, variant_of
from bench.rows import stack_record
from bench.setup import Part, Run
from bench.store import read_json, write_json


def ensure_writable(folder: Path) -> None:
    """Raise UserError where results can't be written: before anything is measured, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: results can't be written: {error.strerror}; name another folder: RESULTS=…"
        ) from None


class Recorder:
    """Writes a run's rows as they come; knows which trials are done."""

    def __init__(self, run: Run, facts: dict[str, Any]) -> None:
        self.run = run
        self.facts = facts

    def save_facts(self) -> None:
        """Write run.json."""
        write_json(self.run.folder / "run.json", self.facts)

    def trial_file(self, trial: Trial) -> Path:
        """Where a trial's row lies."""
        return self.run.folder / "trials" / f"{trial.id}.json"

    def done(self, trial: Trial) -> bool:
        """Whether a trial was measured already (a row without figures is tried again)."""
        row = read_json(self.trial_file(trial))
        return row is not None and "NOT_MEASURED" not in row.get("reasons", ["NOT_MEASURED"])

    def stack_file(
        self, group: str, stack: str, model: str, interface: str, block: int, variant: str = ""
    ) -> Path:
        """Where a start's row for one interface lies."""
        name = f"{group.split('-')[0]}.{stack}.{model}{variant}.{interface}.b{block}.json"
        return self.run.folder / "stacks" / name

    def complete(self, start: Start) -> bool:
        """Whether a start's trials are done and were looked back on: only then it has a row."""
        return all(
            self.done(t)
            and self.stack_file(
                t.group_id, t.stack, t.model, t.interface, t.block, t.variant
            ).exists()
            for t in start.trials
        )

    def left(self, starts: Iterable[Start]) -> dict[Start, tuple[Trial, ...]]:
        """The starts that are not complete, each with its trials that are not done."""
        return {
            start: tuple(trial for trial in start.trials if not self.done(trial))
            for start in starts
            if not self.complete(start)
        }

    def save_stack(self, part: Part, row: dict[str, Any]) -> None:
        """Write one stack row."""
        record = stack_record(self.run, part, row)
        keys = (row["stack"], row["model"], row["interface"], row["block"] or 0)
        installed = part.installed.get(row["stack"])
        variant = variant_of(installed.stack, row.get("precision")) if installed else ""
        write_json(self.stack_file(part.group.id, *keys, variant), record)
