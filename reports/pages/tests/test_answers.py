"""The sentences say what the golden results hold, no more and no less."""

import html
import json
import re
from pathlib import Path

import pytest

from golden import RUN
from metrics import store_records, store_samples
from pages.__main__ import main
from pages.answers import Sentence, sentences
from pages.facts import answer, load_facts
from pages.render import vega_bundle
from reports.files import Folder
from reports.load import open_results

from .conftest import GROUP, RECORDS, Golden, at_a_rate, invalid, trials


def said(folder: Path, run: str | None = None) -> list[Sentence]:
    with open_results(Folder(str(folder))) as loaded:
        load_facts(loaded.db, run)
        asked = [answer(loaded.db, name, group=GROUP) for name in ("workloads", "answers")]
        return sentences(*asked)


def page(folder: Path, to: Path, *words: str) -> str:
    assert main(["--results", str(folder), "--to", str(to), *words]) == 0
    return (to / f"{GROUP}.html").read_text("utf-8")


def visible(text: str) -> str:
    """What a reader sees, as one line."""
    body = re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_clear_winner(golden: Golden) -> None:
    """Ratios 2.0, 2.1 and 2.2: geometric mean 2.098, times e^±(4.303 · 0.0477 / √3), worked out by
    hand. Broken by a bare winner, a wrong orientation or another interval."""
    folder = golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    (one,) = said(folder)
    assert one.text == "alpha serves 1.86–2.36× beta's images per second."
    assert one.answered
    assert one.load_title == "4 callers"


def test_the_faster_one_comes_first(golden: Golden) -> None:
    """The same with the names exchanged. Broken by leaving a ratio below 1."""
    folder = golden(trials("beta", (20, 21, 22)) + trials("alpha", (10, 10, 10)))
    assert said(folder)[0].text == "beta serves 1.86–2.36× alpha's images per second."


