"""Servers of embeddings, one for each wire format, each read and written by hand.

A text's vector is [number of UTF-8 bytes, number of spaces, 0.5]; some words bring a fault.
"""

import json
import struct
from concurrent import futures
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from wire_grpc import chunk, chunks
from wire_http import Seen
from wire_model import Fault, read_bytes_tensor

INVALID, FULL = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def vectors(texts: list[str]) -> list[list[float]]:
    """A vector a text; `short` loses one, as a faulty server might. Raises Fault."""
    if "" in texts:
        raise Fault(400, INVALID, f"text {texts.index('')} is empty")
    if "busy" in texts:
        raise Fault(503, FULL, "the queue is full")
    kept = [text for text in texts if text != "short"]
    return [[float(len(text.encode())), float(text.count(" ")), 0.5] for text in kept]


class EmbeddingResponder(BaseHTTPRequestHandler):
    """OpenAI's /v1/embeddings, TEI's /embed, and KServe v2 with the binary tensor extension."""

    protocol_version = "HTTP/1.1"
    seen: Seen

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.requests.append((self.path, dict(self.headers.items()), body))
        try:
            status, answer = 200, self.route(body)
        except Fault as fault:
            told: Any = {"message": str(fault)} if self.path == "/v1/embeddings" else str(fault)
            status, answer = fault.http, {"error": told}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def route(self, body: bytes) -> Any:
        if self.path == "/v2/models/embed/infer":
            size = int(self.headers["Inference-Header-Content-Length"])
            request, texts = json.loads(body[:size]), read_bytes_tensor(body[size:])
            (given,) = request["inputs"]
            assert (given["name"], given["datatype"]) == ("TEXT", "BYTES")
            assert given["shape"] == [len(texts), 1]
            assert [output["name"] for output in request["outputs"]] == ["EMBEDDING"]
            rows = vectors([text.decode() for text in texts])
            flat = [value for row in rows for value in row]
            output = {"name": "EMBEDDING", "datatype": "FP32", "shape": [len(rows), 3]}
            return {"outputs": [{**output, "data": flat}]}
        request = json.loads(body)
        if self.path == "/embed":
            assert request["truncate"] is request["normalize"] is True
            return vectors(request["inputs"])
        assert self.path == "/v1/embeddings"
        data = [
            {"object": "embedding", "index": at, "embedding": vector}
            for at, vector in enumerate(vectors(request["input"]))
        ]
        return {"object": "list", "data": data[::-1]}  # the index is what counts

    def log_message(self, format: str, *args: Any) -> None:
        pass


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def embed(request: bytes) -> bytes:
    """study.embed.v1.Embedder/Embed."""
    texts = [value.decode() for number, value in chunks(request) if number == 1]
    return b"".join(chunk(1, chunk(1, packed(vector))) for vector in vectors(texts))


def tei(request: bytes) -> bytes:
    """tei.v1.Embed/Embed: the text, if it isn't empty, then truncate and normalize, both true."""
    options = b"\x10\x01\x18\x01"
    assert request.endswith(options)
    sent = [value.decode() for _, value in chunks(request.removesuffix(options))]
    (vector,) = vectors(sent or [""])
    return chunk(1, packed(vector))


METHODS = {"/study.embed.v1.Embedder/Embed": embed, "/tei.v1.Embed/Embed": tei}


class BytesService(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        method = METHODS.get(handler_call_details.method)

        def handle(request: bytes, context: Any) -> bytes:
            assert method is not None
            try:
                return method(request)
            except Fault as fault:
                context.abort(fault.code, str(fault))
                raise

        return grpc.unary_unary_rpc_method_handler(handle) if method else None


class KServe(service_pb2_grpc.GRPCInferenceServiceServicer):
    def ModelInfer(self, request: Any, context: Any) -> Any:
        (given,) = request.inputs
        texts = read_bytes_tensor(request.raw_input_contents[0])
        assert (given.name, given.datatype) == ("TEXT", "BYTES")
        assert list(given.shape) == [len(texts), 1]
        try:
            rows = vectors([text.decode() for text in texts])
        except Fault as fault:
            context.abort(fault.code, str(fault))
            raise
        response = service_pb2.ModelInferResponse(model_name="embed", model_version="1")
        response.outputs.add(name="EMBEDDING", datatype="FP32", shape=[len(rows), 3])
        response.raw_output_contents.append(b"".join(map(packed, rows)))
        return response


def serve() -> tuple[Any, int]:
    """A started gRPC server and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((BytesService(),))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(KServe(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
