"""The gRPC interface, on the same event loop and in front of the same queue as the HTTP one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import classify_pb2 as pb
import metrics
from classifier import Classifier
from errors import BAD_MESSAGE, EMPTY_BODY, QUEUE_FULL, SLOW_BODY, RequestError
from settings import Settings

SERVICE = "study.classify.v1.Classifier"
RETRY_AFTER = (("grpc-retry-pushback-ms", "1000"),)
FRAMING_BYTES = 1024  # of a message around its images
WATCH_S = 1
Probe = Callable[[], Awaitable[bool]]


class ClassifyService:
    """Takes calls as streams of one message, which look the same on the wire: a unary call's
    message would be in memory before anything here could refuse it.
    """

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        self._classifier = classifier
        self._body_timeout_s = settings.body_timeout_s
        at_once = max(1, settings.max_buffered_bytes // settings.max_body_bytes)
        self._turns = asyncio.Semaphore(at_once)  # to receive: no call says how long it will be
        # As many calls as the queues can hold: the least of several images is two.
        self._calls = settings.queue_images + settings.bulk_queue_images // 2
        self._unread = 0

    async def classify(self, _: object, context: Any) -> pb.ClassifyResponse:
        try:
            results = await self._classifier.classify(await self._receive(context))
        except RequestError as error:
            fault = error.fault
            metrics.REQUESTS.labels("grpc", fault.code).inc()
            # Not context.abort: its exception stays in a cycle that is never collected, and with it
            # every frame on its way, images and all.
            if fault is QUEUE_FULL:
                metrics.REFUSED.labels("grpc").inc()
                context.set_trailing_metadata(RETRY_AFTER)
            context.set_code(fault.grpc)
            context.set_details(error.message)
            return pb.ClassifyResponse()  # is not sent
        metrics.REQUESTS.labels("grpc", "ok").inc()
        return pb.ClassifyResponse(
            results=[
                pb.Result(
                    predictions=[
                        pb.Prediction(label=p.label, index=p.index, probability=p.probability)
                        for p in predictions
                    ]
                )
                for predictions in results
            ]
        )

    async def _receive(self, context: Any) -> list[bytes]:
        """The call's images. Raises RequestError, for a full queue before they are read."""
        self._check_room()
        if self._unread >= self._calls:
            raise RequestError(QUEUE_FULL, "the queue is full of calls not yet read: try later")
        self._unread += 1
        try:
            async with self._turns:
                self._check_room()  # it may have filled meanwhile
                async with asyncio.timeout(self._body_timeout_s):
                    message = await context.read()  # their iterator would keep it
        except TimeoutError:
            raise RequestError(
                SLOW_BODY, f"the message did not arrive within {self._body_timeout_s} s"
            ) from None
        finally:
            self._unread -= 1
        if message is grpc.aio.EOF:
            raise RequestError(EMPTY_BODY, "the call holds no message")
        try:
            return list(pb.ClassifyRequest.FromString(message).images)
        except DecodeError:
            raise RequestError(BAD_MESSAGE, "the message is not a ClassifyRequest") from None

    def _check_room(self) -> None:
        """Raises RequestError if both queues are full: which it is for, only its message says."""
        try:
            self._classifier.check_room()
        except RequestError:
            self._classifier.check_room(2, bulk=True)


class Health(health.aio.HealthServicer):  # pyright: ignore
    """Says what GET /ready says, to who asks and to who watches."""

    def __init__(self, classifier: Classifier, probe: Probe) -> None:
        super().__init__()
        self._classifier = classifier
        self._probe = probe

    async def update(self) -> None:
        works = self._classifier.healthy or await self._probe()
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
    settings: Settings, classifier: Classifier, probe: Probe
) -> Callable[[], Awaitable[None]]:
    """Listens when it returns; the result stops it. Raises RuntimeError if the port is taken.

    `probe` runs one real inference and says whether it succeeded.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_connections,
        options=[
            ("grpc.so_reuseport", 0),  # else a second server would share the port unnoticed
            ("grpc.max_receive_message_length", settings.max_body_bytes + FRAMING_BYTES),
            ("grpc.max_concurrent_streams", 256),
            ("grpc.http2.bdp_probe", 0),  # else windows grow until whole messages wait unread
            ("grpc.keepalive_time_ms", 60_000),
        ],
    )
    classify = grpc.stream_unary_rpc_method_handler(
        ClassifyService(settings, classifier).classify,
        response_serializer=pb.ClassifyResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Classify": classify}),)
    )
    servicer: Any = Health(classifier, probe)
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