def test_arrivals_are_answered_by_their_latency(golden: Golden) -> None:
    """Under open load throughput is the offered rate; what differs is p95. Broken by comparing
    throughput there."""
    rows = at_a_rate(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    (one,) = said(golden(rows))
    assert one.text == "beta's p95 latency is 1.86–2.36× alpha's."
    assert one.load_title == "Poisson arrivals, 5 requests/s"


def test_a_tie(golden: Golden) -> None:
    """Broken by naming the one whose mean is higher."""
    folder = golden(trials("alpha", (10, 11, 10.5)) + trials("beta", (11, 10, 10.6)))
    (one,) = said(folder)
    assert one.text == "No answer: alpha and beta are not distinguishable."
    assert not one.answered


def test_a_tie_beside_a_difference(golden: Golden) -> None:
    """Each pair is told once. Broken by a tie that hides a difference, or is left out."""
    rows = trials("alpha", (20, 21, 22)) + trials("beta", (21, 20, 21)) + trials("gamma", (5, 5, 5))
    text = said(golden(rows))[0].text
    assert "alpha and beta are not distinguishable" in text
    assert re.search(r"alpha serves [\d.]+–[\d.]+× gamma's images per second", text)
    assert re.search(r"beta serves [\d.]+–[\d.]+× gamma's images per second", text)


def test_one_stack_only(golden: Golden) -> None:
    (one,) = said(golden(trials("alpha", (20, 21, 22))))
    assert one.text == "No answer: only alpha was measured."


def test_too_few_blocks(golden: Golden) -> None:
    """Twice as fast in two blocks is no answer. Broken by an interval over two values."""
    (one,) = said(golden(trials("alpha", (20, 21)) + trials("beta", (10, 10))))
    assert one.text == "No answer: alpha and beta: only 2 blocks with both, too few to tell."


def test_no_pair_says_why(golden: Golden) -> None:
    """In different runs, or in a run that is cut off before it compares. Broken by one reason for
    both."""
    folder = golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    (folder / RUN / "comparisons.json").unlink()
    assert said(folder)[0].text == (
        "No answer: alpha and beta are not compared: their run has not ended, or has too few"
        " requests for the figure."
    )
    for file in (folder / RUN / "trials").glob("[345].json"):
        file.unlink()
    golden(trials("beta", (10, 10, 10)), run_id="20260102-000000-aaaa")
    assert said(folder)[0].text == "No answer: alpha and beta were not measured in one run."


def test_an_interval_that_can_not_be_is_no_answer(golden: Golden) -> None:
    """A stranger's file calls a difference real whose interval is missing, or begins at 0. Broken
    by turning that ratio round: 1 / 0 ends the report."""
    folder = golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    file = folder / RUN / "comparisons.json"
    rows = json.loads(file.read_text())["comparisons"]
    for low in (None, 0.0):
        changed = {"ratio": 0.5, "ratio_low": low, "distinguishable": True}
        file.write_text(json.dumps({"comparisons": [row | changed for row in rows]}))
        (one,) = said(folder)
        assert not one.answered and "too few to tell" in one.text


def test_of_many_stacks_the_best_is_told(golden: Golden) -> None:
    """Seven stacks are 21 pairs: the best one against its five closest, and how many of the others
    differ. Broken by a sentence of 21 clauses (of 200 stacks, 19,900), or by the worst one's."""
    rows = [one for n in range(1, 8) for one in trials(f"stack-{n}", (10 * n, 10 * n, 10 * n))]
    (one,) = said(golden(rows))
    assert one.text == (
        "stack-7 serves 1.17× stack-6's images per second; stack-7 serves 1.40× stack-5's images"
        " per second; stack-7 serves 1.75× stack-4's images per second; stack-7 serves 2.33×"
        " stack-3's images per second; stack-7 serves 3.50× stack-2's images per second; of 16"
        " further pairs 16 differ."
    )


def test_of_many_names_a_few_are_told(golden: Golden) -> None:
    """Broken by a list that is longer than what it is about."""
    rows = [
        one
        for n in range(1, 10)
        for one in trials(f"stack-{n}", (10, 10, 10), goodput=0.5, slo_met=False)
    ]
    (one,) = said(golden(rows))
    assert "stack-1 (50%), stack-2 (50%), stack-3 (50%)" in one.text
    assert one.text.endswith("stack-6 (50%) and 3 more.")
    assert not one.answered and "of 31 further pairs 0 differ" in one.text


def test_all_invalid(golden: Golden, tmp_path: Path) -> None:
    """The page says so and why, and its trials are listed. Broken by a page without the group."""
    folder = golden(invalid("alpha", "ERRORS") + invalid("beta", "PARITY_DRIFT"))
    (one,) = said(folder)
    assert one.text == "No answer: every trial is INVALID (ERRORS, PARITY_DRIFT)."
    text = visible(page(folder, tmp_path / "out"))
    assert one.text in text


def test_one_of_two_invalid(golden: Golden) -> None:
    """Broken by comparing figures of INVALID trials."""
    (one,) = said(golden(trials("alpha", (20, 21, 22)) + invalid("beta", "ERRORS")))
    assert one.text == "No answer: only alpha was measured."


def test_a_skipped_stack_is_named(golden: Golden, tmp_path: Path) -> None:
    """With its reason, beside the answer. Broken by leaving out what has no trials."""
    folder = golden(
        trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)),
        skipped={"gamma": "needs Java 11"},
    )
    text = visible(page(folder, tmp_path / "out"))
    assert "alpha serves 1.86–2.36× beta's images per second." in text
    assert "Not in these answers: gamma: skipped, needs Java 11" in text


def test_weights_never_mix(golden: Golden, tmp_path: Path) -> None:
    """A stack on random weights is no match for one on real ones. Broken by a key without it."""
    rows = trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10), weights="random")
    found = said(golden(rows))
    assert [one.text for one in found] == [
        "No answer: only alpha was measured.",
        "No answer: only beta was measured.",
    ]
    assert {one.setup[3] for one in found} == {"pretrained", "random"}


