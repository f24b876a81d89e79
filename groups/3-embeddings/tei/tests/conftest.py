"""A server that says what TEI's documentation says, and k6 asking it with this stack's own k6.js.

It stands in for nothing: no figure comes from it. What it shows is whether requests and parsers
fit the documentation.
"""

import csv
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.console import Console

from bench.generator import generator_environment, read_answers
from bench.progress import Reporter
from bench.tools import ensure_k6

FOLDER = Path(__file__).resolve().parents[1]


@dataclass
class Documented:
    """What is to be answered next, and what was asked."""

    ports: dict[str, int] = field(default_factory=dict)
    status: int = 200
    body: Any = None  # JSON for HTTP; bytes (a message) or str (an error's words) for gRPC
    asked: list[tuple[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="session")
def documented() -> dict[str, Any]:
    """documented.json: wire examples, each with where it stands in TEI's documentation."""
    return json.loads((Path(__file__).parent / "documented.json").read_text())


def http_handler(says: Documented) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            says.asked.append((self.path, json.loads(body)))
            answer = json.dumps(says.body).encode()
            self.send_response(says.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


class AnyMethod(grpc.GenericRpcHandler):
    """Every method: a message's bytes are kept as they came, an answer's sent as they are."""

    def __init__(self, says: Documented) -> None:
        self.says = says

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            self.says.asked.append((call.method, message))
            if isinstance(self.says.body, str):
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[self.says.status], self.says.body)
            return self.says.body

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(scope="module")
def responder() -> Iterator[Documented]:
    """HTTP and gRPC on loopback, saying what a test puts into it."""
    says = Documented()
    http = ThreadingHTTPServer(("127.0.0.1", 0), http_handler(says))
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[AnyMethod(says)])
    says.ports = {"http": http.server_port, "grpc": server.add_insecure_port("127.0.0.1:0")}
    server.start()
    yield says
    server.stop(0).wait()
    http.shutdown()
    http.server_close()


@pytest.fixture
def ask(responder: Documented, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """ask(interface, texts): what k6 wrote down in check mode, one entry a text.

    With `together`, so many texts a request, which check mode doesn't send: a short load's records.
    """
    k6 = ensure_k6(Reporter(Console(quiet=True, file=sys.stderr)))

    def run(interface: str, texts: list[str], together: int = 1) -> list[dict[str, Any]]:
        check = together == 1
        responder.asked.clear()
        payloads: list[dict[str, str]] = []
        for number, text in enumerate(texts):
            file = tmp_path / f"{number}.txt"
            file.write_bytes(text.encode())
            payloads.append({"name": f"text {number}", "path": str(file)})
        plan = {
            "mode": "check" if check else "load",
            "interface": interface,
            "targets": {name: f"127.0.0.1:{port}" for name, port in responder.ports.items()},
            "model": "minilm",
            "request": {},
            "client_batch": together,
            "seed": 0,
            "payloads": payloads,
            "expected": [None] * len(texts),
            "load": {"kind": "closed", "users": 1},
            "warmup_s": 0,
            "window_s": 0 if check else 0.2,
            "timeout_s": 10,
            "records": str(tmp_path / "records.csv"),
            "answers": str(tmp_path / "answers.ndjson"),
            "summary": str(tmp_path / "k6.json"),
        }
        (tmp_path / "answers.ndjson").unlink(missing_ok=True)
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        done = subprocess.run(
            [
                *(str(k6), "run", "--quiet", "--no-usage-report", "--summary-mode=disabled"),
                *("--address", "", "-e", f"PLAN={tmp_path / 'plan.json'}", "k6.js"),
            ],
            cwd=FOLDER,
            env=generator_environment((0,)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if check:
            return read_answers(tmp_path / "answers.ndjson")
        with (tmp_path / "records.csv").open(newline="") as records:
            return list(csv.DictReader(records))

    return run
