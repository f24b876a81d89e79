"""The HTTP interface: OpenAI's embeddings route, and those that tell how the server is."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

import metrics
from embedder import Answer, Embedder
from errors import BAD_REQUEST, BODY_TOO_LARGE, QUEUE_FULL, SLOW_BODY, RequestError
from model import Model
from openapi import ROUTE
from request import EmbeddingRequest, parse
from settings import Settings

RETRY_AFTER_S = "1"
Result = TypeVar("Result")
Probe = Callable[[], Awaitable[bool]]


def create_app(settings: Settings, model: Model, embedder: Embedder, probe: Probe) -> FastAPI:
    """`probe` runs one real inference and says whether it succeeded."""
    app = FastAPI(title="Text embeddings", version="1", docs_url=None, redoc_url=None)
    bodies = BodyReader(settings)

    @app.post("/v1/embeddings", openapi_extra=ROUTE)
    async def embeddings(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        asked = parse(await bodies.read(request))
        answer = await _unless_gone(request, embedder.embed(asked.texts, asked.options))
        return _json(_body(asked, answer, model))

    @app.get("/v1/models", summary="The one model, in OpenAI's form")
    async def models() -> Response:  # pyright: ignore[reportUnusedFunction]
        one = {"id": model.name, "object": "model", "created": 0, "owned_by": model.weights}
        return _json({"object": "list", "data": [one]})

    @app.get("/ready", summary="200 when a real inference would succeed now")
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction]
        if embedder.draining:
            return _json({"status": "DRAINING"}, 503)
        if not embedder.healthy and not await probe():
            return _json({"status": "FAILING", "detail": "the last inference failed"}, 503)
        return _json({"status": "READY", "model": model.name, "weights": model.weights})

    @app.get("/live", summary="200 while the process answers at all")
    async def live() -> Response:  # pyright: ignore[reportUnusedFunction]
        return _json({"status": "LIVE"})

    @app.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(RequestError)
    async def refuse(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: RequestError
    ) -> Response:
        fault = error.fault
        metrics.REQUESTS.labels("http", fault.code).inc()
        response = _json(_error(error.message, fault.http, fault.code, fault.param), fault.http)
        if fault is QUEUE_FULL:
            metrics.REFUSED.labels("http").inc()
            response.headers["retry-after"] = RETRY_AFTER_S
        return response

    @app.exception_handler(StarletteHTTPException)
    async def no_such_route(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: HTTPException
    ) -> Response:
        words = f"{request.method} {request.url.path}: {error.detail}"
        return _json(_error(words, error.status_code, None, None), error.status_code)

    @app.exception_handler(ClientDisconnect)
    async def gone(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: ClientDisconnect
    ) -> Response:
        metrics.REQUESTS.labels("http", "client_gone").inc()
        return Response(status_code=499)  # nobody reads it

    return app


class BodyReader:
    """Reads bodies within a size, a time and a memory budget that all connections share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buffered = 0

    async def read(self, request: Request) -> bytes:
        """The whole body. Raises RequestError, and ClientDisconnect when its sender goes away."""
        limit = self._settings.max_body_bytes
        if int(request.headers.get("content-length", "0")) > limit:
            self._reject_size(limit)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._buffered += len(chunk)
                    if size > limit:
                        self._reject_size(limit)
                    if self._buffered > self._settings.max_buffered_bytes:
                        raise RequestError(
                            QUEUE_FULL, "too many uploads at a time: try again later"
                        )
                    chunks.append(chunk)
        except TimeoutError:
            raise RequestError(
                SLOW_BODY, f"the body did not arrive within {self._settings.body_timeout_s} s"
            ) from None
        finally:
            self._buffered -= size
        if not size:
            raise RequestError(BAD_REQUEST, "the body is empty: send a JSON object")
        return b"".join(chunks)

    def _reject_size(self, limit: int) -> NoReturn:
        raise RequestError(BODY_TOO_LARGE, f"the body is larger than {limit} bytes")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result; if its client goes away first, the work is cancelled and takes no CPU."""
    task = asyncio.create_task(work)
    gone = asyncio.ensure_future(request.receive())  # the body is read: what comes next is the end
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        answer = task.result()
    finally:
        task.cancel()
        gone.cancel()
    metrics.REQUESTS.labels("http", "ok").inc()
    return answer


def _body(asked: EmbeddingRequest, answer: Answer, model: Model) -> dict[str, Any]:
    """OpenAI's response. base64 is of the little-endian float32 values."""
    vectors = (
        [base64.b64encode(vector).decode() for vector in answer.vectors]
        if asked.base64
        else list(answer.vectors)
    )
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": model.name,
        "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
    }


def _error(message: str, status: int, code: str | None, param: str | None) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _json(content: object, status: int = 200) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, media_type="application/json")
