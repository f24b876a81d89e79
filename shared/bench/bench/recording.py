"""What k6 sends, read from the wire: requests for tools that can't run a k6.js.

A server that only writes down what comes takes a stack's place while k6 runs the stack's own
k6.js. So another tool replays the same requests, in the order of the same seed, without knowing
what a stack wants.
"""

import base64
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.artefact import read_payloads
from bench.cpus import CpuSplit
from bench.errors import StackFailed, UserError
from bench.folders import find_groups, find_stacks
from bench.generator import run_k6
from bench.group import load_group, model_of
from bench.nullserver import scratch
from bench.paths import BUILD
from bench.progress import Reporter
from bench.server import HOST, run_mark
from bench.settings import Settings
from bench.stack import Stack, load_stack
from bench.store import write_json
from bench.toml_files import did_you_mean, where
from bench.tools import ensure_k6

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SEED = 1


@dataclass
class Wiretap:
    """The raw requests that came, whole, in the order in which they were complete."""

    address: str
    wanted: int
    requests: list[bytes] = field(default_factory=list[bytes])


def read_request(stream: Any) -> bytes:
    """One HTTP/1.1 request with a Content-Length, as it came; empty at the connection's end."""
    head = b""
    length = 0
    while line := stream.readline():
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if line == b"\r\n":
            return head + stream.read(length)
    return b""


@contextmanager
def wiretap(wanted: int) -> Generator[Wiretap]:
    """A server on a free port that answers all and keeps the first `wanted` requests."""
    with socket.create_server((HOST, 0)) as listener:
        found = Wiretap(f"{HOST}:{listener.getsockname()[1]}", wanted)

        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as stream:
                try:
                    while request := read_request(stream):
                        if len(found.requests) < found.wanted:
                            found.requests.append(request)
                        connection.sendall(ANSWER)
                except OSError:
                    return

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)


def as_entry(request: bytes) -> dict[str, Any]:
    """A raw request for the file: the target's Host is left to who replays it."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = [list(line.split(": ", 1)) for line in lines]
    return {
        "method": method,
        "path": path,
        "headers": [header for header in headers if header[0] != "Host"],
        "body": base64.b64encode(body).decode(),
    }


def record(
    k6: Path, stack: Stack, plan: Mapping[str, Any], cpus: CpuSplit, folder: Path, found: Wiretap
) -> None:
    """Run a stack's k6.js against a wiretap until it has what it wants. Raises StackFailed."""
    run_k6(k6, stack, plan, cpus.client, folder, run_mark("recording"))
    if len(found.requests) < found.wanted:
        raise StackFailed(
            f"{stack.id}: k6.js sent {len(found.requests)} HTTP requests where {found.wanted} "
            "were to be recorded; only its HTTP interfaces can be"
        )


def record_stack(
    k6: Path, stack: Stack, interface: str, model: str, cpus: CpuSplit, file: Path
) -> int:
    """Write one circle of an HTTP interface's requests to a file. Returns how many those are.

    Raises StackFailed if the interface does not speak HTTP.
    """
    group = load_group(stack.folder.parent)
    payloads = read_payloads(group)
    with scratch() as folder, wiretap(len(payloads)) as found:
        plan = {
            "mode": "load",
            "interface": interface,
            "targets": dict.fromkeys(stack.ports, found.address),
            "model": model,
            "request": group.request,
            "client_batch": 1,
            "seed": SEED,
            "payloads": [payload.planned() for payload in payloads],
            "expected": [None] * len(payloads),
            "load": {"kind": "closed", "users": 1},
            "warmup_s": 0,
            "window_s": 2,
            "timeout_s": 5,
            "records": str(folder / "records.csv"),
            "answers": str(folder / "answers.ndjson"),
            "summary": str(folder / "k6.json"),
        }
        record(k6, stack, plan, cpus, folder, found)
    write_json(file, {"seed": SEED, "requests": [as_entry(one) for one in found.requests]})
    return len(found.requests)


def http_interface(stack: Stack, wanted: str | None) -> str:
    """INTERFACE, or the stack's first. Raises UserError for one that it does not offer."""
    names = [interface.name for interface in stack.interfaces]
    if wanted and wanted not in names:
        raise UserError(f"INTERFACE={wanted}: {did_you_mean(wanted, names)}")
    return wanted or names[0]


def requests_target(settings: Settings, cpus: CpuSplit, report: Reporter) -> int:
    """`make requests`: record what each selected stack is sent. Raises UserError, StackFailed."""
    k6 = ensure_k6(report)
    for folder in find_stacks(find_groups(settings.group), settings.stack):
        stack = load_stack(folder)
        model = model_of(load_group(folder.parent), settings.model)
        interface = http_interface(stack, settings.interface)
        file = BUILD / "requests" / folder.parent.name / f"{stack.id}.{interface}.json"
        count = record_stack(k6, stack, interface, model, cpus, file)
        report.note(f"{count} requests: {where(file)}")
    return 0
