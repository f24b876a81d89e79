"""`make overhead`: what an interface costs by itself, by payload size and kind of connection.

One caller asks a null server that answers at once; what the answer took beyond the server's own
record of having it is the interface's. A request is encoded beforehand: the caller's encoding is
not in it, the server's decoding of HTTP, JSON's base64 and gRPC's messages is. Rounds in random
order rather than one case after the other: drift of the machine falls on all alike.
"""

import contextlib
import random
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.cpus import CpuSplit
from bench.measurement import flat_header, save
from bench.nullserver import Pace, taken
from bench.progress import Reporter
from bench.table import number
from metrics import Load, interface_overhead

# As the result calls it: as the null server's k6.js does.
INTERFACES = {
    "rest-json": "json",
    "rest-raw": "http",
    "grpc": "grpc",
    "sse": "sse",
    "websocket": "ws",
}
# Seconds of a round's window by payload size: over all rounds enough requests for a p95.
PAYLOAD_BYTES = {100: 0.8, 10_000: 0.8, 150_000: 0.8, 1_000_000: 2.0}
CONNECTIONS = ("reused", "new")
ROUNDS = 3
WARMUP_S = 0.3
SEED = 1

Key = tuple[str, int, str]


def measure(k6: Path, cpus: CpuSplit, report: Reporter) -> list[dict[str, Any]]:
    """A row each interface, payload size and kind of connection. Raises StackFailed."""
    keys = [(i, size, kind) for i in INTERFACES for size in PAYLOAD_BYTES for kind in CONNECTIONS]
    loads: dict[Key, list[Load]] = {key: [] for key in keys}
    order = random.Random(SEED)
    report.plan(ROUNDS * sum(WARMUP_S + PAYLOAD_BYTES[size] + 0.5 for _, size, _ in keys))
    common = flat_header(k6, cpus, "overhead_id")
    with contextlib.ExitStack() as files:
        for turn in range(1, ROUNDS + 1):
            for key in order.sample(keys, len(keys)):
                interface, size, kind = key
                report.step(f"round {turn}: {interface}, {size:,} bytes, {kind} connection")
                found = files.enter_context(
                    taken(
                        k6,
                        cpus,
                        Pace(),
                        INTERFACES[interface],
                        {"kind": "closed", "users": 1},
                        warmup_s=WARMUP_S,
                        window_s=PAYLOAD_BYTES[size],
                        payload=b"x" * size,
                        new_connections=kind == "new",
                    )
                )
                loads[key].append(found.load)
                report.spent(WARMUP_S + PAYLOAD_BYTES[size] + 0.5)
        return [
            common
            | {"interface": interface, "payload_bytes": size, "connection": kind}
            | interface_overhead(loads[interface, size, kind])
            for interface, size, kind in keys
        ]


def cell(row: dict[str, Any]) -> str:
    """p50 and p95; where connections were opened, what opening took at p50 beside them."""
    text = f"{number(row['overhead_p50_ms'], 2)} / {number(row['overhead_p95_ms'], 2)}"
    opened = row["connect_p50_ms"]
    return text if opened is None else f"{text} + {number(opened, 2)}"


def overhead_table(rows: list[dict[str, Any]]) -> Table:
    """A row an interface and kind of connection, a column a payload size."""
    shown = Table(
        title="What an interface adds: p50 / p95 ms; new connections: + p50 of opening one",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
    )
    shown.add_column("interface", no_wrap=True)
    shown.add_column("connection")
    for size in PAYLOAD_BYTES:
        shown.add_column(f"{size:,} B", justify="right", no_wrap=True)
    for kind in CONNECTIONS:
        for interface in INTERFACES:
            mine = [r for r in rows if (r["interface"], r["connection"]) == (interface, kind)]
            shown.add_row(interface, kind, *(cell(row) for row in mine))
    return shown


def overhead(k6: Path, cpus: CpuSplit, report: Reporter, console: Console) -> None:
    """Measure, save and print. Raises StackFailed."""
    rows = measure(k6, cpus, report)
    file = save("overhead", rows[0]["overhead_id"], {"overhead": rows})
    report.progress.stop()
    console.print(overhead_table(rows))
    console.print(f"Saved: {file}", markup=False, highlight=False, soft_wrap=True)
