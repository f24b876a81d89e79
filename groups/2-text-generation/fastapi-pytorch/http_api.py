"""The HTTP interface: OpenAI's two ways to ask, whole or streamed, and how the server is."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

import metrics
from answers import Writer
from batcher import Piece
from bodies import Chat, Completion, parse
from errors import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    DRAINING,
    MODEL_NOT_FOUND,
    QUEUE_FULL,
    SLOW_BODY,
    WRONG_CONTENT_TYPE,
    RequestError,
)
from generator import Generator, Stream
from openapi import CHAT_ROUTE, COMPLETION_ROUTE, describe
from settings import Settings
from ws_api import add_websocket

RETRY_AFTER_S = "1"
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


def create_app(settings: Settings, generator: Generator) -> FastAPI:
    """All routes. They share one queue with every other interface."""
    app = FastAPI(title="Text generation", version="1", docs_url=None, redoc_url=None)
    model = generator.model
    described = {"id": model.name, "object": "model", "created": 0, "owned_by": model.weights}

    async def answer(request: Request, kind: type[Completion] | type[Chat]) -> Response:
        generator.check_room()  # before the body, so that a refusal costs nobody an upload
        asked = parse(kind, await read_body(request, settings), model.name)
        job = asked.to_job(generator.text, model.vocabulary)
        writer = Writer(
            model.name,
            job.prompt,
            chat=kind is Chat,
            token_ids=asked.return_token_ids,
            usage=asked.include_usage,
        )
        stream = generator.start(job)
        if asked.stream:
            return EventStream(stream, writer, settings.send_timeout_s)
        try:
            pieces = await unless_gone(request.receive, read_all(stream))
        finally:
            stream.close()
        metrics.REQUESTS.labels("http", "ok").inc()
        return to_json(writer.whole(pieces))

    @app.post("/v1/completions", openapi_extra=COMPLETION_ROUTE)
    async def completions(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return await answer(request, Completion)

    @app.post("/v1/chat/completions", openapi_extra=CHAT_ROUTE)
    async def chat(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return await answer(request, Chat)

    @app.get("/v1/models")
    async def models() -> Response:  # pyright: ignore[reportUnusedFunction]
        return to_json({"object": "list", "data": [described]})

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        if name != model.name:
            raise RequestError(MODEL_NOT_FOUND, f"the model {name!r} is not served here", "model")
        return to_json(described)

    @app.get("/ready", summary="200 when a real generation would succeed now")
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction]
        if generator.draining:
            return to_json({"status": "DRAINING"}, 503)
        if not generator.healthy and not await generator.probe():
            return to_json({"status": "FAILING", "detail": "the last step failed"}, 503)
        said = {"status": "READY", "model": model.name, "weights": model.weights}
        return to_json({**said, "dtype": str(model.memory.dtype).removeprefix("torch.")})

    @app.get("/live", summary="200 while the process answers at all")
    async def live() -> Response:  # pyright: ignore[reportUnusedFunction]
        return to_json({"status": "LIVE"})

    @app.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(RequestError)
    async def refuse(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: RequestError
    ) -> Response:
        fault = error.fault
        metrics.REQUESTS.labels("http", fault.code).inc()
        response = to_json(error.body(), fault.http)
        if fault is QUEUE_FULL:
            metrics.REFUSED.labels("http").inc()
        if fault in (QUEUE_FULL, DRAINING):
            response.headers["retry-after"] = RETRY_AFTER_S
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: ClientDisconnect
    ) -> Response:
        metrics.REQUESTS.labels("http", "client_gone").inc()
        return Response(status_code=499)  # nobody reads it

    add_websocket(app, settings, generator)
    describe(app)
    return app


async def read_all(stream: Stream) -> list[Piece]:
    """The whole answer. Raises RequestError."""
    pieces: list[Piece] = []
    while not (pieces and pieces[-1].finish):
        pieces += await stream.read()
    return pieces


async def unless_gone(receive: Callable[..., Any], work: Any) -> Any:
    """The work's result; raises ClientDisconnect if its client goes away first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(receive())  # the body is read: what comes next is the end
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


class EventStream(Response):
    """An answer as server-sent events, written as fast as its reader takes them, not faster.

    What one step gave is one write, and so is what several steps gave while the reader was busy.
    """

    def __init__(self, stream: Stream, writer: Writer, send_timeout_s: float) -> None:
        super().__init__()
        self._stream = stream
        self._writer = writer
        self._timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        watch = asyncio.create_task(self._end_when_gone(receive, task))
        outcome: str | None = "client_gone"
        started = False
        try:
            # Nothing is sent before there is something to say: a failure is still a status then.
            pieces = await self._stream.read()
            started = True
            await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
            while not pieces[-1].finish:
                await self._send(send, self._writer.events(pieces), more=True)
                pieces = await self._stream.read()
            await self._send(send, self._writer.events(pieces), more=False)
            outcome = "ok"
        except RequestError as error:
            if not started:
                outcome = None  # counted where it is answered
                raise
            outcome = error.fault.code
            with contextlib.suppress(TimeoutError):
                event = b"data: " + orjson.dumps(error.body()) + b"\n\n"
                await self._send(send, event, more=False)
        except (asyncio.CancelledError, TimeoutError):
            pass  # its reader is gone, or as good as gone
        finally:
            watch.cancel()
            self._stream.close()
            if outcome is not None:
                metrics.REQUESTS.labels("http", outcome).inc()

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._timeout_s):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _end_when_gone(self, receive: Receive, task: "asyncio.Task[Any]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        task.cancel()


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body within its limits. Raises RequestError, ClientDisconnect."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(
            WRONG_CONTENT_TYPE, f"content type {kind or 'missing'}: send application/json"
        )
    limit = settings.max_body_bytes
    too_large = RequestError(BODY_TOO_LARGE, f"the body is larger than {limit} bytes")
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise RequestError(
            SLOW_BODY, f"the body did not arrive within {settings.body_timeout_s} s"
        ) from None
    if not body:
        raise RequestError(BAD_REQUEST, "the body is empty: send JSON")
    return bytes(body)


def to_json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
