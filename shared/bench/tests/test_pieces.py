"""Small pieces of the runner, each against its definition."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import prometheus, server
from bench.blocks import ceiling_for
from bench.commands import run_shown
from bench.cpus import format_cpus, parse_cpus, split_cpus
from bench.engines import Ceiling, ceiling_of, combinations
from bench.environments import check_requirements
from bench.errors import StackSkipped, UserError
from bench.generator import collections, load_plan
from bench.group import Load, load_group
from bench.paths import BUILD
from bench.plan import make_starts, offered_rate
from bench.processes import (
    MARK,
    TreeMeter,
    descendants,
    end_processes,
    marked,
    of_session,
    tree_pss_bytes,
)
from bench.server import Running, environment_for, stop
from bench.settings import read_settings
from bench.stack import Requirement, load_engine, load_stack
from bench.store import read_json, write_json
from bench.table import stack_names
from bench.verdict import Surroundings, judge

FIXTURES = Path(__file__).parent / "fixtures" / "groups" / "9-echo"
QUIET = Surroundings()
CLOSED = Load("closed-2", "closed", users=2)
CACHING = Load("d", "closed", users=2, cache="expected")
OPEN = Load("open", "open", arrivals="constant", share=0.5)
POISSON = Load("open", "open", arrivals="poisson", share=0.5)
SEARCH = Load("search", "search", arrivals="constant", low=0.1, high=1.2)
BURST = Load(
    "burst", "burst", arrivals="constant", share=0.5, burst_share=3.0, burst_s=3, after_s=30
)
# 1% of an answer of 3 s, but a tenth of the time to its first token.
LATE = {"generator_late_p99_ms": 30.0}
SLOW_STREAM = {"latency_p50_ms": 9000.0, "ttft_p50_ms": 300.0}
GOOD = {
    "offered": 200,
    "errors": 0,
    "refused": 0,
    "dropped": 0,
    "wrong_answers": 0,
    "timed_out": 0,
    "latency_p95_ms": 10.0,
    "before_burst_p95_ms": 9.0,
    "generator_cpu_share": 0.2,
    "generator_late_p99_ms": 0.5,
    "backlog_slope": 0.0,
}


def test_cpu_lists() -> None:
    assert parse_cpus("0-2,5") == (0, 1, 2, 5)
    assert format_cpus((0, 1, 5)) == "0,1,5"


def test_the_default_split_gives_each_side_cpus_of_its_own() -> None:
    """Server and generator on one CPU would measure each other, unless there is only one."""
    split = split_cpus({})
    assert split.server and split.client
    assert split.shared == bool(set(split.server) & set(split.client))
    if len(os.sched_getaffinity(0)) > 1:
        assert not split.shared


@pytest.mark.parametrize("value", ["x", "0-", "9999", "1-0"])
def test_wrong_cpus_are_named(value: str) -> None:
    with pytest.raises(UserError, match="SERVER_CPUS"):
        split_cpus({"SERVER_CPUS": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "gpu"),
        ("RUNTIME", "docker"),
        ("WEIGHTS", "none"),
        ("DURATION", "-1"),
        ("CONTAINER_FLAGS", "--name 'half"),
        ("RESULTS", "s3://bucket/results"),
    ],
)
def test_wrong_variables_are_named(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{name}={value}"):
        read_settings({name: value})


def test_rates_are_rounded_to_what_people_say() -> None:
    assert offered_rate(Load("a", "open", share=0.5), 47.3) == 24
    assert offered_rate(Load("a", "open", share=0.25), 21.37) == 5.3
    assert offered_rate(CLOSED, 47.3) is None
    assert offered_rate(SEARCH, 47.3) == 57, "a search's rate is the highest it may try"
    assert offered_rate(Load("s", "search_users"), 47.3) is None


def test_a_burst_is_three_stages_that_fill_its_window() -> None:
    """The burst's rate is a multiple of the rate before it, which was rounded."""
    plan = load_plan(BURST, 6.2, 15.0)
    assert [stage["seconds"] for stage in plan["stages"]] == [15.0, 3, 30]
    assert [stage["rate_per_s"] for stage in plan["stages"]] == pytest.approx([6.2, 37.2, 6.2])


