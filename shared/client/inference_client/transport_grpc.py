"""One gRPC call, one answer: sync and async over grpcio, for every unary protocol.

A protocol module says how images become a message and a message becomes answers; channels, time
limits and failures are here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from inference_client.answers import Answer
from inference_client.errors import (
    NO_ANSWER,
    BadInput,
    InferenceError,
    Overloaded,
    TimedOut,
    Unreachable,
    shorten,
)
from inference_client.stack_file import Target

# Messages of any size (a batch of photographs exceeds gRPC's 4 MB), no proxy from the environment.
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)

# gRPC gives UNAVAILABLE both to a server that says so and to a connection that broke, and tells
# them apart only in words: these are its own for the second.
BROKEN_CONNECTION = (
    "failed to connect",
    "errors resolving",
    "dns resolution failed",
    "socket closed",
    "connection reset",
    "connection refused",
    "broken pipe",
    "cancelling all calls",
    "goaway",
    "keepalive",
)

BAD_INPUT = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "NOT_FOUND"}


@dataclass(frozen=True)
class GrpcCodec:
    """How one protocol says it. `decode` gets the response message and the number of images."""

    method: str  # "/package.Service/Method"
    response: Any  # the response's message class
    encode: Callable[[Target, Sequence[bytes]], Any]
    decode: Callable[[Target, Any, int], list[Answer]]
    refusals: tuple[str, ...] = ()  # words by which this server refuses under some other code


def fault(codec: GrpcCodec, target: Target, error: Any) -> InferenceError:
    """A failed call as the InferenceError that fits."""
    code: Any = error.code()
    name, status = str(code.name), int(code.value[0])
    details = shorten(str(error.details() or "no message"))
    words = details.lower()
    message = f"{target.address} answered gRPC {name} ({status}): {details}"
    if name == "DEADLINE_EXCEEDED":
        limit = f"no whole answer within {target.timeout_s:g} s"
        return TimedOut(NO_ANSWER, f"{target.address}: {limit} (gRPC {name}: {details})")
    if name == "UNAVAILABLE" and any(known in words for known in BROKEN_CONNECTION):
        return Unreachable(NO_ANSWER, f"{target.address}: {details}; is the stack running?")
    if name == "RESOURCE_EXHAUSTED" and "message larger than max" in words:
        return BadInput(status, message)  # a limit on size, not on load
    if name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE") or any(
        refusal.lower() in words for refusal in codec.refusals
    ):
        return Overloaded(status, message)
    if name in BAD_INPUT:
        return BadInput(status, message)
    return InferenceError(status, message)


def read(codec: GrpcCodec, target: Target, message: Any, images: int) -> list[Answer]:
    """The answers in a response. Raises InferenceError where there are none."""
    try:
        answers = codec.decode(target, message, images)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        why = f"not an answer of {target.protocol}: {error!r}"
        raise InferenceError(0, f"{target.address}: {why}") from None
    if len(answers) != images:
        why = f"{len(answers)} answers for {images} images"
        raise InferenceError(0, f"{target.address}: {why}")
    return answers


def unary(channel: Any, codec: GrpcCodec) -> Any:
    """The codec's method on a channel, as a callable."""

    def serialize(message: Any) -> bytes:
        return message.SerializeToString()

    return channel.unary_unary(
        codec.method,
        request_serializer=serialize,
        response_deserializer=codec.response.FromString,
    )


class GrpcCaller:
    """Blocking calls over one channel; safe to share between threads."""

    def __init__(self, target: Target, codec: GrpcCodec) -> None:
        self._target, self._codec = target, codec
        self._channel: Any = grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS)
        self._call = unary(self._channel, codec)

    def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError."""
        message = self._codec.encode(self._target, images)
        try:
            response = self._call(message, timeout=self._target.timeout_s)
        except grpc.RpcError as error:
            raise fault(self._codec, self._target, error) from None
        return read(self._codec, self._target, response, len(images))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class AsyncGrpcCaller:
    """The same on an event loop; calls may run at the same time. Make it inside a running loop."""

    def __init__(self, target: Target, codec: GrpcCodec) -> None:
        self._target, self._codec = target, codec
        self._channel: Any = grpc.aio.insecure_channel(target.address, options=CHANNEL_OPTIONS)
        self._call = unary(self._channel, codec)

    async def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError."""
        message = self._codec.encode(self._target, images)
        try:
            response = await self._call(message, timeout=self._target.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise fault(self._codec, self._target, error) from None
        return read(self._codec, self._target, response, len(images))

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
