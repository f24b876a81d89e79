"""A small HTTP server that speaks classify-http, KServe v2 and TorchServe, read by hand."""

import json
import time
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from wire_model import Fault, K, answer_all, as_json, read_bytes_tensor


@dataclass
class Seen:
    """What the servers saw, for tests to look at."""

    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


class HttpResponder(BaseHTTPRequestHandler):
    """classify-http, KServe v2 (binary tensor extension) and TorchServe's inference API."""

    protocol_version = "HTTP/1.1"
    seen: Seen

    def setup(self) -> None:
        super().setup()
        self.seen.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.requests.append((self.path, dict(self.headers.items()), body))
        try:
            answer = self.route(body)
        except Fault as fault:
            key = {"/v1": "detail", "/v2": "error"}.get(self.path[:3], "message")
            self.send(fault.http, json.dumps({key: str(fault)}).encode())
            return
        if body.endswith(b"picture 404"):
            answer = {"unexpected": True}
        self.send(200, json.dumps(answer).encode())

    def route(self, body: bytes) -> Any:
        if body == b"trickle":
            self.trickle()
        if self.path.startswith("/v2/models/classify/infer"):
            return self.kserve(body)
        if self.path not in ("/v1/classify", "/v1/classify/batch", "/predictions/resnet50"):
            raise Fault(404, grpc.StatusCode.NOT_FOUND, f"no route {self.path}")
        if not self.headers["Content-Type"].startswith("multipart/"):
            return as_json(answer_all([body])[0])
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
        names = [part.get_param("name", header="content-disposition") for part in parts]
        if self.path == "/v1/classify/batch":
            assert set(names) == {"image"}
        else:
            assert names == [str(at) for at in range(len(parts))]
        return {"results": [*map(as_json, answer_all([p.get_content() for p in parts]))]}

    def kserve(self, body: bytes) -> Any:
        size = int(self.headers["Inference-Header-Content-Length"])
        request, tensor = json.loads(body[:size]), body[size:]
        (given,) = request["inputs"]
        assert given["name"] == "IMAGE" and given["datatype"] == "BYTES"
        assert given["parameters"]["binary_data_size"] == len(tensor)
        images = read_bytes_tensor(tensor)
        assert given["shape"] == [len(images), 1]
        rows = [row for answer in answer_all(images) for row in answer]
        columns = dict(zip(("LABEL", "INDEX", "PROBABILITY"), zip(*rows, strict=True), strict=True))
        kinds = {"LABEL": "BYTES", "INDEX": "INT32", "PROBABILITY": "FP32"}
        shape = [len(rows) // K, K]
        outputs = [
            {"name": o["name"], "datatype": kinds[o["name"]], "shape": shape}
            | {"data": columns[o["name"]]}
            for o in request["outputs"]
        ]
        return {"model_name": "classify", "model_version": "1", "outputs": outputs}

    def trickle(self) -> None:
        """An answer that never quite ends: a byte every tenth of a second."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gives up in the middle is what some tests are about