def test_the_order_is_seeded_and_differs_between_blocks() -> None:
    """A fixed order would charge the machine's drift to the same stack every time."""
    group = load_group(FIXTURES)
    names = ("steady", "dies", "never-ready", "hangs-on-stop", "wrong-answers")
    stacks = [load_stack(FIXTURES / name) for name in names]
    profile = group.profiles["standard"]

    def orders(seed: int) -> list[list[str]]:
        starts = make_starts(group, stacks, profile, group.models, seed, None)
        return [[s.stack for s in starts if s.block == block] for block in (1, 2, 3)]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert len({tuple(order) for order in orders(1)}) > 1
    starts = make_starts(group, stacks, profile, group.models, 1, None)
    ids = [trial.id for start in starts for trial in start.trials]
    assert len(set(ids)) == len(ids) == 15


def test_what_one_device_requires_stops_no_other() -> None:
    """Broken by a library that is tried for in vain when the server starts, or by one for CPUs that
    keeps a machine from using its GPU."""
    lacking = Requirement("install it", shared_library="libno-such-thing.so.1", device="cpu")
    with pytest.raises(StackSkipped, match=r"libno-such-thing\.so\.1 is not installed") as skipped:
        check_requirements((lacking,), sys.executable, "cpu")
    assert skipped.value.fix == "install it"
    check_requirements((lacking,), sys.executable, "cuda")
    for device in ("cpu", "cuda"):
        with pytest.raises(StackSkipped):
            check_requirements((replace(lacking, device=None),), sys.executable, device)
    check_requirements((replace(lacking, shared_library="libc.so.6"),), sys.executable, "cpu")


def test_a_precision_is_a_start_of_its_own_at_its_own_loads() -> None:
    """Broken by a second precision under the first one's rows, by one that is measured at every
    load, or by names of the main precision's rows that change because there is another."""
    group = load_group(FIXTURES)
    group = replace(group, models=("digest", "other"))
    profile = replace(
        group.profiles["standard"], blocks=1, further_precisions=("closed-2",), further_models=()
    )
    stack = replace(load_stack(FIXTURES / "steady"), precisions=("fp32", "int8"))
    starts = make_starts(group, [stack], profile, group.models, 1, None)
    ids = {start.precision: [t.id for t in start.trials] for start in starts}
    alone = make_starts(group, [load_stack(FIXTURES / "steady")], profile, group.models, 1, None)
    assert ids["fp32"] == [trial.id for start in alone for trial in start.trials]
    assert ids["int8"] == ["9.steady.digest.int8.rest.closed-2.b1"]
    only = make_starts(group, [stack], profile, group.models, 1, None, "int8")
    assert [start.precision for start in only] == ["int8"]


def test_what_is_named_is_measured() -> None:
    """MODEL and PRECISION name what a profile asks nothing of. Broken by a run without a trial, or
    by a model that is asked for by its name and then measured over one interface of two."""
    group = replace(load_group(FIXTURES), models=("digest", "other"))
    profile = replace(group.profiles["standard"], blocks=1, further_models=())
    stack = replace(load_stack(FIXTURES / "steady"), precisions=("fp32", "int8"))
    second = replace(stack.interfaces[0], name="second")
    stack = replace(stack, interfaces=(stack.interfaces[0], second))
    assert not profile.further_precisions

    def loads(*asked: Any) -> list[tuple[str, str]]:
        starts = make_starts(group, [stack], profile, *asked)
        return sorted((t.interface, t.load) for start in starts for t in start.trials)

    usual = loads(("digest",), 1, None, "fp32")
    assert len({interface for interface, _ in usual}) == 2
    assert loads(("digest",), 1, None) == loads(("digest", "other"), 1, None) == usual
    assert loads(("other",), 1, None, "fp32") == usual
    first = [row for row in usual if row[0] != "second"]
    assert loads(("digest",), 1, None, "int8") == first


