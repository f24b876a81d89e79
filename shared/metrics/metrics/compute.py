"""One trial's figures: run every definition in ../sql over its raw records."""

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from duckdb.func import FunctionNullHandling

from metrics.ranks import percentile_ranks
from metrics.records import RECORD, SAMPLE, connection

SQL = Path(__file__).parent.parent / "sql"

# What the definitions may use besides requests and samples. Counters are differences over the
# window.
CONTEXT = {
    "window_start_ns": "BIGINT",
    "window_end_ns": "BIGINT",
    "slots_planned": "BIGINT",
    "burst_start_ns": "BIGINT",
    "burst_end_ns": "BIGINT",
    "load_kind": "VARCHAR",
    "users": "BIGINT",
    "rate_per_s": "DOUBLE",
    "client_batch": "BIGINT",
    "unit": "VARCHAR",
    "slo_latency_ms": "DOUBLE",
    "slo_ttft_ms": "DOUBLE",
    "slo_tpot_ms": "DOUBLE",
    "slo_share": "DOUBLE",
    "max_batch": "DOUBLE",
    "engine_throughput_per_s": "DOUBLE",
    "memory_idle_mb": "DOUBLE",
    "memory_peak_mb": "DOUBLE",
    "server_cpus": "DOUBLE",
    "generator_cpus": "DOUBLE",
    "queue_seconds_sum": "DOUBLE",
    "queue_seconds_count": "DOUBLE",
    "inference_seconds_sum": "DOUBLE",
    "inference_seconds_count": "DOUBLE",
    "batch_items_sum": "DOUBLE",
    "batch_executions_count": "DOUBLE",
    "refused_count": "DOUBLE",
    "cache_hits_count": "DOUBLE",
    "cache_lookups_count": "DOUBLE",
    "tokens_sum": "DOUBLE",
    "padded_tokens_sum": "DOUBLE",
    "kv_cache_usage": "DOUBLE",
}
Value = float | int | str | bool | None


class MetricsError(ValueError):
    """A figure that can't be computed; the message names the definition or the key at fault."""


def compute(requests: Path, samples: Path | None, context: Mapping[str, Value]) -> dict[str, Any]:
    """All figures of one trial as {trial column: number, bool or null}.

    `requests` and `samples` are Parquet files of store_records and store_samples, `context` the
    keys of CONTEXT (window_start_ns and window_end_ns are required, any other may be left out and
    is then null). Figures are null where they don't apply or where there is too little to compute
    them; never NaN or infinite. Raises MetricsError for an unknown key, an empty window, a file
    that can't be read or a broken definition.
    """
    with connection() as db:
        _load_context(db, context)
        _load(db, "requests", requests, RECORD)
        _load(db, "samples", samples, SAMPLE)
        _define_ranks(db)
        for name, statement in _definitions("base"):
            _run(db, name, statement)
        figures: dict[str, Any] = {}
        for name, statement in _definitions("."):
            for column, value in _row(db, name, statement).items():
                if column in figures:
                    raise MetricsError(f"{name}: {column} is defined twice")
                figures[column] = _plain(value)
        return figures


def define_percentiles(db: duckdb.DuckDBPyConnection) -> None:
    """The macros of ../sql/base/1-percentiles.sql."""
    _define_ranks(db)
    db.execute((SQL / "base" / "1-percentiles.sql").read_text("utf-8"))


def _define_ranks(db: duckdb.DuckDBPyConnection) -> None:
    db.create_function(  # pyright: ignore[reportUnknownMemberType]
        "percentile_ranks",
        percentile_ranks,
        ["BIGINT", "DOUBLE"],  # pyright: ignore[reportArgumentType]
        "STRUCT(low BIGINT, middle BIGINT, high BIGINT)",  # pyright: ignore[reportArgumentType]
        null_handling=FunctionNullHandling.SPECIAL,  # too few requests: a null result
    )


def _load_context(db: duckdb.DuckDBPyConnection, context: Mapping[str, Value]) -> None:
    unknown = sorted(set(context) - set(CONTEXT))
    if unknown:
        raise MetricsError(f"context: unknown key {', '.join(unknown)}")
    start, end = context.get("window_start_ns"), context.get("window_end_ns")
    if not (isinstance(start, int) and isinstance(end, int) and start < end):
        raise MetricsError(f"context: the window from {start} to {end} ns is empty or not given")
    columns = ", ".join(f"?::{kind} as {name}" for name, kind in CONTEXT.items())
    db.execute(f"create table context as select {columns}", [context.get(name) for name in CONTEXT])


def _load(
    db: duckdb.DuckDBPyConnection, table: str, parquet: Path | None, columns: Mapping[str, str]
) -> None:
    db.execute(f"create table {table} ({', '.join(f'{n} {kind}' for n, kind in columns.items())})")
    if parquet is None:
        return
    try:
        db.execute(
            f"insert into {table} by name select {', '.join(columns)} from read_parquet(?)",
            [str(parquet)],
        )
    except duckdb.Error as error:
        raise MetricsError(f"{parquet}: {str(error).splitlines()[0]}") from None


@cache
def _definitions(folder: str) -> list[tuple[str, str]]:
    return [(path.name, path.read_text("utf-8")) for path in sorted((SQL / folder).glob("*.sql"))]


def _run(db: duckdb.DuckDBPyConnection, name: str, statement: str) -> duckdb.DuckDBPyConnection:
    try:
        return db.execute(statement)
    except duckdb.Error as error:
        raise MetricsError(f"sql/{name}: {error}") from error


def _row(db: duckdb.DuckDBPyConnection, name: str, statement: str) -> dict[str, Any]:
    cursor = _run(db, name, statement)
    columns = [column[0] for column in cursor.description or []]
    rows = cursor.fetchall()
    if len(rows) != 1:
        raise MetricsError(f"sql/{name}: {len(rows)} rows where a definition gives exactly one")
    return dict(zip(columns, rows[0], strict=True))


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
