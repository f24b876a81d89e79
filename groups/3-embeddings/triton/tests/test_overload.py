"""More callers than its queues hold, for 6 s: refused at once, and back to normal after."""

import asyncio
import statistics
import time
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc.aio as kserve
from tritonclient.utils import InferenceServerException

PATH = "/v2/models/embed/infer"
TEXT = "Long enough to be work, and the same for all of them. " * 5  # 60 tokens
CALLERS = 300


async def timed(client: httpx.AsyncClient, url: str, request: Any) -> tuple[int, str, float]:
    """(status, body where it isn't an answer, seconds)."""
    began = time.monotonic()
    reply = await client.post(url, content=request.content, headers=request.headers)
    text = "" if reply.status_code == 200 else reply.text
    return reply.status_code, text, time.monotonic() - began


async def alone(client: httpx.AsyncClient, url: str, request: Any, count: int) -> float:
    """Median seconds of requests sent one after another."""
    replies = [await timed(client, url, request) for _ in range(count)]
    assert {status for status, _, _ in replies} == {200}
    return statistics.median(seconds for _, _, seconds in replies)


async def flood(client: httpx.AsyncClient, url: str, request: Any, seconds: float):
    """All CALLERS at once, and again: after an answer immediately, after a refusal a little later.

    However fast the machine is, that is more than its queues hold and it executes.
    """
    until = time.monotonic() + seconds

    async def caller() -> list[tuple[int, str, float]]:
        replies: list[tuple[int, str, float]] = []
        while time.monotonic() < until:
            replies.append(await timed(client, url, request))
            if replies[-1][0] != 200:
                await asyncio.sleep(1)
        return replies

    called = await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return [reply for replies in called for reply in replies]


async def flood_over_grpc(port: int) -> list[str]:
    """The status of each refusal when all CALLERS call at once, each once."""
    tensor = kserve.InferInput("TEXT", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[TEXT.encode()]], dtype=np.object_))
    async with kserve.InferenceServerClient(f"127.0.0.1:{port}") as client:
        calls = (client.infer("embed", [tensor], client_timeout=60) for _ in range(CALLERS))
        replies = await asyncio.gather(*calls, return_exceptions=True)
    failed = [reply for reply in replies if isinstance(reply, BaseException)]
    assert all(isinstance(reply, InferenceServerException) for reply in failed), failed
    return [str(reply.status()) for reply in failed if isinstance(reply, InferenceServerException)]


async def scenario(
    server: Any, request: Any
) -> tuple[float, list[tuple[int, str, float]], list[str], float]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        url = server.url + PATH
        before = await alone(client, url, request, 12)
        flooded = await flood(client, url, request, 6)
        by_grpc = await flood_over_grpc(server.port("grpc"))
        return before, flooded, by_grpc, await alone(client, url, request, 12)


def refusals(server: Any) -> float:
    """How many there have been, as stack.toml reads Triton's metrics."""
    text = httpx.get(f"http://127.0.0.1:{server.port('metrics')}/metrics").text
    wanted = server.stack.metrics_map["refused_count"]
    counts = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(wanted["name"] + "{")
        and all(f'{label}="{value}"' in line for label, value in wanted["labels"].items())
    ]
    return sum(counts) * wanted["scale"]


# Another process can spoil one flood; a wrong server spoils all.
@pytest.mark.flaky(reruns=2)
def test_overload_is_refused_at_once_and_leaves_no_trace(server: Any, body: Any):
    """Breaks with a step whose queue has no limit, with a refusal that waits behind the queue, and
    with refusals that the metric of stack.toml, which a dashboard alerts on, counts twice or not.
    """
    counted = refusals(server)
    before, flooded, by_grpc, after = asyncio.run(scenario(server, body([TEXT])))
    served = [seconds for status, _, seconds in flooded if status == 200]
    refused = [(text, seconds) for status, text, seconds in flooded if status == 503]
    assert len(served) + len(refused) == len(flooded), {status for status, _, _ in flooded}
    assert len(served) > 10, "a server that refuses all is no use"
    assert len(refused) > 20, "it was not overloaded: the test shows nothing"
    assert all("Exceeds maximum queue size" in text for text, _ in refused)
    assert len(by_grpc) > 20, "it was not overloaded over gRPC: that shows nothing"
    assert set(by_grpc) == {"StatusCode.UNAVAILABLE"}
    # The queue is bounded, and a refusal doesn't wait in it.
    quick = statistics.median(seconds for _, seconds in refused)
    assert quick < statistics.median(served) / 2
    assert after < 3 * before
    assert server.alive()
    assert refusals(server) - counted == len(refused) + len(by_grpc)
