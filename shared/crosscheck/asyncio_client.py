"""A plain asyncio client, as one writes it for a quick benchmark; aiohttp sends the requests.

aiohttp rather than httpx: vLLM's and SGLang's own benchmark clients use it, and on one core its
times are three to four times closer to the truth. A time begins where the coroutine sends.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from records import Records, Request, circle, read_requests


async def ask(
    session: aiohttp.ClientSession, base: str, request: Request, records: Records
) -> None:
    """Send one request and record what came of it."""
    sent = time.monotonic_ns()
    body, status, error = b"", -1, ""
    try:
        async with session.request(
            request.method, base + request.path, data=request.body, headers=request.headers
        ) as response:
            body = await response.read()
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as failure:
        error = repr(failure)
    records.put(sent, time.monotonic_ns(), status, body, error)


async def closed(
    session: aiohttp.ClientSession,
    base: str,
    requests: Iterator[tuple[int, Request]],
    users: int,
    records: Records,
) -> None:
    """Callers that each wait for their answer."""

    async def user() -> None:
        while time.monotonic_ns() < records.window_end_ns:
            await ask(session, base, next(requests)[1], records)

    await asyncio.gather(*(user() for _ in range(users)))


async def open_loop(
    session: aiohttp.ClientSession,
    base: str,
    requests: Iterator[tuple[int, Request]],
    rate: float,
    records: Records,
) -> None:
    """A task each 1/rate seconds, whatever became of the others."""
    begin = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        while time.monotonic_ns() < records.window_end_ns:
            number, request = next(requests)
            await asyncio.sleep(begin + number / rate - time.monotonic())
            tasks.create_task(ask(session, base, request, records))


async def run(arguments: argparse.Namespace) -> None:
    """One load, from its warm-up to the last answer."""
    requests = circle(read_requests(arguments.requests))
    timeout = aiohttp.ClientTimeout(total=arguments.timeout)
    skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
    with Records(arguments.out, arguments.warmup, arguments.window) as records:
        async with aiohttp.ClientSession(timeout=timeout, skip_auto_headers=skipped) as session:
            if arguments.rate:
                await open_loop(session, arguments.base, requests, arguments.rate, records)
            else:
                await closed(session, arguments.base, requests, arguments.users, records)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="http://host:port")
    parser.add_argument("--requests", type=Path, required=True, help="what `make requests` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for records.csv")
    parser.add_argument("--users", type=int, default=1, help="callers of a closed load")
    parser.add_argument("--rate", type=float, help="requests/s: an open load instead")
    parser.add_argument("--warmup", type=float, default=2, help="seconds that are left out")
    parser.add_argument("--window", type=float, default=10, help="seconds that count")
    parser.add_argument("--timeout", type=float, default=20, help="seconds a request may take")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
