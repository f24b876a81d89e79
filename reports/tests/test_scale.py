"""A hundred thousand trials and fifty million requests: times are printed, growth is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from golden import run_facts, trial_row
from metrics.records import RECORD

# Opens a folder in a process of its own and says what that took.
PROBE = """
import time
begun = time.monotonic()
import json, resource, sys
from pathlib import Path
from reports import cache
from reports.ask import ask
from reports.files import Folder
from reports.load import open_results
cache.CACHE = Path(sys.argv[2])
started = time.monotonic()
with open_results(Folder(sys.argv[1]), raw="requests" in sys.argv[3]) as loaded:
    opened = time.monotonic()
    rows = ask(loaded.db, sys.argv[3])[0].rows
    asked = time.monotonic()
print(json.dumps({
    "import_s": started - begun, "open_s": opened - started, "ask_s": asked - opened, "rows": rows,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    "warnings": len(loaded.warnings),
}))
"""
TRIALS = (
    "select stack, count(*), median(throughput_per_s), max(latency_p50_ms)"
    " from trials group by all order by all"
)
REQUESTS = "select count(*), avg(done_ns - intended_ns) / 1e6 from requests where ok"


def asked(folder: Path, cache: Path, sql: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, str(folder), str(cache), sql],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_trials(folder: Path, runs: int) -> None:
    """Runs of 100 trials each."""
    for number in range(runs):
        run = folder / f"run-{number:05}"
        (run / "trials").mkdir(parents=True)
        facts = run_facts() | {"run_id": run.name}
        (run / "run.json").write_text(json.dumps(facts))
        for trial in range(100):
            row = trial_row("alpha" if trial % 2 else "beta", trial, run_id=run.name)
            (run / "trials" / f"{trial}.json").write_text(json.dumps(row))


@pytest.mark.slow
def test_a_hundred_thousand_trials(tmp_path: Path) -> None:
    """Four times the trials cost about four times as much, cold and from the cache, within 1 GB.
    Broken by a join or a check that looks at all rows for each."""
    found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for runs in (250, 1000):
        folder, cache = tmp_path / f"results-{runs}", tmp_path / f"cache-{runs}"
        write_trials(folder, runs)
        cold, warm = asked(folder, cache, TRIALS), asked(folder, cache, TRIALS)
        assert [row[1] for row in warm["rows"]] == [runs * 50, runs * 50]
        assert warm["rows"] == cold["rows"] and warm["warnings"] == cold["warnings"] == 0
        print(
            f"\n{runs * 100:,} trials: cold {cold['open_s']:.1f} s, {cold['peak_mb']:.0f} MB;"
            f" cached {warm['open_s']:.2f} s, {warm['peak_mb']:.0f} MB;"
            f" query {warm['ask_s']:.3f} s; imports {warm['import_s']:.2f} s"
        )
        assert max(cold["peak_mb"], warm["peak_mb"]) < 1000
        found[runs] = cold, warm
    # Twice what linear growth would be: the rest is the machine's noise.
    assert found[1000][0]["open_s"] < 8 * found[250][0]["open_s"]
    assert found[1000][1]["open_s"] < 8 * found[250][1]["open_s"]
    assert found[1000][1]["open_s"] < found[1000][0]["open_s"]


@pytest.mark.slow
def test_fifty_million_requests(tmp_path: Path) -> None:
    """They are read where they lie: 1 GB is enough for fifty million. Broken by copying them."""
    run = tmp_path / "results" / "run-00000"
    (run / "trials").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(run_facts() | {"run_id": run.name}))
    one = run / "raw" / "t0" / "requests.parquet"
    one.parent.mkdir(parents=True)
    given = {"intended_ns": "i * 1000", "done_ns": "i * 1000 + 5000000", "ok": "true"}
    columns = ", ".join(f"{given.get(n, 'null')}::{kind} as {n}" for n, kind in RECORD.items())
    duckdb.sql(f"copy (select {columns} from range(1000000) t(i)) to '{one}' (format parquet)")
    for number in range(1, 50):
        (run / "raw" / f"t{number}").mkdir()
        os.link(one, run / "raw" / f"t{number}" / "requests.parquet")
    found = asked(tmp_path / "results", tmp_path / "cache", REQUESTS)
    times = f"{found['open_s']:.2f} s to open, {found['ask_s']:.2f} s to ask"
    print(f"\n50 million requests: {times}, {found['peak_mb']:.0f} MB")
    assert found["rows"] == [[50_000_000, 5.0]]
    assert found["peak_mb"] < 1000
