"""Raw CSV to Parquet: nothing lost or invented, whenever the generator was killed."""

import csv
import io
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import RecordsError, store_records, store_samples
from metrics.records import RECORD, SAMPLE

HEADER = ",".join(RECORD) + "\n"


def line(slot: int, error: str = "") -> str:
    """One record of a stream of two chunks as CSV, quoted as RFC 4180 says."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        [0, slot, "3;4", 100 + slot, 110, 150, 200, 0, "160;180", "1;2", 200, "true", 3, 99, error]
    )
    return out.getvalue()


def read(parquet: Path) -> list[tuple[object, ...]]:
    """All rows of a stored file."""
    with duckdb.connect() as db:
        return db.execute("from read_parquet(?)", [str(parquet)]).fetchall()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A full disk shows here first: broken by DuckDB's own exception, which nobody expects."""
    source, stored = tmp_path / "r.csv", tmp_path / "r.parquet"
    source.write_text(HEADER + line(1))
    (tmp_path / "r.parquet.partial").mkdir()
    with pytest.raises(RecordsError, match=r"r\.parquet: "):
        store_records(source, stored)


def test_types_and_values(tmp_path: Path) -> None:
    """Each column arrives with its type; 0 stamps are null. Broken by a guessed CSV type."""
    source, stored = tmp_path / "r.csv", tmp_path / "sub" / "r.parquet"
    source.write_text(
        HEADER + line(1, 'said "no"\nand left, so') + "0,2,5,90,0,0,0,0,,,-1,false,0,0,dropped\n"
    )
    assert store_records(source, stored) == 2
    dropped, answered = read(stored)
    assert dropped == (0, 2, [5], 90, None, None, None, 0, [], [], -1, False, 0.0, 0, "dropped")
    assert answered[2] == [3, 4]
    assert answered[8:10] == ([160, 180], [1, 2])
    assert answered[14] == 'said "no"\nand left, so'
    with duckdb.connect() as db:
        described = db.execute("describe from read_parquet(?)", [str(stored)]).fetchall()
    assert {name: kind for name, kind, *_ in described} == RECORD


WHOLE = [line(1), line(2, 'a "b"\nc,d'), line(3, "€\n\n")]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len("".join(WHOLE).encode())))
def test_a_torn_file_gives_its_whole_records(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    """Cut at any byte, exactly the records that are complete before it are stored.

    Broken by reading to the last newline, which may lie inside a quoted error, or by taking a line
    whose last number was cut short."""
    folder = tmp_path_factory.mktemp("torn")
    body = "".join(WHOLE).encode()
    (folder / "r.csv").write_bytes(HEADER.encode() + body[:cut])
    ends = [len("".join(WHOLE[:n]).encode()) for n in range(1, len(WHOLE) + 1)]
    whole = sum(end <= cut for end in ends)
    assert store_records(folder / "r.csv", folder / "r.parquet") == whole
    assert [row[1] for row in read(folder / "r.parquet")] == [1, 2, 3][:whole]


@pytest.mark.parametrize("content", [None, b"", b"vu,slo", HEADER.encode()])
def test_no_records_is_a_valid_file(tmp_path: Path, content: bytes | None) -> None:
    """No file, an empty one, half a header: 0 typed rows. Broken by an early return."""
    if content is not None:
        (tmp_path / "r.csv").write_bytes(content)
    assert store_records(tmp_path / "r.csv", tmp_path / "r.parquet") == 0
    assert read(tmp_path / "r.parquet") == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("vu,slot\n1,2\n", "payloads"),
        (HEADER + line(1).replace("200", "two hundred", 1), "two hundred"),
        (HEADER + "1,2,3\n" + line(1), "r.csv"),
    ],
)
def test_a_foreign_file_is_named(tmp_path: Path, content: str, named: str) -> None:
    """A fault before the end is no torn line: it is an error with the file's name."""
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(RecordsError, match=r"r\.csv") as raised:
        store_records(tmp_path / "r.csv", tmp_path / "r.parquet")
    assert named in str(raised.value)
    assert not (tmp_path / "r.parquet").exists()


def test_samples(tmp_path: Path) -> None:
    """Missing columns are null, unknown ones are refused. Broken by positional rows."""
    rows = [{"t_ns": 2, "gpu_power_w": 70.5}, {"t_ns": 3, "server_cpu_ns": 5}]
    assert store_samples(rows, tmp_path / "s.parquet") == 2
    assert read(tmp_path / "s.parquet") == [
        (2, None, None, None, None, None, 70.5),
        (3, 5, None, None, None, None, None),
    ]
    assert store_samples([], tmp_path / "none.parquet") == 0
    assert len(SAMPLE) == 7
    with pytest.raises(RecordsError, match="watts"):
        store_samples([{"t_ns": 1, "watts": 3}], tmp_path / "s.parquet")
