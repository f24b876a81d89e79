"""The gRPC interface, on the same event loop and in front of the same queue as the HTTP one."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import orjson
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import generate_pb2 as pb
import metrics
from batcher import Job, Piece
from bodies import Chat, Completion, parse
from errors import BAD_REQUEST, QUEUE_FULL, RequestError
from generator import Generator
from settings import Settings

SERVICE = "study.generate.v1.Generator"
RETRY_AFTER = (("grpc-retry-pushback-ms", "1000"),)
WATCH_S = 1
OPTIONAL = ("max_tokens", "temperature", "top_p", "seed")


class GenerateService:
    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    async def generate(self, request: bytes, context: Any) -> AsyncIterator[pb.GenerateChunk]:
        outcome = "client_gone"
        stream = None
        try:
            job = self._job(request)
            stream = self._generator.start(job)
            produced = 0
            pieces: list[Piece] = []
            while not (pieces and pieces[-1].finish):
                pieces = await stream.read()
                for piece in pieces:
                    produced += len(piece.tokens)
                    yield chunk(piece, len(job.prompt), produced)
            outcome = "ok"
        except RequestError as error:
            outcome = error.fault.code
            # Not context.abort: its exception stays in a cycle that is never collected, and with it
            # every frame on its way, prompt and all.
            if error.fault is QUEUE_FULL:
                metrics.REFUSED.labels("grpc").inc()
                context.set_trailing_metadata(RETRY_AFTER)
            context.set_code(error.fault.grpc)
            context.set_details(error.message)
        finally:
            if stream is not None:
                stream.close()
            metrics.REQUESTS.labels("grpc", outcome).inc()

    def _job(self, sent: bytes) -> Job:
        """Checked by the same rules as a JSON body. Raises RequestError."""
        try:
            request: Any = pb.GenerateRequest.FromString(sent)
        except DecodeError:
            raise RequestError(
                BAD_REQUEST, "not a GenerateRequest, or a text in it is not UTF-8"
            ) from None
        said: dict[str, Any] = {"model": request.model, "ignore_eos": request.ignore_eos}
        said |= {name: getattr(request, name) for name in OPTIONAL if request.HasField(name)}
        said["stop"] = list(request.stop)
        if request.messages:
            said["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        else:
            said["prompt"] = request.prompt
        # NaN and infinity become null in JSON, which would mean "not said".
        for name in ("temperature", "top_p"):
            if name in said and not math.isfinite(said[name]):
                said[name] = -1.0
        kind = Chat if request.messages else Completion
        asked = parse(kind, orjson.dumps(said), self._generator.model.name)
        return asked.to_job(self._generator.text, self._generator.model.vocabulary)


def chunk(piece: Piece, prompt: int, produced: int) -> pb.GenerateChunk:
    said = pb.GenerateChunk(text=piece.text, token_ids=piece.tokens)
    if piece.finish:
        said.finish_reason = piece.finish
        said.usage.prompt_tokens = prompt
        said.usage.completion_tokens = produced
    return said


class Health(health.aio.HealthServicer):  # pyright: ignore
    """Says what GET /ready says, to who asks and to who watches."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = generator

    async def update(self) -> None:
        works = self._generator.healthy or await self._generator.probe()
        said = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self.set(service, said.SERVING if works else said.NOT_SERVING)

    async def Check(self, request: Any, context: Any) -> Any:
        await self.update()
        return await super().Check(request, context)

    async def keep(self) -> None:
        """For watchers. It probes too: who watches sends nothing to a server that fails."""
        while True:
            await self.update()
            await asyncio.sleep(WATCH_S)


async def start(settings: Settings, generator: Generator) -> Callable[[], Awaitable[None]]:
    """Listens when it returns; the result stops it. Raises RuntimeError if the port is taken."""
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_connections,
        options=[
            ("grpc.so_reuseport", 0),  # else a second server would share the port unnoticed
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_concurrent_streams", 256),
            ("grpc.keepalive_time_ms", 60_000),
        ],
    )
    # The stubs' own registration answers bytes that are no message with INTERNAL: our fault.
    generate = grpc.unary_stream_rpc_method_handler(
        GenerateService(generator).generate,
        response_serializer=pb.GenerateChunk.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Generate": generate}),)
    )
    servicer: Any = Health(generator)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.update()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    server.add_insecure_port(f"{host}:{settings.grpc_port}")
    await server.start()
    keeping = asyncio.create_task(servicer.keep())

    async def stop() -> None:
        keeping.cancel()
        await servicer.enter_graceful_shutdown()
        await server.stop(settings.grace_s)

    return stop
