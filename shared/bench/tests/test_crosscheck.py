"""Other load generators: they send what k6 sends, and what they hide is shown by the record."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import clients, crosscheck
from bench.artefact import read_payloads
from bench.clients import Cell
from bench.cpus import split_cpus
from bench.environments import ensure_environment
from bench.group import load_group
from bench.paths import BUILD, ROOT
from bench.progress import Reporter
from bench.recording import SEED, as_entry, record_stack, wiretap
from bench.stack import load_stack
from bench.store import read_json, write_json
from reports.files import Folder
from reports.load import open_results
from reports.validate import faults

K6 = BUILD / "tools" / "bin" / "k6"
STACK = ROOT / "groups" / "1-image-classification" / "triton"


@pytest.fixture(scope="module")
def env() -> Path:
    """The environment of Locust and aiohttp, from its lock."""
    with Reporter(Console(quiet=True)) as report:
        return ensure_environment(clients.PROJECT, "cpu", report)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short loads; Locust needs the first second to start."""
    assert K6.exists(), "k6 is not built: run `make test`, which builds it"
    for module in (clients, crosscheck):
        monkeypatch.setattr(module, "WARMUP_S", 1.0)
        monkeypatch.setattr(module, "WINDOW_S", 3.0)
    monkeypatch.setattr(crosscheck, "STALL_AFTER_S", 0.5)
    monkeypatch.setattr(crosscheck, "STALL_S", 2.0)
    yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One circle of a stack's requests, as `make requests` writes it."""
    file = tmp_path_factory.mktemp("requests") / "requests.json"
    count = record_stack(K6, load_stack(STACK), "rest", "resnet50", split_cpus({}), file)
    payloads = read_payloads(load_group(STACK.parent))
    assert count == len(payloads) > 1
    return file


def without_host(request: bytes, address: str) -> bytes:
    """A raw request with its target's address taken out: two recorders have two ports."""
    host = f"\r\nHost: {address}\r\n".encode()
    assert request.count(host) == 1, request[:300]
    return request.replace(host, b"\r\nHost: -\r\n")


@pytest.mark.parametrize("generator", ["locust", "aiohttp"])
def test_another_tool_sends_the_bytes_that_k6_sends(
    generator: str, env: Path, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Request by request the bytes on the wire are equal, for a whole circle and into the next.

    Broken by a header that a library adds, another order of payloads, a re-encoded body: then a
    difference between tools would be one between requests."""
    circle = read_json(recorded)
    assert circle and circle["seed"] == SEED
    assert len({entry["body"] for entry in circle["requests"]}) == len(circle["requests"])
    # Few of them: a busy machine gives Locust a handful a second.
    entries = circle["requests"][:4]
    write_json(tmp_path / "few.json", {"requests": entries})
    monkeypatch.setattr(clients, "USERS", 1)
    if generator == "locust":
        monkeypatch.setattr(clients, "WINDOW_S", 5.0)
    with wiretap(6) as found:
        base, cell = f"http://{found.address}", Cell(generator, "closed")
        clients.run_client(cell, env, base, tmp_path / "few.json", split_cpus({}), tmp_path)
    assert [as_entry(one) for one in found.requests] == [*entries, *entries[:2]]
    first = without_host(found.requests[0], found.address)
    assert first.startswith(f"POST {entries[0]['path']} HTTP/1.1\r\nHost: -\r\n".encode())


def test_each_groups_locustfile_is_one_that_locust_takes(env: Path, recorded: Path) -> None:
    """A person with Locust starts it as its head says. Broken by a path that moved."""
    files = sorted((ROOT / "groups").glob("*/locustfile.py"))
    assert files, "no group offers one"
    for file in files:
        command = [str(env / "bin" / "locust"), "-f", str(file), "--list"]
        said = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "REQUESTS": str(recorded)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0 and "Replay" in said.stdout, said.stdout + said.stderr


def measured(cell: Cell, env: Path, requests: Path) -> dict[str, Any]:
    """One cell on the null server."""
    return crosscheck.check_null(cell, K6, env, requests, split_cpus({}))


@pytest.fixture(scope="module")
def null_requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What k6 sends the null server."""
    file = tmp_path_factory.mktemp("null") / "null.json"
    crosscheck.null_requests(K6, split_cpus({}), file)
    return file


def test_a_duration_lies_above_the_servers_own(env: Path, null_requests: Path) -> None:
    """Each request as Locust times it took longer than the server needed for that very request.

    Broken by records paired with other requests, or by a clock that is not the server's."""
    row = measured(Cell("locust", "closed"), env, null_requests)
    assert row["requests"] > 6 and row["errors"] == 0
    assert row["truth_p50_ms"] >= crosscheck.DELAY_MS
    assert row["added_p50_ms"] > 0 and row["reported_p50_ms"] > row["truth_p50_ms"]


def test_a_stall_is_hidden_by_callers_that_wait_and_shown_by_the_schedule(
    env: Path, null_requests: Path
) -> None:
    """Two thirds of the window are a stall: by the record the median caller waited long.

    The schedule says so. Callers that wait sent next to nothing meanwhile, so their median can't
    tell: were the truth taken from a tool's own requests, not the world's, it would be as blind."""
    hidden = measured(Cell("aiohttp", "closed with a stall", None, True), env, null_requests)
    shown = measured(Cell("k6", "open with a stall", 47.0, True), env, null_requests)
    for row in (hidden, shown):
        assert row["truth_p50_ms"] > 5 * crosscheck.DELAY_MS and row["added_p50_ms"] > 0, row
    assert hidden["reported_p50_ms"] < hidden["truth_p50_ms"] / 2
    assert shown["reported_p50_ms"] > shown["truth_p50_ms"] / 2


def test_the_file_agrees_with_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a stack, which keeps no record, has no truth rather than a made-up one."""
    monkeypatch.setenv("RESULTS", str(tmp_path))
    row = {
        **crosscheck.flat_header(K6, split_cpus({}), "crosscheck_id"),
        **{"server": "1-x/alpha", "generator": "k6", "generator_version": "2", "load": "closed"},
        **{"users": 4, "rate_per_s": None, "seconds": 3.0, "requests": 9, "errors": 0},
        **{"generator_cpu_s_per_1000": 1.0, "reported_p50_ms": 20.0, "reported_max_ms": 30.0},
    }
    write_json(tmp_path / "crosscheck" / "a.json", {"crosschecks": [row]})
    assert faults(tmp_path) == []
    with open_results(Folder(str(tmp_path))) as loaded:
        found = loaded.db.execute("select generator, truth_p50_ms from crosschecks").fetchall()
        assert found == [("k6", None)] and loaded.warnings == ()