def test_the_limit_is_told(golden: Golden) -> None:
    """Who met the SLO in every block, and how far off the others were."""
    rows = trials("alpha", (20, 21, 22), goodput=0.99, slo_met=True)
    rows += trials("beta", (10, 10, 10), goodput=0.5, slo_met=False)
    assert said(golden(rows))[0].text.endswith(
        "The limit, latency ≤ 250 ms for 95% of requests, is held by alpha and missed by"
        " beta (50%)."
    )
    near = [*rows[:3], *trials("beta", (10, 10, 10), goodput=0.9499, slo_met=False)]
    assert said(golden(near))[0].text.endswith("missed by beta (94.9%).")


def test_degraded_trials_are_told(golden: Golden) -> None:
    rows = trials("alpha", (20, 21, 22), verdict="DEGRADED", reasons=["STEAL"])
    text = said(golden(rows + trials("beta", (10, 10, 10))))[0].text
    assert text.endswith("(with care: some trials are DEGRADED).")


def test_resources_over_time_come_from_the_raw_records(golden: Golden) -> None:
    """Half a core in the first second and a whole one in the next; no answer in the first, three
    in the second, and the third is cut short. Broken by taking CPU time so far for a rate, by
    another clock's start, or by seconds left out."""
    rows = trials("alpha", (20, 21, 22))
    folder = golden(rows)
    start = 5_000_000_000
    raw = folder / RUN / "raw" / rows[0]["trial_id"]
    cpu = ((0.0, 0.0), (0.5, 0.25), (0.999, 0.4995), (1.5, 1.0005), (1.9, 1.4005), (2.5, 2.0005))
    store_samples(
        [
            {"t_ns": start + int(t * 1e9), "server_cpu_ns": int(used * 1e9), "gpu_power_w": 70.0}
            for t, used in cpu
        ],
        raw / "samples.parquet",
    )
    line = "0,{n},3,{t},{t},{t},{t},0,,,200,true,1,99,\n"
    csv = folder / "records.csv"
    csv.write_text(RECORDS + "".join(line.format(n=n, t=start + 1_500_000_000) for n in range(3)))
    store_records(csv, raw / "requests.parquet")
    with open_results(Folder(str(folder)), raw=True) as loaded:
        assert loaded.warnings == ()
        load_facts(loaded.db, None)
        found = answer(loaded.db, "time", group=GROUP)
    values = {(row["figure"], row["second"]): row["value"] for row in found}
    assert values["cpu_cores", 0] == pytest.approx(0.5)
    assert values["cpu_cores", 1] == pytest.approx(1.0)
    assert values["power_w", 1] == 70
    served = {at: value for (name, at), value in values.items() if name == "throughput_per_s"}
    assert served == {0: 0, 1: 3}


def test_only_the_run_asked_for_counts(golden: Golden) -> None:
    """RUN picks an older one. Broken by the view latest having the last word."""
    golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    later = {"run_id": "20260102-000000-aaaa", "started_at": "2026-01-02T00:00:00Z"}
    folder = golden(trials("alpha", (10, 11, 10.5)) + trials("beta", (11, 10, 10.6)), **later)
    assert "not distinguishable" in said(folder)[0].text
    assert said(folder, RUN)[0].text == "alpha serves 1.86–2.36× beta's images per second."


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"


def test_hostile_strings_stay_text(golden: Golden, tmp_path: Path) -> None:
    """No text of a result opens an element or ends a script. Broken by one place unescaped."""
    rows = trials(EVIL, (20, 21, 22), interface=EVIL, model=EVIL, detail=EVIL)
    rows += trials("beta", (10, 10, 10), interface=EVIL, model=EVIL)
    folder = golden(rows, skipped={"gamma": EVIL})
    text = page(folder, tmp_path / "out").replace(vega_bundle(), "")
    assert EVIL in html.unescape(text), "the strings did not reach the page"
    for markup in ("<script>alert", "<img", "onerror=alert(2)>"):
        assert markup not in text
    assert text.count("</script>") == 3
    assert "{{ 7 * 7 }}" in text
