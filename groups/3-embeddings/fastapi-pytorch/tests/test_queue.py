"""More than the server can do. Its only worker is held by one long batch meanwhile, so that what
happens is decided by the order of things and not by how fast the machine is.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest

QUEUE = 8  # single texts
BULK = 64  # texts of one larger request; two of them and HOLDING fill the queue of those
BUFFERED = 100_000  # bytes of all bodies that are being received
HOLDING = 24  # texts of one batch: two seconds of one CPU, a fifth of one on a fast machine


@pytest.fixture(scope="module", autouse=True)
def one_worker() -> Iterator[None]:
    """What this file's server is started with: a small queue, and batches that take long."""
    knobs = {
        "SERVER_CPUS": str(min(os.sched_getaffinity(0))),
        "QUEUE_TEXTS": str(QUEUE),
        "WORKERS": "1",
        "MAX_BATCH": str(HOLDING),
        "BATCH_TOKENS": "20000",
        "BULK_QUEUE_TEXTS": str(HOLDING + 2 * BULK),
        "MAX_BUFFERED_BYTES": str(BUFFERED),
        "HEADER_TIMEOUT_S": "3",
        "BODY_TIMEOUT_S": "3",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in knobs.items():
            patch.setenv(name, value)
        yield


async def figure(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def held(client: httpx.AsyncClient) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """The worker executes one batch of HOLDING long texts; afterwards all are answered."""
    before = await figure(client, "embed_queue_seconds_count")
    texts = [f"{number} " + "many words " * 120 for number in range(HOLDING)]
    holding = asyncio.create_task(client.post("/v1/embeddings", json={"input": texts}))

    async def begun() -> bool:
        return await figure(client, "embed_queue_seconds_count") - before >= HOLDING

    await until(begun)
    yield holding
    assert (await holding).status_code == 200


def run(scenario: Callable[[httpx.AsyncClient], Any], url: str) -> None:
    async def whole() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
            await scenario(client)

    asyncio.run(whole())


async def ask(client: httpx.AsyncClient, answered: list[httpx.Response]) -> None:
    answered.append(await client.post("/v1/embeddings", json={"input": "rain on the roof"}))


def test_four_times_its_capacity(server: Any):
    """A full queue's worth is served, three times as much is refused before the first answer; then
    all is as before.

    Breaks with an unbounded queue, with one that counts only what has not begun, with refusal
    behind the queue, and with a place that is not given back.
    """

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(2):  # what the first flood took is given back
            answered: list[httpx.Response] = []
            refused_before = await figure(client, "embed_refused_total")
            async with held(client) as holding:
                asked = [asyncio.create_task(ask(client, answered)) for _ in range(4 * QUEUE)]

                async def all_refused(answered: list[httpx.Response] = answered) -> bool:
                    return len(answered) == 3 * QUEUE

                await until(all_refused)
                assert not holding.done(), "the worker was free: nothing was tested"
                assert await figure(client, "embed_pending_texts") == HOLDING + QUEUE
            await asyncio.gather(*asked)
            codes = [response.status_code for response in answered]
            assert codes == [503] * 3 * QUEUE + [200] * QUEUE
            for response in answered[: 3 * QUEUE]:
                assert response.headers["retry-after"].isdigit()
                assert response.json()["error"]["code"] == "queue_full"
            refused = await figure(client, "embed_refused_total") - refused_before
            assert refused == 3 * QUEUE
            assert await figure(client, "embed_pending_texts") == 0

    run(scenario, server.url)


def test_grpc_stands_in_the_same_queue(server: Any, pb: Any, embed_over: Callable[..., Any]):
    """RESOURCE_EXHAUSTED with a time to wait, when HTTP requests have filled it."""
    request = pb.EmbedRequest(inputs=["rain"])

    async def scenario(client: httpx.AsyncClient) -> None:
        async with held(client) as holding:
            asked = [asyncio.create_task(ask(client, [])) for _ in range(QUEUE)]

            async def full() -> bool:
                return await figure(client, "embed_pending_texts") == HOLDING + QUEUE

            await until(full)
            with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}") as channel:
                call = embed_over(channel).future(request, timeout=60)
                code = await asyncio.to_thread(call.code)
            assert not holding.done(), "the worker was free: nothing was tested"
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "full" in call.details()
            assert dict(call.trailing_metadata())["grpc-retry-pushback-ms"].isdigit()
        await asyncio.gather(*asked)

    run(scenario, server.url)


def test_singles_pass_bulk_requests(server: Any):
    """A single text is answered before the 128 that came first, and they are answered too. The
    queue of larger requests has a limit of its own.

    Breaks with one queue for both: then it waits for all of them. And with a limit for single
    texts only: then uploads fill the memory.
    """
    texts = [f"number {i}: " + "many words " * 20 for i in range(BULK)]

    async def scenario(client: httpx.AsyncClient) -> None:
        async with held(client):
            bulk = [
                asyncio.create_task(client.post("/v1/embeddings", json={"input": texts}))
                for _ in range(2)
            ]

            async def all_wait() -> bool:
                return await figure(client, "embed_pending_texts") == HOLDING + 2 * len(texts)

            await until(all_wait)
            one_more = await client.post("/v1/embeddings", json={"input": ["rain", "snow"]})
            assert one_more.status_code == 503 and "several texts" in one_more.text
            answered: list[httpx.Response] = []
            await ask(client, answered)
            assert answered[0].status_code == 200
            assert not any(task.done() for task in bulk)
            assert {(await task).status_code for task in bulk} == {200}

    run(scenario, server.url)


def test_abandoned_requests_cost_nothing(server: Any):
    """What a caller that left had sent is not executed. Breaks if its texts stay in the queue."""
    texts = [f"number {i}: " + "many words " * 20 for i in range(BULK)]

    async def scenario(client: httpx.AsyncClient) -> None:
        executed_before = await figure(client, "embed_batch_texts_sum")
        async with held(client) as holding:
            left = asyncio.create_task(client.post("/v1/embeddings", json={"input": texts}))

            async def pending(texts: int) -> bool:
                return await figure(client, "embed_pending_texts") == texts

            await until(lambda: pending(HOLDING + len(texts)))
            left.cancel()
            await until(lambda: pending(HOLDING))
            assert not holding.done(), "the worker was free: nothing was tested"
        # In the same line, behind what was left if anything was.
        last = await client.post("/v1/embeddings", json={"input": ["rain", "snow"]})
        assert last.status_code == 200
        executed = await figure(client, "embed_batch_texts_sum") - executed_before
        assert executed == HOLDING + 2

    run(scenario, server.url)


def test_bodies_have_a_limit_together(server: Any):
    """Too many bytes at a time are refused for now, and what was received makes room again.

    Breaks if uploads that are each allowed can fill the memory, or if the room is never given back.
    """
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(3):
            refused = client.post("/v1/embeddings", json={"input": ["word " * 10_000] * 3})
            assert refused.status_code == 503 and "uploads" in refused.text
            assert refused.headers["retry-after"].isdigit()
            served = client.post("/v1/embeddings", json={"input": "word " * 10_000})
            assert served.status_code == 200, served.text


def test_slow_senders_are_sent_away(server: Any):
    """One that sends no headers is cut off, one that stops within its body is told why.

    Breaks if either keeps its connection for ever: a thousand of them are all that it takes.
    """
    address = ("127.0.0.1", server.port("http"))
    with socket.create_connection(address, 60) as silent, socket.create_connection(address) as slow:
        slow.settimeout(60)
        slow.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n{")
        said = b""
        while b"slow_body" not in said:
            more = slow.recv(65536)
            assert more, said
            said += more
        assert said.startswith(b"HTTP/1.1 408 ")
        slow.sendall(b"{")  # more of what is refused: it must not buy more time
        assert slow.recv(1) == b""
        assert silent.recv(1) == b""
