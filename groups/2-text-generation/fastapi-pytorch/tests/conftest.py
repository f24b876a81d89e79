"""How these tests ask the server."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

sys.path.append(str(Path(__file__).parent))

from generation_asking import calling

STACK = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def pb() -> ModuleType:
    """The stack's own generated messages, loaded by path: its folder stays off sys.path."""
    name = "fastapi_pytorch_generate_pb2"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, STACK / "generate_pb2.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


@pytest.fixture
def begin(server: Any, pb: ModuleType) -> Iterator[Callable[..., Any]]:
    """begin(prompt=…, max_tokens=…) over gRPC: the call, whose chunks are still to be read."""
    with calling(server.port("grpc"), pb) as begin:
        yield begin


@pytest.fixture
def generate(begin: Callable[..., Any]) -> Callable[..., list[Any]]:
    """The same to its end: all chunks, or grpc.RpcError."""
    return lambda **said: list(begin(**said))
