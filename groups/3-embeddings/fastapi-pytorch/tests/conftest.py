"""How these tests talk to the server."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

STACK = Path(__file__).resolve().parent.parent
METHOD = "/study.embed.v1.Embedder/Embed"


@pytest.fixture(scope="session")
def pb() -> ModuleType:
    """The stack's own generated messages, loaded by path: its folder stays off sys.path."""
    name = "fastapi_pytorch_embed_pb2"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, STACK / "embed_pb2.py")
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
def embed_over(pb: ModuleType) -> Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable]:
    """A channel to its Embed method."""

    def method(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
        return channel.unary_unary(
            METHOD,
            request_serializer=pb.EmbedRequest.SerializeToString,
            response_deserializer=pb.EmbedResponse.FromString,
        )

    return method


@pytest.fixture
def embed(
    server: Any, pb: ModuleType, embed_over: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    """embed(text, …, option=value) over gRPC: the response, or grpc.RpcError."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}", options) as channel:
        method = embed_over(channel)
        yield lambda *texts, **more: method(pb.EmbedRequest(inputs=texts, **more), timeout=60)


@pytest.fixture(scope="module")
def reference(server: Any) -> dict[str, np.ndarray]:
    """{payload: its vector} as the artefact has them."""
    answers = json.loads((server.artefact.folder / "reference.json").read_text())
    return {name: np.asarray(vector) for name, vector in answers.items()}
