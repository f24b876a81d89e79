"""How these tests talk to the server, and a picture that a server should refuse."""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest

from inference_client.protocols.torchserve_grpc import MESSAGES, PACKAGE

METHOD = f"/{PACKAGE}.InferenceAPIsService/Predictions"
Predict = Callable[..., bytes]


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def predict_over() -> Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable]:
    """A channel to its Predictions method."""
    return lambda channel: channel.unary_unary(
        METHOD,
        request_serializer=MESSAGES["PredictionsRequest"].SerializeToString,
        response_deserializer=MESSAGES["PredictionResponse"].FromString,
    )


@pytest.fixture(scope="session")
def message() -> Callable[..., Any]:
    """message({name: bytes}) is a PredictionsRequest."""
    return lambda inputs, model="resnet50": MESSAGES["PredictionsRequest"](
        model_name=model, input=inputs
    )


@pytest.fixture
def predict(
    server: Any,
    message: Callable[..., Any],
    predict_over: Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable],
) -> Iterator[Predict]:
    """predict({name: bytes}) over gRPC: the handler's JSON, or grpc.RpcError."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}", options) as channel:
        method = predict_over(channel)
        yield lambda *args: method(message(*args), timeout=60).prediction


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """A complete, valid PNG of 10,000 × 10,000 one-bit pixels in some 20 kB: 100 megapixels."""
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(1251)) for _ in range(10_000)) + rows.flush()
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)
    parts = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    assert len(parts) < 100_000
    return b"\x89PNG\r\n\x1a\n" + parts
