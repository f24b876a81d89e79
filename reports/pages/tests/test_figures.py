"""What a page's figures are of: payload sets, streams, precisions, prices and claims."""

from pathlib import Path
from typing import Any

import pytest

from pages import charts, sections
from pages.answers import sentences
from pages.build import build
from pages.data import by_precision
from pages.facts import answer, load_facts
from pages.scales import Scales
from reports.files import Folder
from reports.load import open_results

from .conftest import GROUP, Golden, at_a_rate, trials

LOADS = {
    "closed-4": {"payloads": None},
    "chat-4": {"payloads": "chat"},
    "poisson-50": {"arrivals": "poisson"},
}


def asked(folder: Path, *questions: str) -> list[list[dict[str, Any]]]:
    with open_results(Folder(str(folder))) as loaded:
        load_facts(loaded.db, None)
        return [answer(loaded.db, name, group=GROUP) for name in questions]


def groups(slo: dict[str, Any] | None = None) -> dict[str, Any]:
    return {GROUP: {"slo": slo or {"latency_ms": 250, "share": 0.95}, "loads": LOADS}}


def test_other_payloads_are_another_load(golden: Golden) -> None:
    """Four callers of long conversations are no point on the curve of callers. Broken by a title
    or a curve that goes by the number of callers alone."""
    rows = trials("alpha", (20, 21, 22))
    chat = [row | {"load": "chat-4", "trial_id": row["trial_id"] + ".chat"} for row in rows]
    points, workloads = asked(golden(rows + chat, groups=groups()), "points", "workloads")
    families = {row["load"]: sections.family(row) for row in points}
    assert families == {"closed-4": "users", "chat-4": ""}
    assert {row["load"]: row["load_title"] for row in workloads} == {
        "closed-4": "4 callers",
        "chat-4": "4 callers, chat payloads",
    }


def test_streams_under_open_load_are_answered_by_their_first_token(golden: Golden) -> None:
    """The median where a p95 has too few requests. Broken by the latency of a whole answer, whose
    length is the model's affair."""
    rows = [
        row | {"ttft_p50_ms": ttft, "latency_p95_ms": 500.0}
        for stack, ttft in (("alpha", 80.0), ("beta", 40.0))
        for row in at_a_rate(trials(stack, (20, 21, 22)))
    ]
    (one,) = sentences(*asked(golden(rows, groups=groups()), "workloads", "answers"))
    assert one.text == "alpha's median time to the first token is 2.00× beta's."


def test_precisions_stand_beside_each_other(golden: Golden) -> None:
    """Twice the throughput at int8, told of the one stack that has both; no pair of stacks across
    precisions. Broken by a join without the precision, or by a stack with one alone."""
    rows = trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10))
    rows += [
        row
        | {
            "precision": "int8",
            "trial_id": row["trial_id"] + ".int8",
            "throughput_per_s": 2 * row["throughput_per_s"],
        }
        for row in rows[:3]
    ]
    found, points, answers = asked(golden(rows), "precisions", "points", "answers")
    (one,) = found
    assert (one["stack"], one["precision_a"], one["precision_b"]) == ("alpha", "int8", "fp32")
    assert one["ratio"] == pytest.approx(2) and one["distinguishable"]
    shown = {(row["stack"], row["computed"]): row["value"] for row in by_precision(points)}
    assert shown == {
        ("alpha", "fp32"): pytest.approx(20.98, abs=0.01),
        ("alpha", "int8"): pytest.approx(41.97, abs=0.01),
    }
    assert {row["precision"] for row in answers} == {"fp32"}


MACHINE = {"cpu_model": "AMD EPYC 7R13 Processor", "cpus": 4, "gpus": [{"name": "NVIDIA L4"}]}


@pytest.mark.parametrize(
    ("changed", "price"),
    [
        ({"memory_mb": 16_300}, 0.8048),
        ({"memory_mb": 33_000}, None),
        ({"memory_mb": 16_300, "cpus": 8}, None),
        ({"memory_mb": 16_300, "gpus": []}, None),
        ({"memory_mb": 16_300, "cpu_model": "AMD EPYC 9R14"}, None),
    ],
)
def test_a_price_is_of_that_machine_alone(
    golden: Golden, changed: dict[str, Any], price: float | None
) -> None:
    """One CPU is in machines of several prices. Broken by a match on the CPU's name alone."""
    folder = golden(trials("alpha", (20, 21, 22)), machine=MACHINE | changed)
    ((row,),) = asked(folder, "cost")
    assert row["usd_per_hour"] == price
    if price:
        assert row["usd_per_million"] == pytest.approx(price / 3600 / 22 * 1e6)


def test_valid_trials_alone_have_a_cost_of_their_own(golden: Golden) -> None:
    """The best of all usable trials is DEGRADED here. Broken by one best for both choices."""
    rows = trials("alpha", (20, 21, 22))
    rows[2] |= {"verdict": "DEGRADED", "reasons": ["STEAL"]}
    ((row,),) = asked(golden(rows, machine=MACHINE | {"memory_mb": 16_300}), "cost")
    assert row["usd_per_million"] == pytest.approx(0.8048 / 3600 / 22 * 1e6)
    assert row["usd_per_million_valid"] == pytest.approx(0.8048 / 3600 / 21 * 1e6)


def test_claims_stand_beside_what_was_measured(golden: Golden, tmp_path: Path) -> None:
    """The best of all loads and of which; and what was not measured is not made up. Broken by the
    worst, or by a claim of one stack beside figures of another."""
    rows = trials("triton", (20, 21, 22), weights="random")
    for row in rows:
        row["group_id"] = "1-image-classification"
    folder = golden(rows, groups={"1-image-classification": {"loads": {}}})
    with open_results(Folder(str(folder))) as loaded:
        load_facts(loaded.db, None)
        claims = answer(loaded.db, "claims", group="1-image-classification")
        general = answer(loaded.db, "general")
        build(loaded, tmp_path, None, "make report")
    best = {(row["stack"], row["figure"]): row["measured_best"] for row in claims}
    assert best["triton", "throughput"] == 22
    assert best["triton", "p95"] == pytest.approx(2000 / 22)
    assert best["torchserve", "throughput"] is None
    page = (tmp_path / "1-image-classification.html").read_text("utf-8")
    assert "22 images/s (resnet50 fp32, random weights, 4 callers)" in page
    assert len(general) > 20 and all(row["low"] is None for row in general)
    index = (tmp_path / "index.html").read_text("utf-8")
    assert "3–8 ms (serialization 2–5, connection 1–3)" in index and "other hardware" in index


def test_more_stacks_than_colours_have_no_legend() -> None:
    """It would call two stacks by one colour. Broken by a palette that starts again unsaid."""
    for stacks, told in ((8, True), (9, False)):
        scales = Scales(tuple(f"stack-{n}" for n in range(stacks)), ("rest",))
        spec = charts.against_load(scales, "callers", "ms")
        assert (scales.colours_repeat, bool(spec.get("legends"))) == (not told, told)


def test_parts_of_a_bar_are_named() -> None:
    """Each part's colour in the legend, its edge of the same colour. Broken by an edge that is a
    channel of its own: the legend goes with it."""
    spec = charts.stacked("ms", ("queue", "rest"), ("#c9a227", "#9aa5b1"))
    assert [legend["fill"] for legend in spec["legends"]] == ["color"]
    drawn = spec["marks"][0]["encode"]["update"]
    assert drawn["stroke"] == drawn["fill"] == {"scale": "color", "field": "label"}
