"""Time the bare engines: what this artefact can do on these CPUs with no server around it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from bench.errors import StackFailed
from bench.paths import BUILD
from bench.processes import MARK, end_processes, marked, of_session
from bench.server import environment_for, spawn
from bench.stack import Engine

START_ALLOWANCE_S = 300  # an engine may compile its model first, on cores that others use too


@dataclass(frozen=True)
class Ceiling:
    """An engine's best batch size, and every row it measured.

    `throughput_per_s` is in the group's unit; `requests_per_s`, payloads finished, is the same
    number where a payload is one unit. `payload_set`: what it was timed on, None the main one.
    """

    engine: str
    throughput_per_s: float
    requests_per_s: float
    batch_size: int
    rows: tuple[dict[str, Any], ...]
    precision: str = "fp32"
    payload_set: str | None = None


def read_rows(text: str) -> tuple[dict[str, Any], ...]:
    """The JSON lines an engine printed. Other lines are left out."""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "items" in row and "seconds" in row and "batch_size" in row:
            rows.append(cast(dict[str, Any], row))
    return tuple(rows)


def time_engine(
    engine: Engine,
    env: Path | None,
    variables: Mapping[str, str],
    precision: str,
    payload_set: str | None,
    cpus: Sequence[int],
    seconds: float,
    mark: str,
) -> Ceiling:
    """Run the engine at each of its batch sizes. Raises StackFailed."""
    variables = {**variables, "PRECISION": precision, "PAYLOADS_SET": payload_set or ""}
    sizes = ",".join(map(str, engine.batch_sizes))
    allowed = START_ALLOWANCE_S + 3 * seconds * len(engine.batch_sizes)
    (BUILD / "state").mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"engine-{engine.id}-", dir=BUILD / "state"))
    full = environment_for(env, {**variables, "SECONDS": f"{seconds:g}", "BATCH_SIZES": sizes}, {})
    full[MARK] = f"{mark}:engine"
    out, err = scratch / "stdout", scratch / "stderr"
    process = spawn(engine.command, cwd=engine.folder, env=full, cpus=cpus, stdout=out, stderr=err)
    try:
        process.wait(allowed)
        rows = read_rows(out.read_text(errors="replace"))
        if process.returncode != 0 or not rows:
            words = " | ".join(err.read_text(errors="replace").strip().splitlines()[-3:])
            raise StackFailed(f"engine {engine.id} exited with {process.returncode}: {words}")
    except subprocess.TimeoutExpired:
        raise StackFailed(f"engine {engine.id} did not end within {allowed:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        end_processes(sorted({*marked(full[MARK]), *of_session(process.pid)}), 1)
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(ceiling_of(engine.id, rows), precision=precision, payload_set=payload_set)


def ceiling_of(engine: str, rows: tuple[dict[str, Any], ...]) -> Ceiling:
    """The best of an engine's rows. A row may say how many payloads its items belong to."""
    best = max(rows, key=lambda row: row["items"] / row["seconds"])
    return Ceiling(
        engine,
        best["items"] / best["seconds"],
        best.get("requests", best["items"]) / best["seconds"],
        best["batch_size"],
        rows,
    )


def combinations(
    engine: Engine, wanted: Collection[tuple[str, str | None]]
) -> list[tuple[str, str | None]]:
    """The (precision, set of payloads) that an engine is timed with, of those that are `wanted`.

    The main ones are always timed: rates are shares of them. Other sets only as engine.toml says,
    and only at the main precision.
    """
    main = engine.precisions[0]
    known = [(main, None), *((main, each) for each in engine.payload_sets)]
    known += [(precision, None) for precision in engine.precisions[1:]]
    return [each for each in known if each == (main, None) or each in wanted]
