"""An answer as text: a table for people, CSV or JSON for scripts."""

import csv
import json
import math
from datetime import date
from decimal import Decimal
from typing import Any, TextIO

from reports.ask import Answer

# Beyond this many columns a table can't be read: each row becomes a list of name and value.
WIDE = 16


def cell(value: Any) -> str:
    """A value for people. Control characters are dropped: results may come from strangers."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal):
        size = abs(value)
        if not math.isfinite(value) or size >= 1e12 or 0 < size < 1e-3:
            return f"{value:.3g}"
        return f"{value:.{1 if size >= 100 else 2 if size >= 1 else 4}f}"
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return "".join(one if one.isprintable() else " " for one in str(value))


def print_table(answer: Answer, file: TextIO) -> None:
    """A rich table in a terminal, aligned columns elsewhere; wide rows stand upright."""
    rows = [[cell(value) for value in row] for row in answer.rows]
    names = [cell(name) for name in answer.columns]
    if len(names) > WIDE:
        _print_upright(names, rows, file)
    elif file.isatty():
        _print_rich(answer, names, rows, file)
    else:
        _print_plain(names, rows, file)
    if answer.more:
        print(f"… and more: the first {len(rows)} rows are shown; csv and json give all", file=file)


def _print_rich(answer: Answer, names: list[str], rows: list[list[str]], file: TextIO) -> None:
    # Here, for a pipe needs none of it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=True, header_style="bold")
    for name, kind in zip(names, answer.types, strict=True):
        number = kind in ("DOUBLE", "FLOAT", "HUGEINT", "NUMBER") or "INT" in kind
        table.add_column(Text(name), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    Console(file=file).print(table)


def _print_plain(names: list[str], rows: list[list[str]], file: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for line in (names, *rows):
        padded = (value.ljust(width) for value, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip(), file=file)


def _print_upright(names: list[str], rows: list[list[str]], file: TextIO) -> None:
    width = max(map(len, names))
    for number, row in enumerate(rows, 1):
        print(f"-- row {number}", file=file)
        for name, value in zip(names, row, strict=True):
            print(f"{name.ljust(width)}  {value}", file=file)
    if not rows:
        print("no rows", file=file)


def print_csv(answer: Answer, file: TextIO) -> None:
    """RFC 4180 with a header; null is an empty field, lists and structs are JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow(
            [json.dumps(v, default=_plain) if isinstance(v, list | dict) else v for v in row]
        )


def print_json(answer: Answer, file: TextIO) -> None:
    """A list of objects, one a row; NaN and infinity become null."""
    rows = [
        {name: _finite(value) for name, value in zip(answer.columns, row, strict=True)}
        for row in answer.rows
    ]
    json.dump(rows, file, default=_plain, ensure_ascii=False, indent=1, allow_nan=False)
    file.write("\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else str(value)
