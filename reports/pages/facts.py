"""What the questions ask beside the results, as tables: titles, prices, claims, stack folders.

All of it lies in files of this checkout; a group that the checkout lacks has none.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from pages.complexity import complexity
from reports.ask import QuestionError, by_name, one_line

REPORTS = Path(__file__).resolve().parents[1]
GROUPS = REPORTS.parent / "groups"
QUESTIONS = REPORTS / "questions"
# Enough for any run: blocks of an interval, and pairs that it is corrected for.
MOST_BLOCKS, MOST_PAIRS = 60, 500


def load_facts(db: duckdb.DuckDBPyConnection, run: str | None, groups: Path = GROUPS) -> None:
    """Make the tables and views that reports/questions build on; `run`: only that run counts."""
    claims = told()
    _table(db, "chosen", "run_id VARCHAR", [(run,)] if run else [])
    _table(db, "group_titles", "group_id VARCHAR, title VARCHAR, question VARCHAR", _groups(groups))
    _table(
        db,
        "stack_titles",
        "group_id VARCHAR, stack VARCHAR, title VARCHAR, summary VARCHAR",
        _stacks(groups),
    )
    _table(
        db,
        "complexity",
        "group_id VARCHAR, stack VARCHAR, component VARCHAR, value DOUBLE",
        complexity(groups),
    )
    _table(
        db,
        "prices",
        "cpu_model VARCHAR, cpus BIGINT, memory_gib DOUBLE, gpu VARCHAR, usd_per_hour DOUBLE,"
        " as_of DATE, source VARCHAR",
        _prices(REPORTS / "prices.toml"),
    )
    _table(
        db,
        "claims",
        "number BIGINT, group_id VARCHAR, part VARCHAR, stack VARCHAR, said VARCHAR,"
        " figure VARCHAR, claimed VARCHAR, column_name VARCHAR",
        _claims(claims),
    )
    _table(
        db,
        "general_claims",
        "number BIGINT, part VARCHAR, kind VARCHAR, name VARCHAR, said VARCHAR, figure VARCHAR,"
        " claimed VARCHAR, column_name VARCHAR",
        _general(claims),
    )
    db.execute(
        "create temp table t_quantiles as select"
        " unnest($1::BIGINT[]) as n, unnest($2::BIGINT[]) as pairs, unnest($3::DOUBLE[]) as t",
        _quantiles(),
    )
    db.execute((QUESTIONS / "views.sql").read_text("utf-8"))


def answer(db: duckdb.DuckDBPyConnection, question: str, **given: str) -> list[dict[str, Any]]:
    """The rows of reports/questions/<question>.sql. Raises QuestionError."""
    try:
        return by_name(db.execute((QUESTIONS / f"{question}.sql").read_text("utf-8"), given))
    except duckdb.Error as error:
        raise QuestionError(f"{question}.sql: {one_line(error)}") from None
    except RuntimeError as error:
        # So DuckDB tells a Ctrl-C.
        if "interrupted" in str(error):
            raise KeyboardInterrupt from None
        raise


def _table(
    db: duckdb.DuckDBPyConnection, name: str, columns: str, rows: Iterable[tuple[Any, ...]]
) -> None:
    db.execute(f"create temp table {name} ({columns})")
    if listed := list(rows):
        places = ", ".join(f"({', '.join('?' * len(row))})" for row in listed)
        db.execute(
            f"insert into {name} values {places}", [value for row in listed for value in row]
        )


def _groups(groups: Path) -> Iterable[tuple[str, str, str]]:
    for file in sorted(groups.glob("*/group.toml")):
        facts = tomllib.loads(file.read_text("utf-8"))
        yield file.parent.name, facts["title"], facts["question"]


def _stacks(groups: Path) -> Iterable[tuple[str, str, str, str]]:
    for file in sorted(groups.glob("*/*/stack.toml")):
        facts = tomllib.loads(file.read_text("utf-8"))
        yield file.parents[1].name, file.parent.name, facts["title"], facts.get("summary", "")


def _prices(file: Path) -> Iterable[tuple[Any, ...]]:
    for price in tomllib.loads(file.read_text("utf-8")).get("machine", []):
        yield (
            price["cpu_model"],
            price.get("cpus"),
            price.get("memory_gib"),
            price.get("gpu"),
            price["usd_per_hour"],
            price["as_of"],
            price["source"],
        )


def told() -> dict[str, Any]:
    """The study's earlier claims as reports/claims.toml holds them; "about": their source."""
    return tomllib.loads((REPORTS / "claims.toml").read_text("utf-8"))


def _claims(told: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    number = 0
    for claim in told["claim"]:
        for name, figure in claim["figures"].items():
            number += 1
            column = told["measured"].get(name)
            part = claim.get("part")
            yield number, claim["group"], part, claim["stack"], claim["said"], name, figure, column


def _general(told: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    number = 0
    parts = {"server": "servers", "interface": "interfaces"}
    for claim in told["general"]:
        for name, figure in claim["figures"].items():
            number += 1
            column = told["general_measured"].get(name)
            kind = claim["kind"]
            yield number, parts[kind], kind, claim["name"], claim["said"], name, figure, column


def _quantiles() -> list[list[float]]:
    """Student's t at 1 - 0.05 / pairs, two-sided, for n values: the columns n, pairs and t."""
    n, pairs = numpy.mgrid[3 : MOST_BLOCKS + 1, 1 : MOST_PAIRS + 1]
    t = cast("numpy.ndarray[Any, Any]", stdtrit(n - 1, 1 - 0.025 / pairs))
    return [column.ravel().tolist() for column in (n, pairs, t)]
