"""How these tests talk to the server, and pictures that a server should refuse."""

import importlib.util
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest

STACK = Path(__file__).resolve().parent.parent
METHOD = "/study.classify.v1.Classifier/Classify"


@pytest.fixture(scope="session")
def pb() -> ModuleType:
    """The stack's own generated messages, loaded by path: its folder stays off sys.path."""
    name = "fastapi_onnxruntime_classify_pb2"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, STACK / "classify_pb2.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def classify_over(pb: ModuleType) -> Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable]:
    """A channel to its Classify method."""

    def method(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
        return channel.unary_unary(
            METHOD,
            request_serializer=pb.ClassifyRequest.SerializeToString,
            response_deserializer=pb.ClassifyResponse.FromString,
        )

    return method


@pytest.fixture
def classify(
    server: Any, pb: ModuleType, classify_over: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    """classify(image, …) over gRPC: the response, or grpc.RpcError."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}", options) as channel:
        method = classify_over(channel)
        yield lambda *images: method(pb.ClassifyRequest(images=images), timeout=60)


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
