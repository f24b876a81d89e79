"""Raw records and samples to typed Parquet."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

# The raw record of ../../README.md, in its order. A stamp of 0 means "never happened" and becomes
# null.
STAMPS = ("intended_ns", "sent_ns", "first_ns", "done_ns")
LISTS = ("payloads", "chunk_ns", "chunk_tokens")
RECORD = {
    "vu": "BIGINT",
    "slot": "BIGINT",
    "payloads": "BIGINT[]",
    "intended_ns": "BIGINT",
    "sent_ns": "BIGINT",
    "first_ns": "BIGINT",
    "done_ns": "BIGINT",
    "connect_ns": "BIGINT",
    "chunk_ns": "BIGINT[]",
    "chunk_tokens": "BIGINT[]",
    "status": "INTEGER",
    "ok": "BOOLEAN",
    "units": "DOUBLE",
    "bytes": "BIGINT",
    "error": "VARCHAR",
}
SAMPLE = {
    "t_ns": "BIGINT",
    "server_cpu_ns": "BIGINT",
    "server_rss_bytes": "BIGINT",
    "generator_cpu_ns": "BIGINT",
    "gpu_utilization": "DOUBLE",
    "gpu_memory_bytes": "BIGINT",
    "gpu_power_w": "DOUBLE",
}


class RecordsError(ValueError):
    """Raw records that are not what the contract says; the message names the file and the fault."""


def store_records(csv: Path, parquet: Path) -> int:
    """Write the generator's CSV as typed Parquet (zstd, by intended_ns); returns the records.

    A torn last line (the generator was killed) is left out; a missing or empty file gives a valid
    Parquet file of 0 rows. Raises RecordsError, naming the file, when the header lacks a column, a
    value has the wrong type or the Parquet file can't be written.
    """
    with connection() as db:
        db.execute(f"create table requests ({_declare(RECORD)})")
        header = _header(csv)
        if header:
            lacking = [name for name in RECORD if name not in header]
            if lacking:
                raise RecordsError(f"{csv}: the header lacks {', '.join(lacking)}")
            with _whole_lines(csv) as whole:
                try:
                    db.execute(
                        f"insert into requests select {_select()} from read_csv("
                        "?, auto_detect=false, header=true, delim=',', quote='\"', escape='\"',"
                        " max_line_size=16000000, columns=?) order by intended_ns",
                        [str(whole), dict.fromkeys(header, "VARCHAR")],
                    )
                except duckdb.Error as error:
                    raise RecordsError(f"{csv}: {str(error).splitlines()[0]}") from None
        return _write(db, "requests", parquet)


def store_samples(rows: Iterable[Mapping[str, Any]], parquet: Path) -> int:
    """Write the sampler's rows as Parquet; returns their number. What a row lacks is null.

    gpu_utilization is a share from 0 to 1; *_cpu_ns are cumulative. Raises RecordsError for an
    unknown column.
    """
    values: list[list[Any]] = []
    for row in rows:
        unknown = sorted(set(row) - set(SAMPLE))
        if unknown:
            raise RecordsError(f"samples: unknown column {', '.join(unknown)}")
        values.append([row.get(name) for name in SAMPLE])
    with connection() as db:
        db.execute(f"create table samples ({_declare(SAMPLE)})")
        if values:
            marks = ", ".join("?" for _ in SAMPLE)
            db.execute("begin")
            db.executemany(f"insert into samples values ({marks})", values)
            db.execute("commit")
        return _write(db, "samples", parquet)


@contextmanager
def connection() -> Generator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that keeps to this process's CPUs and spills outside the checkout."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    db = duckdb.connect(config={"threads": threads or 1, "temp_directory": tempfile.gettempdir()})
    try:
        yield db
    finally:
        db.close()


def _declare(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def _select() -> str:
    return ", ".join(_cast(name, kind) for name, kind in RECORD.items())


def _cast(name: str, kind: str) -> str:
    if name in LISTS:
        return (
            f"case when coalesce({name}, '') = '' then [] "
            f"else cast(string_split({name}, ';') as {kind}) end as {name}"
        )
    if name in STAMPS:
        return f"nullif(cast(nullif({name}, '') as {kind}), 0) as {name}"
    if kind == "VARCHAR":
        return f"coalesce({name}, '') as {name}"
    return f"cast(nullif({name}, '') as {kind}) as {name}"


def _write(db: duckdb.DuckDBPyConnection, table: str, parquet: Path) -> int:
    parquet.parent.mkdir(parents=True, exist_ok=True)
    partial = parquet.with_name(parquet.name + ".partial")
    target = str(partial).replace("'", "''")
    try:
        db.execute(f"copy {table} to '{target}' (format parquet, compression zstd)")
    except duckdb.Error as error:
        with suppress(OSError):
            partial.unlink()
        raise RecordsError(f"{parquet}: {str(error).splitlines()[0]}") from None
    partial.replace(parquet)
    row = db.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _header(csv: Path) -> list[str]:
    try:
        with csv.open(encoding="utf-8", errors="replace", newline="") as file:
            line = file.readline()
    except FileNotFoundError:
        return []
    return [name.strip() for name in line.split(",")] if line.endswith("\n") else []


@contextmanager
def _whole_lines(csv: Path) -> Generator[Path]:
    """The file itself, or a copy up to its last complete record where the writer was cut off."""
    size = csv.stat().st_size
    with csv.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.rfind(b"\n") + 1
        quotes = _count(data, end)
        # An odd number of quotes: that newline lies inside a quoted error text that was never
        # closed.
        while end and quotes % 2:
            start = data.rfind(b"\n", 0, end - 1) + 1
            quotes -= data[start:end].count(b'"')
            end = start
    if end == size:
        yield csv
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / csv.name
        shutil.copyfile(csv, copy)
        os.truncate(copy, end)
        yield copy


def _count(data: mmap.mmap, end: int, step: int = 1 << 24) -> int:
    return sum(data[at : min(at + step, end)].count(b'"') for at in range(0, end, step))