def test_an_engine_is_timed_for_what_is_measured() -> None:
    """A ceiling of the wrong precision or of easier payloads would make an efficiency of them."""
    engine = replace(
        load_engine(FIXTURES / "engines" / "plain"),
        precisions=("fp32", "int8"),
        payload_sets=("long",),
    )
    assert combinations(engine, {("fp32", None)}) == [("fp32", None)]
    wanted = {("int8", None), ("fp32", "long"), ("fp32", "odd"), ("int8", "long")}
    assert combinations(engine, wanted) == [("fp32", None), ("fp32", "long"), ("int8", None)]
    ceilings = [
        Ceiling("plain", per_s, per_s, 1, (), precision, payload_set)
        for (precision, payload_set), per_s in zip(
            combinations(engine, wanted), (100.0, 10.0, 200.0), strict=True
        )
    ]
    main, long = OPEN, replace(OPEN, payloads="long")
    assert ceiling_for(ceilings, "plain", "fp32", main) == 100
    assert ceiling_for(ceilings, "plain", "fp32", long) == 10
    assert ceiling_for(ceilings, "plain", "int8", main) == 200
    assert ceiling_for(ceilings, "plain", "int8", long) is None
    assert ceiling_for(ceilings, "other", "fp32", main) is None


def test_prometheus_text_is_read_by_name_and_labels() -> None:
    text = (
        "# HELP a_total things\n"
        'a_total{model="x",version="1"} 3\n'
        'a_total{model="y"} 4e2\n'
        "b_sum 1500\n"
        "broken line here nan\n"
    )
    samples = prometheus.parse(text)
    assert prometheus.pick(samples, {"name": "a_total"}) == 403
    assert prometheus.pick(samples, {"name": "a_total", "labels": {"model": "x"}}) == 3
    assert prometheus.pick(samples, {"name": "b_sum", "scale": 1e-3}) == 1.5
    assert prometheus.pick(samples, {"name": "c"}) is None


def test_counters_born_in_the_window_started_at_nothing() -> None:
    grown = prometheus.difference({"a": 5.0, "b": None}, {"a": 7.0, "b": 3.0, "c": None})
    assert grown == {"a": 2.0, "b": 3.0, "c": None}


def test_a_scrape_that_failed_is_no_start_at_nothing() -> None:
    """A saturated server may miss the one at the window's start: all that it ever counted would be
    this window's, its cached tokens a false UNEQUAL_WORK."""
    assert prometheus.difference(None, {"a": 7.0, "b": None}) == {"a": None, "b": None}
    assert prometheus.difference({"a": 7.0}, None) == {"a": None}
    assert prometheus.difference(None, None) == {}


def test_bytecode_is_kept_outside_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's second start compiles nothing, and its folder, which is digested, stays as it was.
    Broken by the caller's own PYTHONDONTWRITEBYTECODE, too."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = environment_for(None, {}, {})
    assert Path(env["PYTHONPYCACHEPREFIX"]).is_relative_to(BUILD)
    (tmp_path / "module.py").write_text("VALUE = 1\n")
    code = "import module; print(module.__cached__)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert Path(said.stdout.strip()).exists()
    assert [file.name for file in tmp_path.iterdir()] == ["module.py"]


def test_a_gauge_is_read_and_not_subtracted() -> None:
    """What is in use at a moment has no difference: it would be near 0 under any load."""
    name = prometheus.GAUGES[0]
    assert prometheus.difference({name: 0.5}, {name: 0.7}) == {name: pytest.approx(0.6)}
    assert prometheus.difference({name: None}, {name: 0.7}) == {name: 0.7}
    assert prometheus.difference({}, {name: None}) == {name: None}


def test_an_engine_may_count_in_other_units_than_payloads() -> None:
    """Open rates are shares of payloads per second; of tokens they would be many times too high."""
    slow = {"batch_size": 1, "items": 40, "seconds": 2.0, "requests": 4}
    fast = {"batch_size": 8, "items": 160, "seconds": 2.0, "requests": 10}
    best = ceiling_of("engine", (slow, fast))
    assert (best.throughput_per_s, best.requests_per_s, best.batch_size) == (80, 5, 8)
    plain = ceiling_of("engine", ({"batch_size": 1, "items": 40, "seconds": 2.0},))
    assert plain.throughput_per_s == plain.requests_per_s == 20


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "row.json"
    write_json(file, {"value": float("nan"), "list": (1, 2)})
    assert read_json(file) == {"value": None, "list": [1, 2]}
    with pytest.raises(TypeError):
        write_json(file, {"value": object()})
    assert read_json(file) == {"value": None, "list": [1, 2]}
    assert [f.name for f in tmp_path.iterdir()] == ["row.json"]


