"""What a run says beforehand of the time it takes: everything that will be waited for is in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scipy.stats import poisson  # pyright: ignore[reportMissingTypeStubs]

from bench import audit, estimate, gate
from bench.artefact import Artefact, Payload, read_payloads
from bench.cpus import CpuSplit
from bench.estimate import answer_s, engine_s, part_s, questions, start_s, trial_s, waits_s
from bench.gate import Asked
from bench.group import Load, Slo, load_group
from bench.plan import make_starts, steady_s
from bench.recorder import Recorder
from bench.setup import Part
from bench.stack import load_engine, load_stack

GROUP = Path(__file__).parent / "fixtures" / "groups" / "9-echo"
OPEN = Load("open", "open", arrivals="constant", share=0.5)
BURST = Load(
    "burst", "burst", arrivals="constant", share=0.5, burst_share=3.0, burst_s=3, after_s=30
)


def a_part(artefact: Artefact, profile: str) -> Part:
    """The echo group with one stack and its engine, as it is when a run is announced."""
    group, stack = load_group(GROUP), load_stack(GROUP / "steady")
    asked = group.profiles[profile]
    starts = make_starts(group, [stack], asked, group.models, 1, None)
    engine = load_engine(GROUP / "engines" / "plain")
    artefacts = {"digest": artefact}
    payloads = read_payloads(group)
    return Part(
        group, asked, ("digest",), payloads, artefacts, {"plain": (engine, None)}, {}, starts
    )


def test_a_trial_counts_every_probe_and_the_whole_burst() -> None:
    """A plan that leaves them out would promise 20 minutes for an hour."""
    group = load_group(GROUP)
    profile, slo = group.profiles["finding"], group.slos["cpu"]
    one = trial_s(profile, slo, OPEN, 50)
    assert trial_s(profile, slo, BURST, 50) == pytest.approx(one + 3 + 30)
    assert trial_s(profile, slo, group.loads["search"], 240) > 5 * one


@pytest.mark.parametrize("wanted", [80, 400])
def test_a_window_of_poisson_arrivals_holds_the_requests_a_percentile_needs(wanted: int) -> None:
    """Broken by a window as long as that many take on average: every second one holds fewer."""
    profile = replace(load_group(GROUP).profiles["finding"], min_requests=wanted, window_s=1.0)
    assert steady_s(profile, OPEN, 5.0) == wanted / 5
    held = poisson.sf(wanted - 1, 5.0 * steady_s(profile, replace(OPEN, arrivals="poisson"), 5.0))
    assert 0.985 < held < 0.997
    assert steady_s(replace(profile, window_s=600.0), OPEN, 5.0) == 600.0


def test_a_part_counts_engines_starts_and_trials(artefact: Artefact) -> None:
    """Broken by a block's engines or a start's questions left out (half of a run may go there), or
    by an interrupted run that promises the time of what it has."""
    part = a_part(artefact, "standard")
    left = {start: start.trials for start in part.starts}
    assert len(left) == part.profile.blocks == 3
    engine, _ = part.engines["plain"]
    slo, loads = part.group.slos["cpu"], part.group.loads
    trials = [trial_s(part.profile, slo, loads[t.load], None) for t in part.starts[0].trials]
    block = engine_s(engine, part.profile) + start_s(part, part.starts[0], "cpu") + sum(trials)
    assert part_s(part, left, "cpu") == pytest.approx(3 * block)
    assert engine_s(engine, part.profile) > len(engine.batch_sizes) * part.profile.engine_s
    patient = replace(part, profile=replace(part.profile, quiet_wait_s=5))
    assert waits_s(patient, left) == 3 * len(trials) * 5
    last = {part.starts[-1]: part.starts[-1].trials}
    assert part_s(part, last, "cpu") == pytest.approx(block)
    assert part_s(part, {part.starts[-1]: ()}, "cpu") == pytest.approx(block - sum(trials))


def test_what_is_asked_one_by_one_is_what_is_counted(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against what gate and audit really send. Broken by a gate that asks more."""
    part = a_part(artefact, "smoke")
    sent: list[int] = []

    def ask(*arguments: Any) -> Asked:
        payloads: Sequence[Payload] = arguments[4]
        sent.append(len(payloads))
        return Asked([], [])

    def compare(*_: Any) -> Any:
        return gate.Parity(True, 0.0, ())

    for module in (gate, audit):
        monkeypatch.setattr(module, "ask", ask)
        monkeypatch.setattr(module, "compare", compare)
    served: Any = SimpleNamespace(
        payloads=[payload for payload in part.payloads if not payload.audit],
        held_back=[payload for payload in part.payloads if payload.audit],
    )
    here: Any = (served, None, artefact, "rest", Path())
    start = part.starts[0]
    for _interface in {trial.interface for trial in start.trials}:
        gate.pass_gate(*here)
        gate.pass_again(*here)
    audit.audit(*here)
    assert questions(start, part.payloads) == sum(sent) > 0
    few = replace(part, payloads=[p for p in part.payloads if not p.audit])
    assert questions(start, few.payloads) == sum(sent[:-1])


def test_an_answer_is_taken_to_need_half_of_what_it_may() -> None:
    """A streamed answer's time grows with its tokens; the SLO's first token alone would promise a
    quarter of what a text takes."""
    assert answer_s(Slo(250, None, None, 0.95), {"a": [0.1, 0.9]}) == pytest.approx(0.125)
    texts = {"a": {"tokens": [1] * 11, "margins": []}, "b": {"tokens": [1] * 31, "margins": []}}
    assert answer_s(Slo(None, 1000, 100, 0.95), texts) == pytest.approx(1.5)


def test_what_is_done_is_not_left(artefact: Artefact, tmp_path: Path) -> None:
    """Broken by a continued run that announces all of its trials again."""
    part = a_part(artefact, "standard")

    run: Any = SimpleNamespace(folder=tmp_path, cpus=CpuSplit((0,), (1,), False))
    recorder = Recorder(run, {})
    assert recorder.left(part.starts) == {start: start.trials for start in part.starts}
    first = part.starts[0]
    for trial in first.trials:
        file = recorder.trial_file(trial)
        file.parent.mkdir(exist_ok=True)
        file.write_text('{"reasons": []}')
    # Its trials are done, but it was not looked back on: it is started again.
    assert recorder.left(part.starts)[first] == ()
    for trial in first.trials:
        file = recorder.stack_file(
            *(trial.group_id, trial.stack, trial.model, trial.interface, trial.block)
        )
        file.parent.mkdir(exist_ok=True)
        file.write_text('{"status": "measured"}')
    assert first not in recorder.left(part.starts)


def test_the_calibration_is_in_it() -> None:
    assert estimate.calibration_s() > len(estimate.SHORT) * 1.7
