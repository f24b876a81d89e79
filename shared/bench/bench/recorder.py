"""What a run has written so far: run.json, a row a start, a row a trial."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.engines import combinations
from bench.errors import UserError
from bench.machine import host_times
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
        self.last = host_times(run.cpus.both)

    def save_facts(self) -> None:
        """Write run.json, with how long the run has been going on and the steal of that time.

        Both add up over the times it was gone on with: what a kill leaves out is one start.
        """
        now, cpus = host_times(self.run.cpus.both), len(self.run.cpus.both)
        before = self.facts.get("elapsed_s") or 0.0
        stolen = before * cpus * (self.facts["steal_share"] or 0.0)
        stolen += now.steal_s - self.last.steal_s
        elapsed = max(1e-9, before + now.at - self.last.at)
        self.facts |= {"elapsed_s": elapsed, "steal_share": stolen / elapsed / cpus}
        self.last = now
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
        """Whether a start's trials are done, and were looked back on or don't count anyway."""
        return all(self.done(trial) and self._looked_back(trial) for trial in start.trials)

    def _looked_back(self, trial: Trial) -> bool:
        keys = (trial.group_id, trial.stack, trial.model, trial.interface, trial.block)
        start = read_json(self.stack_file(*keys, trial.variant))
        if start is None or start["status"] == "measured":
            return start is not None
        row = read_json(self.trial_file(trial))
        return row is not None and row["verdict"] == "INVALID"

    def left(self, starts: Iterable[Start]) -> dict[Start, tuple[Trial, ...]]:
        """The starts that are not complete, each with its trials that are not done."""
        return {
            start: tuple(trial for trial in start.trials if not self.done(trial))
            for start in starts
            if not self.complete(start)
        }

    def went_well(self, parts: Sequence[Part]) -> bool:
        """Whether no start's row says failed and no block lacks an engine, whenever it was."""
        rows = map(read_json, (self.run.folder / "stacks").glob("*.json"))
        timed = all(self._timed(part, start) for part in parts for start in part.starts)
        return timed and all(row is None or row["status"] != "failed" for row in rows)

    def _timed(self, part: Part, start: Start) -> bool:
        """Whether a start's block has the ceilings of every bare engine."""
        names = ("model", "block", "engine", "precision", "payload_set")
        stored = self.facts["groups"][part.group.id]["engines"]
        known = {tuple(one.get(name) for name in names) for one in stored}
        wanted = part.wanted_of_engines(start.model)
        return known >= {
            (start.model, start.block, engine.id, *combination)
            for engine, _ in part.engines.values()
            for combination in combinations(engine, wanted)
        }

    def save_stack(self, part: Part, row: dict[str, Any]) -> None:
        """Write one stack row."""
        record = stack_record(self.run, part, row)
        keys = (row["stack"], row["model"], row["interface"], row["block"] or 0)
        installed = part.installed.get(row["stack"])
        variant = variant_of(installed.stack, row.get("precision")) if installed else ""
        write_json(self.stack_file(part.group.id, *keys, variant), record)
