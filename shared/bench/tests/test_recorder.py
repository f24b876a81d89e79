"""What a run has on disk decides what is left of it, and how it ended: also after a kill."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import recorder
from bench.artefact import Artefact
from bench.cpus import CpuSplit
from bench.group import load_group
from bench.machine import HostTimes
from bench.plan import Start, Trial, make_starts
from bench.recorder import Recorder
from bench.run import begin
from bench.setup import Part, unmeasured
from bench.stack import load_engine, load_stack
from bench.store import write_json

ECHO = Path(__file__).parent / "fixtures" / "groups" / "9-echo"
CPUS = CpuSplit((0,), (1,), False)


def test_a_start_is_finished_when_it_was_looked_back_on(tmp_path: Path) -> None:
    """Its trials are done, but nobody knows yet whether they count."""
    trial = Trial(
        "9.s.digest.rest.closed-2.b1", "9-echo", "s", "digest", "rest", "closed-2", 1, 1, 7
    )
    start = Start("9-echo", "s", "digest", 1, (trial,))
    run: Any = SimpleNamespace(folder=tmp_path, cpus=CPUS)
    kept = Recorder(run, {})
    assert not kept.complete(start)
    write_json(kept.trial_file(trial), {"reasons": [], "verdict": "VALID"})
    assert kept.done(trial) and not kept.complete(start)
    row = kept.stack_file("9-echo", "s", "digest", "rest", 1)
    write_json(row, {"status": "failed"})
    assert not kept.complete(start), "it failed before it was looked back on"
    write_json(kept.trial_file(trial), {"reasons": ["PARITY_DRIFT"], "verdict": "INVALID"})
    assert kept.complete(start), "it failed because of what was found"
    write_json(kept.trial_file(trial), {"reasons": [], "verdict": "VALID"})
    write_json(row, {"status": "measured"})
    assert kept.complete(start)


def test_a_run_went_well_if_all_its_parts_did(tmp_path: Path) -> None:
    """Whenever they did. Broken by a continued run that ends with 0 as it has nothing left to do:
    a stack failed in the part before, or an engine has no ceiling in a block."""
    group, engine = load_group(ECHO), load_engine(ECHO / "engines" / "plain")
    steady = load_stack(ECHO / "steady")
    profile = group.profiles["standard"]
    starts = make_starts(group, [steady], profile, group.models, 1, None)
    engines: dict[str, Any] = {"plain": (engine, None)}
    part = Part(group, profile, group.models, [], {}, engines, {}, starts)
    timed = [
        {"model": "digest", "block": block, "engine": "plain", "precision": "fp32"}
        | {"payload_set": None}
        for block in (1, 2, 3)
    ]
    facts: dict[str, Any] = {"groups": {group.id: {"engines": timed[:2]}}}
    run: Any = SimpleNamespace(folder=tmp_path, cpus=CPUS)
    kept = Recorder(run, facts)
    assert not kept.went_well([part]), "block 3 has no engine"
    facts["groups"][group.id]["engines"] = timed
    assert kept.went_well([part])
    row = kept.stack_file(group.id, "steady", "digest", "rest", 1)
    write_json(row, {"status": "skipped"})
    assert kept.went_well([part])
    write_json(row, {"status": "failed"})
    assert not kept.went_well([part])


def test_steal_and_time_add_up_over_all_parts_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 s with 10% of two CPUs stolen, an hour's pause, 30 s with none: 40 s, 2.5%. Broken by
    figures of the last part alone, or by the pause."""
    times = iter([(0.0, 100.0), (2.0, 110.0), (90.0, 3710.0), (90.0, 3720.0), (90.0, 3740.0)])
    monkeypatch.setattr(
        recorder, "host_times", lambda cpus: HostTimes(0.0, *next(times)) if cpus == (0, 1) else 0
    )
    run: Any = SimpleNamespace(folder=tmp_path, cpus=CPUS)
    Recorder(run, {"steal_share": None, "elapsed_s": None}).save_facts()
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts == {"elapsed_s": 10.0, "steal_share": pytest.approx(0.1)}
    again = Recorder(run, facts)
    again.save_facts()
    again.save_facts()
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts == {"elapsed_s": 40.0, "steal_share": pytest.approx(0.025)}


def test_stacks_that_are_left_out_have_their_rows_from_the_start(
    artefact: Artefact, tmp_path: Path
) -> None:
    """Broken by rows that are written when their group's turn comes: a run that is interrupted
    before and continued would never have them."""
    group = load_group(ECHO)
    stack = load_stack(ECHO / "steady")
    part = Part(group, group.profiles["smoke"], group.models, [], {"digest": artefact}, {}, {}, [])
    part.stack_rows += unmeasured(stack, ["digest"], "skipped", "no GPU", None)
    run: Any = SimpleNamespace(
        **{"folder": tmp_path / "r", "id": "r", "device": "cpu", "cpus": CPUS},
        settings=SimpleNamespace(runtime="native"),
    )
    begin(Recorder(run, {"steal_share": None, "groups": {}}), [part])
    (file,) = tmp_path.glob("r/stacks/*.json")
    row = json.loads(file.read_text())
    assert (row["stack"], row["status"], row["reason"]) == ("steady", "skipped", "no GPU")
