"""What both clients share: the recorded requests they replay, and the raw records they leave.

Requests come from a file that `make requests` wrote: what k6 sent, read from the wire. Records
are those of ../README.md, so that one SQL reads all tools.
"""

import base64
import csv
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

COLUMNS = (
    *("vu", "slot", "payloads", "intended_ns", "sent_ns", "first_ns", "done_ns", "connect_ns"),
    *("chunk_ns", "chunk_tokens", "status", "ok", "units", "bytes", "error"),
)


@dataclass(frozen=True)
class Request:
    """One recorded request; `headers` are in the order of the wire, without Host."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def read_requests(file: Path) -> list[Request]:
    """The recorded requests in their order. Raises ValueError if there is none."""
    recorded: dict[str, Any] = json.loads(file.read_text())
    requests = [
        Request(
            entry["method"],
            entry["path"],
            tuple((name, value) for name, value in entry["headers"]),
            base64.b64decode(entry["body"]),
        )
        for entry in recorded["requests"]
    ]
    if not requests:
        raise ValueError(f"{file} holds no request")
    return requests


def circle(requests: list[Request]) -> Iterator[tuple[int, Request]]:
    """(number, request) for ever: as k6, request i takes the next of the circle."""
    return zip(itertools.count(), itertools.cycle(requests), strict=False)


def number_in(body: bytes) -> float:
    """The null server's number of the request, which its answers carry; 1 for any other answer."""
    if not body.startswith(b'{"request": '):
        return 1
    return float(json.loads(body)["request"])


class Records:
    """Writes records and the summary of a window that starts `warmup_s` from now."""

    def __init__(self, folder: Path, warmup_s: float, window_s: float) -> None:
        now = time.monotonic_ns()
        self.window_start_ns = now + int(warmup_s * 1e9)
        self.window_end_ns = self.window_start_ns + int(window_s * 1e9)
        self.file = (folder / "records.csv").open("w", newline="")
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.writer.writerow(COLUMNS)
        self.count = 0
        edges = {"window_start_ns": self.window_start_ns, "window_end_ns": self.window_end_ns}
        partial = folder / "client.json.partial"
        partial.write_text(json.dumps(edges))
        os.replace(partial, folder / "client.json")

    def __enter__(self) -> "Records":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def put(self, sent_ns: int, done_ns: int, status: int, body: bytes, error: str) -> None:
        """One request as this tool saw it: it knows no intended start but its own send."""
        ok = not error and 200 <= status < 300
        units = number_in(body) if ok else 0
        stamps = (sent_ns, sent_ns, done_ns if ok else 0, done_ns if ok else 0, 0)
        answer = ("", "", status if ok else -1, str(ok).lower(), units, len(body), error[:200])
        self.writer.writerow((0, self.count, "", *stamps, *answer))
        self.count += 1
