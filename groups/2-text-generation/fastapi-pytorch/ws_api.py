"""The WebSocket: one JSON text frame asks, several answer, and the next may ask.

A request is the body of either HTTP route; `messages` make it a chat. Bad requests are answered by
a frame with `error`, frames that are no requests at all end the connection.
"""

import asyncio

import orjson
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.types import Message

import metrics
from answers import Writer
from bodies import Chat, Completion, parse
from errors import BAD_REQUEST, DRAINING, QUEUE_FULL, RequestError
from generator import Generator, Stream
from settings import Settings

# RFC 6455, section 7.4.1. A frame that is too big ends with 1009, by itself (ws_max_size).
GOING_AWAY, UNSUPPORTED = 1001, 1003


def add_websocket(app: FastAPI, settings: Settings, generator: Generator) -> None:
    """Adds /v1/stream."""

    async def answer(socket: WebSocket, text: str) -> None:
        """Raises RequestError, WebSocketDisconnect."""
        body = text.encode()
        stream: Stream | None = None
        try:
            try:
                keys = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise RequestError(BAD_REQUEST, f"the frame is not JSON: {error}") from None
            chat = isinstance(keys, dict) and "messages" in keys
            asked = parse(Chat if chat else Completion, body, generator.model.name)
            job = asked.to_job(generator.text, generator.model.vocabulary)
            stream = generator.start(job)
            writer = Writer(generator.model.name, job.prompt, chat=chat, token_ids=True, usage=True)
            ended = False
            while not ended:
                pieces = await stream.read()
                ended = pieces[-1].finish is not None
                async with asyncio.timeout(settings.send_timeout_s):
                    for frame in writer.frames(pieces):
                        await socket.send_text(frame)
            metrics.REQUESTS.labels("ws", "ok").inc()
        finally:
            if stream is not None:
                stream.close()

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:  # pyright: ignore[reportUnusedFunction]
        await socket.accept()
        code: int | None = None
        # Always listening: a client's next request may be here before its last answer has ended,
        # and its end is to be noticed during one.
        incoming = asyncio.ensure_future(socket.receive())
        try:
            while code is None:
                event = await incoming
                incoming = asyncio.ensure_future(socket.receive())
                code = await turn(socket, event, incoming)
            await socket.close(code)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            pass  # its other end is gone
        finally:
            incoming.cancel()

    async def turn(
        socket: WebSocket, event: Message, incoming: "asyncio.Future[Message]"
    ) -> int | None:
        """One request and its answer. Returns a close code, or None: go on.

        Raises WebSocketDisconnect when the client goes away.
        """
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1000))
        text = event.get("text")
        if text is None:
            metrics.REQUESTS.labels("ws", "binary_frame").inc()
            return UNSUPPORTED
        work = asyncio.create_task(answer(socket, text))
        try:
            await asyncio.wait((work, incoming), return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and incoming.result()["type"] == "websocket.disconnect":
                metrics.REQUESTS.labels("ws", "client_gone").inc()
                raise WebSocketDisconnect(1000)
            await work
        except RequestError as error:
            fault = error.fault
            metrics.REQUESTS.labels("ws", fault.code).inc()
            if fault is QUEUE_FULL:
                metrics.REFUSED.labels("ws").inc()
            await socket.send_text(orjson.dumps({**error.body(), "done": True}).decode())
            return GOING_AWAY if fault is DRAINING else None
        finally:
            work.cancel()
        return None
