"""The generator's error against a null server that wrote down what it really did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metrics.compute import SQL, MetricsError
from metrics.records import connection


def calibration_errors(
    requests: Path, server: Sequence[tuple[int, list[int]]], window_ns: tuple[int, int]
) -> list[dict[str, Any]]:
    """Rows of figure, samples, p50_ms, p99_ms, max_ms (../sql/calibration/errors.sql).

    `requests` is a Parquet file of store_records whose `units` are the server's numbers of the
    requests; `server` lists (number, times it sent each chunk); times are CLOCK_MONOTONIC ns.
    Raises MetricsError where nothing matches: a comparison of nothing proves nothing.
    """
    with connection() as db:
        db.execute("create table server (request bigint, sent_ns bigint[])")
        if server:
            db.executemany("insert into server values (?, ?)", [list(entry) for entry in server])
        db.execute(
            "create table context as "
            "select ?::bigint as window_start_ns, ?::bigint as window_end_ns",
            list(window_ns),
        )
        db.execute("create table requests as select * from read_parquet(?)", [str(requests)])
        cursor = db.execute((SQL / "calibration" / "errors.sql").read_text("utf-8"))
        names = [column[0] for column in cursor.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if not rows:
        raise MetricsError(f"{requests}: no request matches the null server's record")
    return rows
