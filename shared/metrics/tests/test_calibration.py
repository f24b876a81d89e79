"""The null server's record against the generator's stamps, on figures small enough to check."""

import json
from pathlib import Path

import pytest

from metrics import (
    Load,
    MetricsError,
    calibration_errors,
    interface_overhead,
    known_truth,
    reported,
    store_records,
)

HEADER = (
    "vu,slot,payloads,intended_ns,sent_ns,first_ns,done_ns,connect_ns,chunk_ns,chunk_tokens,"
    "status,ok,units,bytes,error\n"
)
MS = 1_000_000


def load(folder: Path, rows: list[str], entries: list[dict[str, object]]) -> Load:
    """A load of these records and this log; its window begins at 1 ms."""
    folder.mkdir(exist_ok=True)
    (folder / "records.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    store_records(folder / "records.csv", folder / "requests.parquet")
    (folder / "log.json").write_text(json.dumps({"requests": entries}))
    return Load(folder / "requests.parquet", folder / "log.json", (1 * MS, 1000 * MS))


def entry(number: int, received: float, *sent: float) -> dict[str, object]:
    """What the server did for one request; times in ms."""
    return {
        "request": number,
        "protocol": "sse",
        "connection": 1,
        "bytes": 3,
        "received_ns": int(received * MS),
        "sent_ns": [int(at * MS) for at in sent],
    }


def test_errors_are_stamps_here_minus_stamps_there(tmp_path: Path) -> None:
    """By the server's number, not by order. Broken by pairing rows, or by a wrong chunk or sign."""
    # Started in the other order than the server numbered them; the third lies before the window.
    rows = [
        f"1,0,0,{10 * MS},{11 * MS},{20 * MS},{45 * MS},0,{20 * MS};{45 * MS},1;1,200,true,2,9,",
        f"2,1,0,{12 * MS},{14 * MS},{31 * MS},{41 * MS},0,{31 * MS};{41 * MS},1;1,200,true,1,9,",
        f"3,2,0,{MS // 2},{90 * MS},{91 * MS},{99 * MS},0,{91 * MS};{99 * MS},1;1,200,true,3,9,",
    ]
    server = [entry(1, 14.5, 30, 39), entry(2, 12, 18, 42), entry(3, 90.5, 90.6, 98)]
    found = {row["figure"]: row for row in calibration_errors(load(tmp_path, rows, server))}
    assert {name: row["samples"] for name, row in found.items()} == dict.fromkeys(
        ("itl", "late", "latency", "ttft"), 2
    )
    for figure, low, high in (
        ("late", 1, 2),
        ("ttft", 1, 2),  # 31 - 30, 20 - 18
        ("latency", 2, 3),  # 41 - 39, 45 - 42
        ("itl", 1, 1),  # |10 - 9|, |25 - 24|
    ):
        assert found[figure]["p50_ms"] == pytest.approx(low)
        assert found[figure]["max_ms"] == pytest.approx(high)


def test_overhead_is_what_the_server_did_not_take(tmp_path: Path) -> None:
    """Loads are pooled, opening a connection stands apart. Broken by charging either to the other.

    A load's own log numbers its own requests: the second load's numbers begin at 1 again.
    """
    loads: list[Load] = []
    for half in range(2):
        rows, server = [], []
        for i in range(1, 51):
            start, added = 10 * i, 1 + half
            # Opening takes 2 ms, the server 3 ms, the interface 1 or 2 ms.
            done = start + 2 + 3 + added
            stamps = ",".join(str(at * MS) for at in (start, start, done, done, 2))
            rows.append(f"1,{i},0,{stamps},,,200,true,{i},9,")
            server.append(entry(i, start + 2, start + 5))
        loads.append(load(tmp_path / str(half), rows, server))
    found = interface_overhead(loads)
    assert (found["requests"], found["connections"]) == (100, 100)
    assert found["overhead_p50_ms"] == pytest.approx(1) and found["overhead_p95_ms"] == 2
    assert found["overhead_p50_ms_low"] == 1 and found["overhead_p50_ms_high"] == 2
    assert found["connect_p50_ms"] == pytest.approx(2)


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    """A comparison of nothing would report no error at all: it must not pass for a good one."""
    row = f"1,0,0,{10 * MS},{11 * MS},{20 * MS},{45 * MS},0,,,200,true,7,9,"
    with pytest.raises(MetricsError, match="no request matches"):
        calibration_errors(load(tmp_path, [row], [entry(1, 1, 2)]))
    with pytest.raises(MetricsError, match="no request matches"):
        interface_overhead([load(tmp_path, [], [])])


def test_the_truth_is_what_an_even_stream_of_callers_would_have_waited(tmp_path: Path) -> None:
    """Callers who come while the server is silent wait for its end, asked or not.

    The server needs 10 ms, answers until 490 ms and is silent until 700 ms: of the callers of
    1 … 999 ms one in five waits up to 220 ms, though only one request was under way. Broken by
    taking the truth from the requests that a waiting caller happened to send."""
    rows, server = [], []
    for i in range(1, 81):
        start = 10 * i if i < 50 else 10 * i + 200
        done = start + (10 if i != 49 else 210)
        stamps = ",".join(str(int(at * MS)) for at in (start, start, done + 1, done + 1, 0))
        rows.append(f"1,{i},0,{stamps},,,200,true,{i},9,")
        server.append(entry(i, start, done))
    one = load(tmp_path, rows, server)
    calm, stalled = known_truth(one, stalled=False), known_truth(one, stalled=True)
    assert calm["truth_p50_ms"] == calm["truth_max_ms"] == stalled["truth_p50_ms"] == 10
    # Callers of 480 … 690 ms wait for 700 ms: evenly 220 … 10 ms.
    assert stalled["truth_max_ms"] == pytest.approx(220, abs=2)
    assert stalled["truth_p95_ms"] == pytest.approx(170, abs=5)
    assert stalled["added_p50_ms"] == pytest.approx(1)
    seen = reported(one.requests, one.window_ns)
    assert (seen["requests"], seen["errors"]) == (79, 0) and seen["reported_p95_ms"] == 11
