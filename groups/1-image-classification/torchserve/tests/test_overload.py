"""Four times its capacity for ten seconds: refused quickly, then as before."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

PATH = "/predictions/resnet50"
JPEG = {"content-type": "image/jpeg"}
OVERLOAD, SECONDS = 4, 10


@dataclass(frozen=True)
class Answer:
    status: int
    seconds: float


async def ask(client: httpx.AsyncClient, image: bytes) -> Answer:
    started = time.monotonic()
    response = await client.post(PATH, content=image, headers=JPEG)
    return Answer(response.status_code, time.monotonic() - started)


async def capacity_per_s(client: httpx.AsyncClient, images: list[bytes]) -> float:
    """Answers per second to eight callers that wait for their answers."""
    started = time.monotonic()
    served = 0

    async def caller(number: int) -> None:
        nonlocal served
        while time.monotonic() < started + 4:
            assert (await ask(client, images[number])).status == 200
            served += 1

    await asyncio.gather(*(caller(number) for number in range(8)))
    return served / (time.monotonic() - started)


async def flood(client: httpx.AsyncClient, images: list[bytes], rate: float) -> list[Answer]:
    """Requests at a fixed rate, whatever the server does."""
    started = time.monotonic()
    tasks: list[asyncio.Task[Answer]] = []
    for number in range(int(rate * SECONDS)):
        await asyncio.sleep(max(0, started + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(ask(client, images[number % len(images)])))
    return await asyncio.gather(*tasks)


async def one_by_one(client: httpx.AsyncClient, images: list[bytes]) -> list[Answer]:
    return [await ask(client, image) for image in images[:12]]


def median(answers: list[Answer]) -> float:
    assert len(answers) >= 10
    return statistics.median(answer.seconds for answer in answers)


def p95(answers: list[Answer]) -> float:
    assert len(answers) >= 20
    return statistics.quantiles([answer.seconds for answer in answers], n=20)[-1]


# Another process can spoil one flood; a wrong server spoils all.
@pytest.mark.flaky(reruns=2)
def test_four_times_its_capacity(server: Any):
    """Each request is served or gets 503, the refusals far quicker than the answers.

    Breaks with the default queue of 100 jobs: a hundred images are executed before one's own.
    """
    images = [server.payload(number) for number in range(24)]

    async def scenario() -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            rate = OVERLOAD * await capacity_per_s(client, images)
            before = await one_by_one(client, images)
            flooded = await flood(client, images, rate)
            after = await one_by_one(client, images)
            assert {answer.status for answer in before + after} == {200}
            served = [answer for answer in flooded if answer.status == 200]
            refused = [answer for answer in flooded if answer.status == 503]
            assert len(served) + len(refused) == len(flooded)
            assert len(served) > 0.5 * len(flooded) / OVERLOAD
            # at most a batch in execution, the queue of 8 and its own batch before it
            assert median(served) < 24 * median(before)
            assert p95(refused) < 0.25 * median(served)
            assert median(after) < 2 * median(before)

    asyncio.run(scenario())
    assert server.alive()


def test_grpc_refuses_with_internal(
    server: Any,
    message: Callable[..., Any],
    predict_over: Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable],
):
    """TorchServe has no code of its own for a full queue over gRPC: the sentence tells."""
    request = message({"data": server.payload(0)})
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}") as channel:
        calls = [predict_over(channel).future(request, timeout=60) for _ in range(60)]
        codes = [call.code() for call in calls]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL}
        refused = [call for call in calls if call.code() is grpc.StatusCode.INTERNAL]
        assert all("has no worker to serve" in call.details() for call in refused)
        assert b"predictions" in predict_over(channel)(request, timeout=60).prediction
