"""What the generator stamped, held against a null server that wrote down what it really did."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from metrics.compute import SQL, MetricsError, define_percentiles
from metrics.records import RECORD, connection

# The server's log, ../../k6/nullserver/log.go, as far as it is used here.
ENTRY = "STRUCT(request BIGINT, received_ns BIGINT, sent_ns BIGINT[])[]"


@dataclass(frozen=True)
class Load:
    """One load of the null server: records whose `units` are its numbers of the requests, its log.

    `requests` is a Parquet file of store_records; times are CLOCK_MONOTONIC nanoseconds.
    """

    requests: Path
    log: Path
    window_ns: tuple[int, int]


def calibration_errors(load: Load) -> list[dict[str, Any]]:
    """Rows of figure, samples, p50_ms, p99_ms, max_ms (../sql/calibration/errors.sql).

    Raises MetricsError where nothing matches: a comparison of nothing proves nothing.
    """
    return _rows([load], "calibration/errors.sql")


def interface_overhead(loads: Sequence[Load]) -> dict[str, Any]:
    """What the interface added to the server's own time over all these loads, with intervals.

    The columns of ../sql/calibration/overhead.sql. Raises MetricsError where nothing matches.
    """
    (row,) = _rows(loads, "calibration/overhead.sql")
    return row


def reported(requests: Path, window_ns: tuple[int, int]) -> dict[str, Any]:
    """The latencies that a tool gave: the columns of ../sql/calibration/reported.sql."""
    with connection() as db:
        define_percentiles(db)
        _set_context(db, window_ns, stalled=False)
        db.execute("create table requests as select * from read_parquet(?)", [str(requests)])
        (row,) = _query(db, "calibration/reported.sql")
        return row


def known_truth(load: Load, *, stalled: bool) -> dict[str, Any]:
    """What callers had to wait by the server's record: ../sql/calibration/crosscheck.sql.

    `stalled`: the server was told to send nothing for a while. Raises MetricsError where nothing
    matches.
    """
    with _matched([load]) as db:
        _set_context(db, load.window_ns, stalled=stalled)
        (row,) = _query(db, "calibration/crosscheck.sql")
        return row


def _set_context(
    db: duckdb.DuckDBPyConnection, window_ns: tuple[int, int], *, stalled: bool
) -> None:
    db.execute(
        "create table context as select ?::bigint as window_start_ns,"
        " ?::bigint as window_end_ns, ?::boolean as stalled",
        [*window_ns, stalled],
    )


def _query(db: duckdb.DuckDBPyConnection, definition: str) -> list[dict[str, Any]]:
    cursor = db.execute((SQL / definition).read_text("utf-8"))
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _rows(loads: Sequence[Load], definition: str) -> list[dict[str, Any]]:
    with _matched(loads) as db:
        return _query(db, definition)


@contextmanager
def _matched(loads: Sequence[Load]) -> Generator[duckdb.DuckDBPyConnection]:
    """The table `matched`: the window's answered requests beside what the server did for each."""
    with connection() as db:
        define_percentiles(db)
        columns = ", ".join(f"{name} {kind}" for name, kind in RECORD.items())
        db.execute(
            f"create table matched ({columns}, received_ns bigint, truth_ns bigint[])",
        )
        for load in loads:
            db.execute(
                "insert into matched select r.*, s.received_ns, s.sent_ns from read_parquet(?) as r"
                " inner join (select unnest(requests, recursive := true) from read_json("
                "?, columns={requests: ?}, maximum_object_size=1073741824)) as s"
                " on s.request = r.units::bigint"
                " where r.ok and r.intended_ns >= ? and r.intended_ns < ?",
                [str(load.requests), str(load.log), ENTRY, *load.window_ns],
            )
        found = db.execute("select count(*) from matched").fetchone()
        if not found or not found[0]:
            where = ", ".join(str(load.requests) for load in loads)
            raise MetricsError(f"{where}: no request matches the null server's record")
        yield db
