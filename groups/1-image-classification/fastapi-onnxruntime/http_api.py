"""The HTTP interface: two routes that classify, three that tell how the server is."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect

import forms
import metrics
from classifier import Classifier
from errors import (
    BAD_MULTIPART,
    BODY_TOO_LARGE,
    EMPTY_BODY,
    QUEUE_FULL,
    SLOW_BODY,
    WRONG_CONTENT_TYPE,
    RequestError,
)
from model import Model
from openapi import BATCH_ROUTE, SINGLE_ROUTE
from settings import Settings

RETRY_AFTER_S = "1"
TYPES = ", ".join(sorted(forms.IMAGE_TYPES))
Answer = TypeVar("Answer")
Probe = Callable[[], Awaitable[bool]]


def create_app(settings: Settings, model: Model, classifier: Classifier, probe: Probe) -> FastAPI:
    """`probe` runs one real inference and says whether it succeeded."""
    app = FastAPI(title="Image classification", version="1", docs_url=None, redoc_url=None)
    bodies = BodyReader(settings)

    async def one_image(request: Request) -> bytes:
        content_type, parameters = forms.parse_header(request.headers.get("content-type", ""))
        if content_type == "multipart/form-data":
            parts = await multipart(request, parameters, 1)
            return parts[0] if parts else _reject_empty()
        if content_type not in forms.IMAGE_TYPES:
            raise RequestError(
                WRONG_CONTENT_TYPE,
                f"content type {content_type or 'missing'}: send {TYPES}, "
                "or multipart/form-data with a part called 'image'",
            )
        return await bodies.read(request)

    async def multipart(request: Request, parameters: dict[str, str], limit: int) -> list[bytes]:
        if not parameters.get("boundary"):
            raise RequestError(
                BAD_MULTIPART, "multipart/form-data without a boundary in its content type"
            )
        return forms.images(await bodies.read(request), parameters["boundary"], limit)

    @app.post("/v1/classify", openapi_extra=SINGLE_ROUTE)
    async def classify(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        classifier.check_room()  # before the body, so that a refusal costs nobody an upload
        image = await one_image(request)
        (predictions,) = await _unless_gone(request, classifier.classify([image]))
        return _json({"predictions": predictions, "model": model.name, "weights": model.weights})

    @app.post("/v1/classify/batch", openapi_extra=BATCH_ROUTE)
    async def classify_batch(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        content_type, parameters = forms.parse_header(request.headers.get("content-type", ""))
        if content_type != "multipart/form-data":
            raise RequestError(
                WRONG_CONTENT_TYPE,
                f"content type {content_type or 'missing'}: a batch is multipart/form-data, "
                "each image a part called 'image'",
            )
        classifier.check_room(bulk=True)
        images = await multipart(request, parameters, settings.max_client_batch)
        results = await _unless_gone(request, classifier.classify(images))
        return _json(
            {
                "results": [{"predictions": predictions} for predictions in results],
                "model": model.name,
                "weights": model.weights,
            }
        )

    @app.get("/ready", summary="200 when a real inference would succeed now")
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction]
        if classifier.draining:
            return _json({"status": "DRAINING"}, 503)
        if not classifier.healthy and not await probe():
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
        response = _json({"error": fault.code, "detail": error.message}, fault.http)
        if fault is QUEUE_FULL:
            metrics.REFUSED.labels("http").inc()
            response.headers["retry-after"] = RETRY_AFTER_S
        return response

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
        return b"".join(chunks) if size else _reject_empty()

    def _reject_size(self, limit: int) -> NoReturn:
        raise RequestError(BODY_TOO_LARGE, f"the body is larger than {limit} bytes")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
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


def _reject_empty() -> NoReturn:
    raise RequestError(EMPTY_BODY, "the body is empty: send one image")


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
