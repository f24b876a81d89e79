"""How long a million records take: `PYTHONPATH=.. python million.py [records]`. Not a test.

Aim on two cores: at most 5 s to compute every figure, and 1 GB of memory at the peak.
"""

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from metrics import compute, store_records
from metrics.records import RECORD

START, SECONDS = 10**9, 100


def write(file: Path, records: int) -> None:
    """Records of a steady stream of 4 chunks each, one in a thousand failed."""
    draw = random.Random(7)
    step = SECONDS * 10**9 // records
    with file.open("w") as out:
        out.write(",".join(RECORD) + "\n")
        for i in range(records):
            sent = START + i * step + 1000
            chunks = ";".join(str(sent + n * 2_000_000) for n in range(1, 5))
            done = sent + 8_000_000 + int(draw.expovariate(1e-7))
            ok = i % 1000 != 7
            result = "200,true,4,999," if ok else "503,false,0,10,queue full"
            out.write(f"{i % 16},{i},{i % 24},{sent - 1000},{sent},{sent + 9},{done},0,")
            out.write(f"{chunks if ok else ''},{'1;1;1;1' if ok else ''},{result}\n")


def main() -> None:
    """Write, store, compute; print the seconds of each."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        raw, stored = Path(name) / "records.csv", Path(name) / "requests.parquet"
        write(raw, records)
        began = time.perf_counter()
        assert store_records(raw, stored) == records
        between = time.perf_counter()
        window = {"window_start_ns": START, "window_end_ns": START + SECONDS * 10**9}
        figures = compute(stored, None, window | {"slo_latency_ms": 50, "slo_share": 0.95})
        ended = time.perf_counter()
        size = f"{raw.stat().st_size // 10**6} MB CSV, {stored.stat().st_size // 10**6} MB Parquet"
    print(f"{records} records, {size}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"store {between - began:.1f} s, compute {ended - between:.1f} s, peak {peak_mb:.0f} MB")
    print(f"p99 {figures['latency_p99_ms']:.1f} ms, goodput {figures['goodput']:.3f}")


if __name__ == "__main__":
    main()
