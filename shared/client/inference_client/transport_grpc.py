"""One gRPC call, one answer: sync and async over grpcio, for every unary protocol.

A protocol module says how payloads become a message and a message becomes answers; channels, time
limits and failures are here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from inference_client.answers import Answer, Vector
from inference_client.errors import (
    NO_ANSWER,
    BadInput,
    InferenceError,
    Overloaded,
    TimedOut,
    Unreachable,
    shorten,
)
from inference_client.stack_file import Target, spoken

Payload = TypeVar("Payload")  # what is asked about: an image's bytes, a text
Found = TypeVar("Found")  # what is answered for each

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
class GrpcCodec(Generic[Payload, Found]):
    """How one protocol asks one thing. `decode` gets the response message and the number of
    payloads."""

    method: str  # "/package.Service/Method"
    response: Any  # the response's message class
    encode: Callable[[Target, Sequence[Payload]], Any]
    decode: Callable[[Target, Any, int], list[Found]]
    refusals: tuple[str, ...] = ()  # words by which this server refuses under some other code


@dataclass(frozen=True)
class GrpcCodecs:
    """What one protocol can be asked, None where it has no way to ask it."""

    classify: GrpcCodec[bytes, Answer] | None = None
    embed: GrpcCodec[str, Vector] | None = None


def fault(codec: GrpcCodec[Any, Any], target: Target, error: Any) -> InferenceError:
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


def read(codec: GrpcCodec[Any, Found], target: Target, message: Any, payloads: int) -> list[Found]:
    """The answers in a response. Raises InferenceError where there are none."""
    try:
        answers = codec.decode(target, message, payloads)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        why = f"not an answer of {target.protocol}: {error!r}"
        raise InferenceError(0, f"{target.address}: {why}") from None
    if len(answers) != payloads:
        why = f"{len(answers)} answers for {payloads} payloads"
        raise InferenceError(0, f"{target.address}: {why}")
    return answers


def unary(channel: Any, codec: GrpcCodec[Any, Any]) -> Any:
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

    def __init__(self, target: Target, codecs: GrpcCodecs) -> None:
        self._target, self._codecs = target, codecs
        self._channel: Any = grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS)

    def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError, ConfigError."""
        return self._ask(spoken(self._codecs.classify, self._target, "classify"), images)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in their order. Raises InferenceError, ConfigError."""
        return self._ask(spoken(self._codecs.embed, self._target, "embed"), texts)

    def _ask(self, codec: GrpcCodec[Payload, Found], payloads: Sequence[Payload]) -> list[Found]:
        message = codec.encode(self._target, payloads)
        try:
            response = unary(self._channel, codec)(message, timeout=self._target.timeout_s)
        except grpc.RpcError as error:
            raise fault(codec, self._target, error) from None
        return read(codec, self._target, response, len(payloads))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class AsyncGrpcCaller:
    """The same on an event loop; calls may run at the same time. Make it inside a running loop."""

    def __init__(self, target: Target, codecs: GrpcCodecs) -> None:
        self._target, self._codecs = target, codecs
        self._channel: Any = grpc.aio.insecure_channel(target.address, options=CHANNEL_OPTIONS)

    async def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError, ConfigError."""
        return await self._ask(spoken(self._codecs.classify, self._target, "classify"), images)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in their order. Raises InferenceError, ConfigError."""
        return await self._ask(spoken(self._codecs.embed, self._target, "embed"), texts)

    async def _ask(
        self, codec: GrpcCodec[Payload, Found], payloads: Sequence[Payload]
    ) -> list[Found]:
        message = codec.encode(self._target, payloads)
        try:
            response = await unary(self._channel, codec)(message, timeout=self._target.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise fault(codec, self._target, error) from None
        return read(codec, self._target, response, len(payloads))

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
