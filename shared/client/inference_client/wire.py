"""What a protocol module offers: its options and how to open a caller that speaks it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inference_client.answers import Answer, Vector
from inference_client.stack_file import Target
from inference_client.transport_grpc import AsyncGrpcCaller, GrpcCaller, GrpcCodecs
from inference_client.transport_http import AsyncHttpCaller, HttpCaller, HttpCodecs


class Caller(Protocol):
    """Blocking calls to one interface."""

    def classify(self, images: Sequence[bytes]) -> list[Answer]: ...

    def embed(self, texts: Sequence[str]) -> list[Vector]: ...

    def close(self) -> None: ...


class AsyncCaller(Protocol):
    """The same calls on an event loop."""

    async def classify(self, images: Sequence[bytes]) -> list[Answer]: ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Wire:
    """One protocol. `options`: every option that stack.toml may give, with its default."""

    options: Mapping[str, Any]
    open: Callable[[Target], Caller]
    open_async: Callable[[Target], AsyncCaller]


def http_wire(options: Mapping[str, Any], codecs: HttpCodecs) -> Wire:
    """A protocol of one HTTP request and one HTTP answer."""
    return Wire(
        options,
        lambda target: HttpCaller(target, codecs),
        lambda target: AsyncHttpCaller(target, codecs),
    )


def grpc_wire(options: Mapping[str, Any], codecs: GrpcCodecs) -> Wire:
    """A protocol of one unary gRPC call."""
    return Wire(
        options,
        lambda target: GrpcCaller(target, codecs),
        lambda target: AsyncGrpcCaller(target, codecs),
    )
