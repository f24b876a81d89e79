"""What measured tables of documents have in common: figures asked for, and written as Markdown."""

from typing import Any

from reports.ask import by_name
from reports.files import Folder
from reports.load import open_results

Row = dict[str, Any]


def selected(folder: Folder, sql: str) -> list[Row]:
    """A query's rows by column name."""
    with open_results(folder) as loaded:
        return by_name(loaded.db.execute(sql))


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a reader; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def markdown(heading: list[str], lines: list[list[str]]) -> str:
    """A Markdown table whose figures are to the right."""
    table = [heading, ["---"] + ["---:"] * (len(heading) - 1), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
