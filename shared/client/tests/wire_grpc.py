"""gRPC services of each protocol: protobuf read by hand, KServe with tritonclient's messages."""

import json
import struct
from concurrent import futures
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from wire_model import Fault, K, answer_all, as_json, read_bytes_tensor


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def chunk(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def chunks(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a protobuf message that holds length-delimited ones only."""
    found: list[tuple[int, bytes]] = []

    def number(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value, at

    at = 0
    while at < len(message):
        tag, at = number(at)
        assert tag & 7 == 2
        size, at = number(at)
        found.append((tag >> 3, message[at : at + size]))
        at += size
    return found


def classify(request: bytes) -> bytes:
    """study.classify.v1.Classifier/Classify."""
    images = [value for number, value in chunks(request) if number == 1]
    if images == [b"picture 404"]:
        return b""
    results = b""
    for rows in answer_all(images):
        predictions = b""
        for label, index, probability in rows:
            body = chunk(1, label.encode()) + b"\x10" + varint(index)
            predictions += chunk(1, body + b"\x1d" + struct.pack("<f", probability))
        results += chunk(1, predictions)
    return results


def torchserve(request: bytes) -> bytes:
    """org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions."""
    fields = chunks(request)
    assert dict(fields)[1] == b"resnet50"
    entries = [dict(chunks(value)) for number, value in fields if number == 3]
    named = {entry[1].decode(): entry[2] for entry in entries}
    ordered = [named[name] for name in sorted(named, key=lambda name: (len(name), name))]
    if ordered == [b"picture 404"]:
        return chunk(1, b'{"unexpected": true}')
    if ordered == [b"busy"]:  # TorchServe's own code and words for a full queue
        message = 'Model "resnet50" has no worker to serve inference request. Please use …'
        raise Fault(503, grpc.StatusCode.INTERNAL, message)
    try:
        answers = [as_json(rows) for rows in answer_all(ordered)]
    except Fault as fault:
        if fault.http != 422:
            raise
        # What the handler refuses is an OK answer over gRPC.
        return chunk(1, json.dumps({"code": 422, "message": str(fault)}).encode())
    single = list(named) == ["data"]
    return chunk(1, json.dumps(answers[0] if single else {"results": answers}).encode())


METHODS = {
    "/study.classify.v1.Classifier/Classify": classify,
    "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions": torchserve,
}


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
        images = read_bytes_tensor(request.raw_input_contents[0])
        assert request.model_name == "classify" and list(given.shape) == [len(images), 1]
        assert given.name == "IMAGE" and given.datatype == "BYTES"
        response = service_pb2.ModelInferResponse(model_name="classify", model_version="1")
        if images == [b"picture 404"]:
            return response
        try:
            rows = [row for answer in answer_all(images) for row in answer]
        except Fault as fault:
            context.abort(fault.code, str(fault))
            raise
        raw = {
            "LABEL": b"".join(struct.pack("<I", len(r[0].encode())) + r[0].encode() for r in rows),
            "INDEX": struct.pack(f"<{len(rows)}i", *(row[1] for row in rows)),
            "PROBABILITY": struct.pack(f"<{len(rows)}f", *(row[2] for row in rows)),
        }
        kinds = {"LABEL": "BYTES", "INDEX": "INT32", "PROBABILITY": "FP32"}
        for output in request.outputs:
            shape = [len(rows) // K, K]
            response.outputs.add(name=output.name, datatype=kinds[output.name], shape=shape)
            response.raw_output_contents.append(raw[output.name])
        return response


def serve() -> tuple[Any, int]:
    """A started server and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((BytesService(),))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(KServe(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
