"""The front page's list of what is compared before anything is timed."""

import json
import re
from pathlib import Path

import pytest

from reports.columns import RESULTS
from reports.probe_list import demand, probe_list

GROUP = RESULTS.parent / "groups" / "1-image-classification"


def test_what_the_gate_sends_is_what_is_counted(tmp_path: Path) -> None:
    """Two probes of ten payloads, eight of which are held back. Broken by counting all of them, or
    those that the gate never sees."""
    folder = tmp_path / "1-image-classification"
    (folder / "payloads").mkdir(parents=True)
    (folder / "group.toml").write_text((GROUP / "group.toml").read_text("utf-8"))
    payloads = [{"name": f"{n}", "text": f"{n}", "audit": n > 1, "probe": True} for n in range(10)]
    payloads.append({"name": "more", "text": "more"})
    (folder / "payloads" / "manifest.json").write_text(json.dumps(payloads))
    title = "[Image classification](groups/1-image-classification/)"
    assert probe_list(tmp_path).splitlines()[2:] == [
        f"| {title}, fp32: the same top 5, each probability within 0.001 | 2 |",
        f"| {title}, fp16: the same top 5, each probability within 0.005 | 2 |",
    ]


@pytest.mark.parametrize(
    ("parity", "precision", "words"),
    [
        ({"kind": "top_k", "k": 3, "tolerance": {"fp32": 0.01}}, "fp32", "top 3, .* within 0.01$"),
        ({"kind": "cosine", "tolerance": {"fp32": 1e-4, "int8": 0.02}}, "int8", "at least 0.98$"),
        ({"kind": "tokens", "tolerance": {"fp32": 1e-3}}, "fp32", "^every .* by 0.001 or less$"),
        (
            {"kind": "tokens", "tolerance": {"bf16": 0.1}, "first_tokens": {"bf16": 4}},
            "bf16",
            "^the first 4 greedy tokens, .* by 0.1 or less$",
        ),
        ({"kind": "other", "tolerance": {"fp32": 0.5}}, "fp32", "^other within 0.5$"),
    ],
)
def test_what_is_asked_of_an_answer(parity: dict[str, object], precision: str, words: str) -> None:
    """In the precision's own tolerance. Broken by that of another one."""
    assert re.search(words, demand(parity, precision))
