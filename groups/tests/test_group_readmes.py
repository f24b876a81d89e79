"""The questions that a group's README asks the results, asked as they stand there."""

import json
import re

import pytest

from bench import folders
from bench.paths import ROOT
from reports.query import main

QUERY = re.compile(r'^make query Q="(.+)"$', re.M)
ASKED = [
    pytest.param(sql, id=f"{group.name}-{number}")
    for group in folders.all_groups()
    for number, sql in enumerate(QUERY.findall((group / "README.md").read_text()))
]


def test_questions_are_found() -> None:
    """Breaks if the pattern above stops finding them: then nothing is asked below."""
    assert len(ASKED) >= 4


@pytest.mark.parametrize("sql", ASKED)
def test_the_committed_results_answer_it(sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With at least a row. Breaks when a column is renamed, or a group's runs are moved away."""
    assert main(["--results", str(ROOT / "results"), "--format", "json", sql]) == 0
    assert json.loads(capsys.readouterr().out)
