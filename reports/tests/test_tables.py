"""The measured tables of the documents: made from results, never typed."""

import json
import re
from pathlib import Path

import pytest

from golden import trial_row
from reports.columns import RESULTS
from reports.files import Folder
from reports.tables import DOCUMENTS, PLACE, TABLES, renewed

EMPTY = "before\n<!-- {0}: made -->\nold | row\n<!-- end of {0} -->\nafter\n"


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"stacks", "standard", "probes"}))
def test_a_table_is_replaced_and_nothing_else(results: Path, name: str) -> None:
    """The text around stays; a second time changes nothing. Broken by a pattern that eats more."""
    text = renewed(EMPTY.format(name), Folder(str(results)))
    assert text.startswith(f"before\n<!-- {name}: made -->\nA CPU, 2026-01-02")
    assert text.endswith(f"|\n<!-- end of {name} -->\nafter\n") and "old" not in text
    assert renewed(text, Folder(str(results))) == text


def test_the_newest_measurement_is_shown(results: Path) -> None:
    """Two files of one kind: the later one's figures. Broken by mixing their rows."""
    text = renewed(EMPTY.format("overhead"), Folder(str(results)))
    assert "| rest-raw, new connection | 0.20 / 0.40 + 0.50 |" in text
    assert "| grpc, reused connection | 0.20 / 0.40 |" in text and "0.10" not in text


def test_figures_stand_in_their_columns(results: Path) -> None:
    """A tool's figure beside the truth, and a dash for what was not measured."""
    assert "| – / – / 31 | – / – / 931 | – / – | – |" in renewed(
        EMPTY.format("crosscheck"), Folder(str(results))
    )
    goals = renewed(EMPTY.format("calibration"), Folder(str(results)))
    assert "| 0.25 ms | ≤ 0.5 | yes |" in goals and "| 0.75 ms | ≤ 0.5 | no |" in goals


def test_a_standard_run_is_averaged_over_its_blocks(results: Path) -> None:
    """Means over the blocks, verdicts counted, only what an interval carries said to differ.

    Broken by showing one block, or by a run of another profile.
    """
    place = Folder(str(results))
    with pytest.raises(ValueError, match="no run of profile standard"):
        renewed(EMPTY.format("standard"), place)
    file = next(results.glob("*/run.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "standard"}))
    text = renewed(EMPTY.format("standard"), place)
    assert "A CPU · 2 CPUs, 2026-01-01" in text
    assert "| closed-4, alpha, rest | 20.2 | 50 | – | – | 3× VALID |" in text
    assert re.search(r"- Images per second to 4 callers: alpha is [\d.]+–[\d.]+× beta\.", text)


def test_a_figure_that_a_block_lacks_is_left_out(results: Path) -> None:
    """A block has no percentile where it lies among failures, or where too few were answered:
    neither may flatter its stack. A block that is INVALID has no say.

    Broken by a mean over the blocks that happen to have the figure.
    """
    file = next(results.glob("*/run.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "standard"}))
    for trial in results.glob("*/trials/*.json"):
        row = json.loads(trial.read_text())
        if (row["stack"], row["load"], row["block"]) == ("alpha", "closed-4", 1):
            break
    else:
        raise AssertionError("there is no such block")

    def shown(**changed: object) -> str:
        trial.write_text(json.dumps(row | changed))
        text = renewed(EMPTY.format("standard"), Folder(str(results)))
        return next(line for line in text.splitlines() if "closed-4, alpha, rest |" in line)

    assert shown(latency_p50_ms=None).startswith("| closed-4, alpha, rest | 20.2 | – | – |")
    invalid = shown(latency_p50_ms=None, throughput_per_s=9000.0, verdict="INVALID")
    assert re.match(r"\| closed-4, alpha, rest \| 2\d\.\d \| 50 \|", invalid)


def test_what_cannot_be_told_is_no_tie(results: Path) -> None:
    """With fewer blocks than an interval takes nothing is said of who is faster, not even that
    nobody is. Broken by taking no interval for one that holds 1."""
    file = next(results.glob("*/run.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "standard"}))
    compared = next(results.glob("*/comparisons.json"))
    held = json.loads(compared.read_text())
    none = {"distinguishable": None, "ratio_low": None, "ratio_high": None, "blocks": 2}
    held["comparisons"] = [row | none for row in held["comparisons"]]
    compared.write_text(json.dumps(held))
    text = renewed(EMPTY.format("standard"), Folder(str(results)))
    assert "alpha and beta: 2 blocks with both, too few to tell" in text
    assert "not distinguishable" not in text


def test_each_group_has_a_table(results: Path) -> None:
    """Its newest standard run's, with columns for what streams. Broken by the newest run alone, or
    by the first group alone."""
    place = Folder(str(results))
    file = next(results.glob("*/run.json"))
    facts = json.loads(file.read_text()) | {"profile": "standard"}
    file.write_text(json.dumps(facts))
    other = results / "20260102-000000-beef"
    (other / "trials").mkdir(parents=True)
    facts |= {"run_id": other.name, "started_at": "2026-01-02T00:00:00Z"}
    (other / "run.json").write_text(json.dumps(facts))
    for block in (1, 2, 3):
        row = trial_row(
            "gamma", block, run_id=other.name, group_id="2-text", unit="tokens", ttft_p50_ms=80.0
        )
        (other / "trials" / f"{block}.json").write_text(json.dumps(row))
    text = renewed(EMPTY.format("standard"), place)
    assert re.findall("^### .*", text, re.M) == [
        "### [1-image-classification](groups/1-image-classification/)",
        "### [2-text](groups/2-text/)",
    ]
    heading = (
        "| load, stack, interface | tokens/s | first token p50 ms | per token p50 ms | p50 ms |"
    )
    assert heading in text
    assert "| closed-4, gamma, rest | 10.2 | 80 | – | 50 | – | – | 3× VALID |" in text
    assert "- Too few blocks, or only one stack: no answer." in text


def test_precisions_are_averaged_apart(results: Path) -> None:
    """A row of int8 beside one of fp32 is another experiment. Broken by a mean over the two."""
    place = Folder(str(results))
    file = next(results.glob("*/run.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "standard"}))
    for trial in results.glob("*/trials/*.json"):
        row = json.loads(trial.read_text())
        if (row["stack"], row["load"], row["block"]) == ("alpha", "closed-4", 1):
            more = {"precision": "int8", "trial_id": "int8", "throughput_per_s": 4000.0}
            (trial.parent / "int8.json").write_text(json.dumps(row | more))
            break
    text = renewed(EMPTY.format("standard"), place)
    rows = [line for line in text.splitlines() if line.startswith("| closed-4, alpha, rest, ")]
    assert len(rows) == 1 and " int8** | 4,000.0 |" in rows[0] and rows[0].endswith("1× VALID |")
    assert "| closed-4, alpha, rest | 20.2 |" in text


def test_no_results_is_said(tmp_path: Path) -> None:
    """A table of nothing must not replace one of figures."""
    with pytest.raises(ValueError, match="measure first"):
        renewed(EMPTY.format("overhead"), Folder(str(tmp_path)))


def test_the_documents_show_the_committed_results() -> None:
    """What the documents say is what results/ holds. Broken by a figure that was typed by hand."""
    places = 0
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        places += len(PLACE.findall(text))
        assert renewed(text, Folder(str(RESULTS))) == text, f"{document.name}: run `make tables`"
        assert len(re.findall("<!-- end of", text)) == len(PLACE.findall(text))
    assert places == len(TABLES)
