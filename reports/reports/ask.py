"""Runs a user's SQL: queries only, and every error is one line."""

import difflib
import re
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from reports.columns import in_view, load_columns

READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class QuestionError(ValueError):
    """SQL that can't be answered; the message is one line that names the problem."""


@dataclass(frozen=True)
class Answer:
    """Column names, their DuckDB types and the rows."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def ask(db: duckdb.DuckDBPyConnection, sql: str, limit: int | None = None) -> list[Answer]:
    """The answers of each statement in `sql`, at most `limit` rows each (`more`: there were more).

    Raises QuestionError for SQL that is broken, asks for what isn't there or changes things.
    """
    try:
        statements = db.extract_statements(sql)
        if not statements:
            raise QuestionError("there is no SQL to run")
        return [_answer(db, statement, limit) for statement in statements]
    except duckdb.Error as error:
        raise QuestionError(one_line(error)) from None


def by_name(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of what was just executed, each as {column: value}."""
    names = [str(column[0]) for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def ask_arrow(db: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """One query's answer as a pyarrow table, types kept. Raises QuestionError."""
    try:
        statements = db.extract_statements(sql)
        if len(statements) != 1:
            raise QuestionError("parquet takes exactly one query")
        _refuse_changes(statements[0])
        with _reading(db):
            return db.sql(statements[0].query).to_arrow_table()  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    except duckdb.Error as error:
        raise QuestionError(one_line(error)) from None


@contextmanager
def ask_stream(db: duckdb.DuckDBPyConnection, sql: str) -> Generator[Any]:
    """One query's answer as a pyarrow RecordBatchReader: a part at a time. Raises QuestionError."""
    try:
        statement = db.extract_statements(sql)[0]
        _refuse_changes(statement)
        # Closed first: a transaction can't end while its answer is open.
        with _reading(db), closing(db.sql(statement.query).to_arrow_reader()) as batches:  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType,reportUnknownArgumentType]
            yield batches
    except duckdb.Error as error:
        raise QuestionError(one_line(error)) from None


@contextmanager
def _reading(db: duckdb.DuckDBPyConnection) -> Generator[None]:
    """A transaction that can't write: DuckDB takes DELETE inside a WITH, a SELECT by its type."""
    db.execute("begin transaction read only")
    try:
        yield
    finally:
        db.execute("rollback")


def _refuse_changes(statement: duckdb.Statement) -> None:
    if statement.type not in READING:
        raise QuestionError(f"only queries: the results are read-only ({statement.type.name})")


def _answer(
    db: duckdb.DuckDBPyConnection, statement: duckdb.Statement, limit: int | None
) -> Answer:
    _refuse_changes(statement)
    with _reading(db):
        cursor = db.execute(statement)
        described = cursor.description or []
        rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit + 1)
    return Answer(
        columns=[str(column[0]) for column in described],
        types=[str(column[1]) for column in described],
        rows=rows[:limit],
        more=limit is not None and len(rows) > limit,
    )


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without its drawing, with the nearest names where a column is unknown."""
    text = re.split(r"\n\s*LINE \d+:", str(error))[0]
    # What a file system of ours refused comes with its Python traceback.
    text = text.strip().splitlines()[-1] if "Traceback (most" in text else text
    text = re.sub(r"\s+", " ", text).strip()
    unknown = re.search(r'column (?:named )?"([^"]+)"', text, re.I)
    if unknown and re.search("not found|not have", text):
        text, _, listed = text.partition(" Candidate bindings:")
        homes = [v for v in load_columns() if unknown[1] in {column.name for column in in_view(v)}]
        # DuckDB lists columns of the query's own tables, however far from the name.
        here = re.findall(r'"([^"]+)"', listed)
        near = difflib.get_close_matches(unknown[1], here, n=3, cutoff=0.5)
        text += f" It is a column of {', '.join(homes)}." if homes else ""
        text += f" Nearest here: {', '.join(near)}" if near else ""
        text += "" if homes or near else " See: make columns"
    return text