def test_a_tree_is_measured_and_ended_whole() -> None:
    """A child that leaves the process group, or whose parent ends, is still the server's."""
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True)\n"
        "time.sleep(60)"
    )
    mark = f"test:{time.monotonic_ns()}"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, MARK: mark})
    try:
        meter = TreeMeter(process.pid)
        deadline = time.monotonic() + 20
        while len(descendants(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        meter.refreshed = 0
        first = meter.read().cpu_ns
        time.sleep(0.5)
        used = meter.read().cpu_ns - first
        assert used > 0, "the busy child's CPU time is not counted"
        assert tree_pss_bytes(process.pid) > 1e6
        process.kill()
        process.wait()
        assert len(marked(mark)) == 1, "the orphan is not found by its mark"
    finally:
        process.kill()
        end_processes(marked(mark), 2)
    assert marked(mark) == []


def test_a_set_up_command_that_is_interrupted_takes_all_it_started_along(tmp_path: Path) -> None:
    """Broken by one look at the tree: what its members start between the look and their end stays,
    with no parent, beside the next measurement."""
    mark = f"test:{time.monotonic_ns()}"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    code = "for n in $(seq 1000); do sleep 60 & [ $n != 200 ] || echo begun; done; wait"
    try:
        with pytest.raises(KeyboardInterrupt):
            run_shown(
                ["sh", "-c", code],
                cwd=tmp_path,
                env={MARK: mark},
                show=interrupt,
                what="starting many",
            )
        assert marked(mark) == []
    finally:
        end_processes(marked(mark), 2)


def test_what_lost_its_environment_is_ended_too(tmp_path: Path) -> None:
    """A worker that rewrote its title has no mark any more, and its parent is gone. Broken by an
    engine that goes on computing beside the next server's measurements."""
    mark = f"test:{time.monotonic_ns()}"
    process = subprocess.Popen(
        ["sh", "-c", "env -i sleep 60 & exit 0"],
        env={**os.environ, MARK: mark},
        start_new_session=True,
    )
    assert process.wait() == 0
    try:
        deadline = time.monotonic() + 20
        while marked(mark) and time.monotonic() < deadline:  # until `env` is there
            time.sleep(0.05)
        assert marked(mark) == [] and len(of_session(process.pid)) == 1
        stack = load_stack(FIXTURES / "steady")
        fault = stop(Running(stack, process, mark, {}, {}, None, tmp_path))
        assert fault == "left 1 process(es) behind: ended"
        assert of_session(process.pid) == []
    finally:
        end_processes(of_session(process.pid), 1)


def test_a_helper_that_goes_after_its_server_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by a clean server that is called failed as its resource tracker, on a busy machine,
    has not yet seen that its parent is gone."""
    monkeypatch.setattr(server, "HELPERS_S", 60)
    mark = f"test:{time.monotonic_ns()}"
    told = {**os.environ, MARK: mark}
    process = subprocess.Popen(["sh", "-c", "sleep 0.5 &"], env=told, start_new_session=True)
    assert process.wait() == 0 and of_session(process.pid), "it went with its parent"
    stack = load_stack(FIXTURES / "steady")
    assert stop(Running(stack, process, mark, {}, {}, None, tmp_path)) is None
    assert of_session(process.pid) == []


@pytest.mark.parametrize(
    ("load", "change", "beside", "verdict", "reason"),
    [
        (CLOSED, {}, QUIET, "VALID", None),
        (CLOSED, {"offered": 0}, QUIET, "INVALID", "NOT_MEASURED"),
        (CLOSED, {"errors": 3}, QUIET, "INVALID", "ERRORS"),
        (CLOSED, {"errors": 2}, QUIET, "VALID", None),
        (CLOSED, {"errors": 4, "wrong_answers": 4}, QUIET, "INVALID", "PARITY_DRIFT"),
        (CLOSED, {"cache_hit_share": 0.25}, QUIET, "INVALID", "UNEQUAL_WORK"),
        (CACHING, {"cache_hit_share": 0.25}, QUIET, "VALID", None),
        (OPEN, {"errors": 5, "dropped": 5}, QUIET, "INVALID", "DROPPED_ITERATIONS"),
        (OPEN, {"generator_late_p99_ms": 30.0}, QUIET, "INVALID", "GENERATOR_LATE"),
        (OPEN, {**LATE, "latency_p50_ms": 2900.0}, QUIET, "INVALID", "GENERATOR_LATE"),
        (OPEN, {**LATE, "latency_p50_ms": 3100.0}, QUIET, "VALID", None),
        (OPEN, {**LATE, **SLOW_STREAM}, QUIET, "INVALID", "GENERATOR_LATE"),
        (CLOSED, {"latency_p95_ms": None, "offered": 40}, QUIET, "DEGRADED", "TOO_FEW_SAMPLES"),
        (CLOSED, {"generator_cpu_share": 0.8}, QUIET, "DEGRADED", "NEAR_GENERATOR_CEILING"),
        (OPEN, {"backlog_slope": 0.3}, QUIET, "DEGRADED", "SATURATED"),
        (POISSON, {"backlog_slope": 0.06}, QUIET, "VALID", None),
        (POISSON, {"backlog_slope": 0.06, "offered": 400}, QUIET, "DEGRADED", "SATURATED"),
        (OPEN, {"errors": 50, "refused": 50}, QUIET, "DEGRADED", "SATURATED"),
        (OPEN, {"errors": 50, "timed_out": 50}, QUIET, "INVALID", "ERRORS"),
        (BURST, {"errors": 90, "refused": 60, "timed_out": 30}, QUIET, "VALID", None),
        (BURST, {"latency_p95_ms": None, "backlog_slope": 0.3}, QUIET, "VALID", None),
        (BURST, {"errors": 90, "refused": 60}, QUIET, "INVALID", "ERRORS"),
        (BURST, {"errors": 5, "dropped": 5}, QUIET, "INVALID", "DROPPED_ITERATIONS"),
        (BURST, {"errors": 1, "wrong_answers": 1}, QUIET, "INVALID", "PARITY_DRIFT"),
        (BURST, {"before_burst_p95_ms": None}, QUIET, "DEGRADED", "TOO_FEW_SAMPLES"),
        (BURST, {"generator_late_p99_ms": 30.0}, QUIET, "INVALID", "GENERATOR_LATE"),
        (CLOSED, {}, Surroundings(steal_share=0.05), "DEGRADED", "STEAL"),
        (CLOSED, {}, Surroundings(neighbour_cpus=0.5), "DEGRADED", "NOISY_NEIGHBOUR"),
        (CLOSED, {}, Surroundings(strangers=("process 7",)), "DEGRADED", "NOISY_NEIGHBOUR"),
        (CLOSED, {}, Surroundings(before={"STEAL": "seen"}), "DEGRADED", "STEAL"),
        (CLOSED, {}, Surroundings(shared_cpus=True), "DEGRADED", "SHARED_CPUS"),
        (CLOSED, {}, Surroundings(unpinned=True), "DEGRADED", "UNPINNED"),
        (CLOSED, {}, Surroundings(throttled="heat"), "DEGRADED", "THROTTLED"),
    ],
)
def test_verdicts(
    load: Load, change: dict[str, float], beside: Surroundings, verdict: str, reason: str | None
) -> None:
    said = judge({**GOOD, **change}, load, beside, parity_held=True)
    assert said.verdict == verdict
    assert (reason in said.reasons) if reason else not said.reasons
    assert bool(said.detail) == bool(reason), "each reason says what was seen"


def test_nothing_is_valid_without_parity() -> None:
    said = judge(GOOD, CLOSED, QUIET, parity_held=False)
    assert said.verdict == "INVALID" and "PARITY_DRIFT" in said.reasons


def test_rows_of_several_precisions_or_models_are_told_apart() -> None:
    """Two rows of one stack that look alike in the table would be read as two measurements of one
    thing. Where there is nothing to tell apart, nothing is added."""
    plain = {"stack": "a", "model": "m", "precision": "fp32"}
    assert stack_names([plain])(plain) == "a"
    int8, other = {**plain, "precision": "int8"}, {**plain, "stack": "b", "model": "n"}
    name = stack_names([plain, int8, other])
    assert [name(row) for row in (plain, int8, other)] == ["a m fp32", "a m int8", "b n"]


def test_the_generator_collects_garbage_only_when_a_quarter_of_the_free_memory_is_full() -> None:
    """Broken by a limit that leaves a small machine's server without memory, or, where little is
    free, by one so low that k6 does nothing but collect."""
    assert collections(available=8 << 30) == {"GOGC": "off", "GOMEMLIMIT": str(2 << 30)}
    assert collections(available=256 << 30)["GOMEMLIMIT"] == str(4 << 30)
    assert collections(available=2 << 30) == {"GOGC": "400"}
