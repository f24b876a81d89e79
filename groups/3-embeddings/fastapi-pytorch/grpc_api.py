"""The gRPC interface, on the same event loop and in front of the same queue as the HTTP one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import embed_pb2 as pb
import metrics
from embedder import Embedder, Options
from errors import BAD_REQUEST, QUEUE_FULL, RequestError
from model import Model
from settings import Settings

SERVICE = "study.embed.v1.Embedder"
RETRY_AFTER = (("grpc-retry-pushback-ms", "1000"),)
WATCH_S = 1
Probe = Callable[[], Awaitable[bool]]


class EmbedService:
    def __init__(self, embedder: Embedder, model: Model) -> None:
        self._embedder = embedder
        self._model = model

    async def embed(self, sent: bytes, context: Any) -> pb.EmbedResponse:
        try:
            answer = await self._embedder.embed(*read(sent))
        except RequestError as error:
            fault = error.fault
            metrics.REQUESTS.labels("grpc", fault.code).inc()
            # Not context.abort: its exception stays in a cycle that is never collected, and with it
            # every frame on its way, texts and all.
            if fault is QUEUE_FULL:
                metrics.REFUSED.labels("grpc").inc()
                context.set_trailing_metadata(RETRY_AFTER)
            context.set_code(fault.grpc)
            context.set_details(error.message)
            return pb.EmbedResponse()  # is not sent
        metrics.REQUESTS.labels("grpc", "ok").inc()
        return pb.EmbedResponse(
            embeddings=[pb.Embedding(values=vector) for vector in answer.vectors.tolist()],
            prompt_tokens=answer.tokens,
            model=self._model.name,
        )


def read(sent: bytes) -> tuple[list[str], Options]:
    """Raises RequestError."""
    try:
        request: Any = pb.EmbedRequest.FromString(sent)
    except DecodeError:
        raise RequestError(
            BAD_REQUEST, "not an EmbedRequest, or a text in it is not UTF-8"
        ) from None
    options = Options(
        request.model if request.HasField("model") else None,
        request.dimensions if request.HasField("dimensions") else None,
        request.normalize if request.HasField("normalize") else True,
        request.truncate if request.HasField("truncate") else True,
    )
    return list(request.inputs), options


class Health(health.aio.HealthServicer):  # pyright: ignore
    """Says what GET /ready says, to who asks and to who watches."""

    def __init__(self, embedder: Embedder, probe: Probe) -> None:
        super().__init__()
        self._embedder = embedder
        self._probe = probe

    async def update(self) -> None:
        works = self._embedder.healthy or await self._probe()
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


async def start(
    settings: Settings, embedder: Embedder, model: Model, probe: Probe
) -> Callable[[], Awaitable[None]]:
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
    handler = grpc.unary_unary_rpc_method_handler(
        EmbedService(embedder, model).embed,
        response_serializer=pb.EmbedResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Embed": handler}),)
    )
    servicer: Any = Health(embedder, probe)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.update()
    server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    await server.start()
    keeping = asyncio.create_task(servicer.keep())

    async def stop() -> None:
        keeping.cancel()
        await servicer.enter_graceful_shutdown()
        await server.stop(settings.grace_s)

    return stop
