"""Small real servers on loopback, one for each wire format, and a stack folder that names them.

They read and write the formats by themselves, never with the code under test.
"""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # the responders beside this file

import wire_grpc
import wire_http

STACK_TOML = """
[interfaces.rest]
protocol = "classify-http"
port = "http"
options = { path = "/v1/classify" }
[interfaces.grpc]
protocol = "classify-grpc"
port = "grpc"
[interfaces.kserve-rest]
protocol = "kserve-v2-http"
port = "http"
options = { model = "classify", input = "IMAGE", outputs = ["LABEL", "INDEX", "PROBABILITY"] }
[interfaces.kserve-grpc]
protocol = "kserve-v2-grpc"
port = "grpc"
[interfaces.torchserve-rest]
protocol = "torchserve-http"
port = "http"
[interfaces.torchserve-grpc]
protocol = "torchserve-grpc"
port = "grpc"
"""


@dataclass(frozen=True)
class Running:
    """The servers' stack folder, ports and what they saw."""

    folder: Path
    ports: dict[str, int]
    seen: wire_http.Seen


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """All wire formats on two real ports."""
    folder = tmp_path / "group" / "stack"
    folder.mkdir(parents=True)
    (folder / "stack.toml").write_text(STACK_TOML)
    seen = wire_http.Seen()
    handler = type("Handler", (wire_http.HttpResponder,), {"seen": seen})
    http = wire_http.QuietServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    server, grpc_port = wire_grpc.serve()
    yield Running(folder, {"http": http.server_port, "grpc": grpc_port}, seen)
    server.stop(0).wait()
    http.shutdown()
    http.server_close()
