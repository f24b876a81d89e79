"""One HTTP request, one HTTP answer: sync and async over httpx, for every protocol of that kind.

A protocol module says how payloads become a request and a body becomes answers; everything about
connections, time limits and failures is here. No environment proxy is used: what is called is what
stack.toml and the caller name.
"""

import asyncio
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

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

Part = tuple[str, tuple[str, bytes, str]]  # field name, (file name, content, media type)


@dataclass(frozen=True)
class HttpRequest:
    """A POST: either a body, or the parts of a multipart form."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    parts: Sequence[Part] = ()


@dataclass(frozen=True)
class HttpCodec(Generic[Payload, Found]):
    """How one protocol asks one thing. `decode` gets the body of a 2xx answer and the number of
    payloads."""

    encode: Callable[[Target, Sequence[Payload]], HttpRequest]
    decode: Callable[[Target, bytes, int], list[Found]]


@dataclass(frozen=True)
class HttpCodecs:
    """What one protocol can be asked, None where it has no way to ask it."""

    classify: HttpCodec[bytes, Answer] | None = None
    embed: HttpCodec[str, Vector] | None = None


def server_message(body: bytes) -> str:
    """The fault in a server's own words: `detail`, `error` or `message` of a JSON body, or text."""
    text = body.decode("utf-8", "replace")
    try:
        data: Any = json.loads(text)
    except ValueError:
        return shorten(text)
    if isinstance(data, dict):
        for key in ("detail", "error", "message"):
            value: Any = data.get(key)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
            if isinstance(value, dict):
                value = value.get("message", value)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
            if value:
                return shorten(value if isinstance(value, str) else json.dumps(value))
    return shorten(text)


def raise_for_status(target: Target, status: int, body: bytes) -> None:
    """Nothing for a 2xx; else the InferenceError that fits."""
    if 200 <= status < 300:
        return
    message = f"{target.address} answered HTTP {status}: {server_message(body) or 'empty body'}"
    if status in (429, 503):
        raise Overloaded(status, message)
    if status in (408, 504):
        raise TimedOut(status, message)
    if 400 <= status < 500:
        raise BadInput(status, message)
    raise InferenceError(status, message)


def too_late(target: Target) -> TimedOut:
    """The error of a call that took longer than its limit."""
    return TimedOut(NO_ANSWER, f"{target.address}: no whole answer within {target.timeout_s:g} s")


@contextmanager
def translated(target: Target) -> Generator[None]:
    """httpx's exceptions as ours."""
    try:
        yield
    except httpx.ConnectTimeout:
        limit = f"{target.timeout_s:g} s"
        raise Unreachable(NO_ANSWER, f"{target.address}: no connection within {limit}") from None
    except (httpx.TimeoutException, TimeoutError):
        raise too_late(target) from None
    except httpx.TransportError as error:
        why = str(error) or type(error).__name__
        raise Unreachable(NO_ANSWER, f"{target.address}: {why}; is the stack running?") from None


def read(
    codec: HttpCodec[Any, Found], target: Target, status: int, body: bytes, payloads: int
) -> list[Found]:
    """The answers in a response. Raises InferenceError where there are none."""
    raise_for_status(target, status, body)
    try:
        answers = codec.decode(target, body, payloads)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        why = f"not an answer of {target.protocol}: {error!r} in {shorten(repr(body[:200]))}"
        raise InferenceError(status, f"{target.address}: {why}") from None
    if len(answers) != payloads:
        why = f"{len(answers)} answers for {payloads} payloads"
        raise InferenceError(status, f"{target.address}: {why}")
    return answers


def arguments(request: HttpRequest) -> dict[str, Any]:
    """An HttpRequest as httpx's keyword arguments."""
    return {
        "method": "POST",
        "url": request.path,
        "headers": dict(request.headers),
        "content": request.body,
        "files": list(request.parts) or None,
    }


class HttpCaller:
    """Blocking calls over kept connections; safe to share between threads."""

    def __init__(self, target: Target, codecs: HttpCodecs) -> None:
        self._target, self._codecs = target, codecs
        self._client = httpx.Client(
            base_url=f"http://{target.address}", timeout=target.timeout_s, trust_env=False
        )

    def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError, ConfigError."""
        return self._ask(spoken(self._codecs.classify, self._target, "classify"), images)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in their order. Raises InferenceError, ConfigError."""
        return self._ask(spoken(self._codecs.embed, self._target, "embed"), texts)

    def _ask(self, codec: HttpCodec[Payload, Found], payloads: Sequence[Payload]) -> list[Found]:
        request = codec.encode(self._target, payloads)
        deadline = time.monotonic() + self._target.timeout_s
        body = bytearray()
        with translated(self._target), self._client.stream(**arguments(request)) as response:
            for chunk in response.iter_bytes():  # httpx's limit is for each wait, ours for all
                body += chunk
                if time.monotonic() > deadline:
                    raise too_late(self._target)
        return read(codec, self._target, response.status_code, bytes(body), len(payloads))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncHttpCaller:
    """The same on an event loop; calls may run at the same time."""

    def __init__(self, target: Target, codecs: HttpCodecs) -> None:
        self._target, self._codecs = target, codecs
        self._client = httpx.AsyncClient(
            base_url=f"http://{target.address}", timeout=target.timeout_s, trust_env=False
        )

    async def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """One answer an image, in their order. Raises InferenceError, ConfigError."""
        return await self._ask(spoken(self._codecs.classify, self._target, "classify"), images)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in their order. Raises InferenceError, ConfigError."""
        return await self._ask(spoken(self._codecs.embed, self._target, "embed"), texts)

    async def _ask(
        self, codec: HttpCodec[Payload, Found], payloads: Sequence[Payload]
    ) -> list[Found]:
        request = codec.encode(self._target, payloads)
        with translated(self._target):
            async with asyncio.timeout(self._target.timeout_s):
                response = await self._client.request(**arguments(request))
        return read(codec, self._target, response.status_code, response.content, len(payloads))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
