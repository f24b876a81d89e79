"""The gRPC interface, on the same event loop and in front of the same queue as the HTTP one."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import classify_pb2 as pb
import metrics
from classifier import Classifier
from classify_pb2_grpc import ClassifierServicer, add_ClassifierServicer_to_server
from errors import QUEUE_FULL, RequestError
from settings import Settings

SERVICE = "study.classify.v1.Classifier"
RETRY_AFTER = (("grpc-retry-pushback-ms", "1000"),)
FRAMING_BYTES = 1024  # of a message around its images


class ClassifyService(ClassifierServicer):
    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    async def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:
        try:
            results = await self._classifier.classify(request.images)
        except RequestError as error:
            fault = error.fault
            metrics.REQUESTS.labels("grpc", fault.code).inc()
            if fault is QUEUE_FULL:
                metrics.REFUSED.labels("grpc").inc()
                await context.abort(fault.grpc, error.message, RETRY_AFTER)
            await context.abort(fault.grpc, error.message)
            raise AssertionError from None  # abort raises
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


async def start(settings: Settings, classifier: Classifier) -> Callable[[], Awaitable[None]]:
    """Listens when it returns; the result stops it. Raises RuntimeError if the port is taken."""
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_connections,
        options=[
            ("grpc.so_reuseport", 0),  # else a second server would share the port unnoticed
            ("grpc.max_receive_message_length", settings.max_body_bytes + FRAMING_BYTES),
            ("grpc.max_concurrent_streams", 256),
            ("grpc.keepalive_time_ms", 60_000),
        ],
    )
    add_ClassifierServicer_to_server(ClassifyService(classifier), server)
    servicer: Any = health.aio.HealthServicer()  # pyright: ignore
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for service in ("", SERVICE):
        await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    await server.start()

    async def stop() -> None:
        await servicer.enter_graceful_shutdown()
        await server.stop(settings.grace_s)

    return stop
