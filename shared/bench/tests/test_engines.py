"""What becomes of a run when one of its bare engines can't be timed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench import blocks
from bench.artefact import Artefact
from bench.engines import Ceiling
from bench.errors import StackFailed
from bench.group import load_group
from bench.plan import make_starts
from bench.progress import Reporter
from bench.setup import Part
from bench.stack import Engine, load_engine, load_stack

GROUP = Path(__file__).parent / "fixtures" / "groups" / "9-echo"


def test_an_engine_that_fails_costs_its_own_ceilings_only(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Broken by one failure that takes the other engines' ceilings, and so all open loads, along;
    or by an engine that isn't told of."""
    group = load_group(GROUP)
    plain = load_engine(GROUP / "engines" / "plain")
    other = Engine(**{**vars(plain), "id": "other"})
    starts = make_starts(
        group, [load_stack(GROUP / "steady")], group.profiles["smoke"], group.models, 1, None
    )
    asked: list[str] = []

    def time_engine(engine: Engine, *_: Any) -> Ceiling:
        asked.append(engine.id)
        if engine.id == "plain":
            raise StackFailed("engine plain exited with 1: no such library")
        return Ceiling(engine.id, 50.0, 50.0, 1, ())

    monkeypatch.setattr(blocks, "time_engine", time_engine)
    engines: dict[str, Any] = {"plain": (plain, None), "other": (other, None)}
    models = {"digest": artefact}
    part = Part(group, group.profiles["smoke"], ("digest",), [], models, engines, {}, starts)
    run: Any = SimpleNamespace(id="r", device="cpu", cpus=SimpleNamespace(server=(0,)))
    log = (tmp_path / "log").open("w+")
    with log, Reporter(Console(file=log)) as report:
        found = blocks.time_engines(part, run, "digest", 1, report)
        log.seek(0)
        assert "no such library" in log.read()
    assert asked == ["plain", "other"]
    assert [one.engine for one in found] == ["other"]
    assert blocks.highest_for(part, found, group.loads["constant-2"]) == 50.0
