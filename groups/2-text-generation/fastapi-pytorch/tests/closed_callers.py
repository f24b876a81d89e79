"""What the network costs 16 callers, each of whom asks anew when its answer has ended.

Run by hand, the server on CPU 1 and the callers on CPU 0, beside the bare engine's engine.py:
MODEL_DIR=… PAYLOADS_DIR=../payloads THREADS=1 taskset -c 1 python -P tests/closed_callers.py
gives this server's steps their work in memory. With URL=http://127.0.0.1:8000 GRPC=127.0.0.1:8001
PID=… of a server it asks that one over REST, SSE and gRPC.

Prints a JSON line a way: output tokens per second; in memory how many sequences and tokens a mean
step has, over a network how many sequences, and the server's CPU seconds a second: of its first
thread, where the event loop is, and of its others, the steps and gRPC's own.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # `python -P` leaves it out

CALLERS = 16
SETTLE_S = 4  # until callers are at different places of their answers
WINDOW_S = 16
Ask = Callable[[dict[str, Any]], AsyncIterator[int]]  # a body to its tokens' count, as they come


def bodies(folder: Path) -> list[dict[str, Any]]:
    """The main set, without what is held back."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    main_set = [each for each in entries if not each.get("set") and not each.get("audit")]
    return [json.loads((folder / each["file"]).read_text(encoding="utf-8")) for each in main_set]


def show(way: str, tokens: int, seconds: float, **more: Any) -> None:
    print(json.dumps({"way": way, "tokens_per_s": round(tokens / seconds, 1), **more}), flush=True)


def without_network() -> None:
    # Here, not above: the callers' environment is another one and has no torch.
    from batcher import Batcher, Job, Piece, Running
    from model import Model
    from settings import from_environment
    from text import Text

    settings = from_environment()
    model = Model(settings)
    text = Text(settings.model_dir, model.context)
    jobs = [
        Job(text.encode(body["prompt"]), body["max_tokens"], ignore_eos=True)
        for body in bodies(Path(os.environ["PAYLOADS_DIR"]))
    ]
    steps: list[tuple[int, int]] = []  # sequences and tokens of each
    plain = model.logits

    def logits(tokens: Sequence[int], rows: list[Any], wanted: Sequence[int]) -> Any:
        steps.append((len(rows), len(tokens)))
        return plain(tokens, rows, wanted)

    model.logits = logits

    def deliver(pieces: Sequence[tuple[Running, Piece]]) -> None:
        for sequence, piece in pieces:
            sequence.give(piece)

    batcher = Batcher(
        model, text, settings.threads, settings.max_batch, settings.step_tokens, deliver
    )
    following = itertools.cycle(jobs)
    made = 0

    def give(piece: Piece) -> None:
        nonlocal made
        made += 1
        if piece.finish:
            batcher.submit(next(following), give)

    for _ in range(CALLERS):
        batcher.submit(next(following), give)
    time.sleep(SETTLE_S)
    steps.clear()
    before, started = made, time.perf_counter()
    time.sleep(WINDOW_S)
    took = time.perf_counter() - started
    means = [round(sum(column) / len(steps), 1) for column in zip(*steps, strict=True)]
    of_a_step = dict(zip(("sequences", "tokens_a_step"), means, strict=True))
    show("no network", made - before, took, **of_a_step)
    batcher.close()


def cpu_s(pid: int) -> tuple[float, float]:
    """CPU seconds of a process's first thread, where the event loop is, and of all others."""
    loop = others = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if int(task.name) == pid:
            loop += used
        else:
            others += used
    return loop, others


async def sequences_and_steps(http: Any) -> tuple[float, float]:
    """How many sequences took part in steps so far, and in how many, as the server counts."""
    lines = (await http.get("/metrics")).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    name = "generate_batch_sequences"
    return float(found[f"{name}_sum"]), float(found[f"{name}_count"])


async def over_network(url: str, grpc_target: str, pid: int) -> None:
    import grpc
    import httpx

    import generate_pb2 as pb
    from generate_pb2_grpc import GeneratorStub

    asked = bodies(Path(os.environ["PAYLOADS_DIR"]))
    fixed = {"model": os.environ.get("MODEL", "gpt2"), "temperature": 0, "ignore_eos": True}
    limits = httpx.Limits(max_connections=CALLERS + 1)  # and one that asks for metrics
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http,
        grpc.aio.insecure_channel(grpc_target) as channel,
    ):

        async def rest(body: dict[str, Any]) -> AsyncIterator[int]:
            answer = await http.post("/v1/completions", json={**fixed, **body})
            answer.raise_for_status()
            yield answer.json()["usage"]["completion_tokens"]

        async def sse(body: dict[str, Any]) -> AsyncIterator[int]:
            whole = {**fixed, **body, "stream": True, "return_token_ids": True}
            async with http.stream("POST", "/v1/completions", json=whole) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        yield len(json.loads(line[6:])["choices"][0]["token_ids"])

        async def by_grpc(body: dict[str, Any]) -> AsyncIterator[int]:
            request = pb.GenerateRequest(
                **fixed, prompt=body["prompt"], max_tokens=body["max_tokens"]
            )
            async for chunk in GeneratorStub(channel).Generate(request):
                yield len(chunk.token_ids)

        for way, ask in (("REST", rest), ("SSE", sse), ("gRPC", by_grpc)):
            await measure(way, ask, asked, http, pid)


async def measure(way: str, ask: Ask, asked: Sequence[dict[str, Any]], http: Any, pid: int) -> None:
    following = itertools.cycle(asked)
    made = 0

    async def caller() -> None:
        nonlocal made
        while True:
            async for tokens in ask(next(following)):
                made += tokens

    going = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    await asyncio.wait(going, timeout=SETTLE_S, return_when=asyncio.FIRST_EXCEPTION)
    steps, cpu = await sequences_and_steps(http), cpu_s(pid)
    before, started = made, time.perf_counter()
    await asyncio.wait(going, timeout=WINDOW_S, return_when=asyncio.FIRST_EXCEPTION)
    tokens, took = made - before, time.perf_counter() - started
    loop, others = (b - a for a, b in zip(cpu, cpu_s(pid), strict=True))
    after = await sequences_and_steps(http)
    sequences, count = (b - a for a, b in zip(steps, after, strict=True))
    for each in going:
        each.cancel()
    for ended in await asyncio.gather(*going, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise ended
    mean = round(sequences / count, 1)
    cpus = {"loop": round(loop / took, 3), "others": round(others / took, 3)}
    show(way, tokens, took, sequences=mean, **cpus)
    await asyncio.sleep(1)  # what was cancelled is given up by then


def main() -> None:
    if url := os.environ.get("URL"):
        asyncio.run(over_network(url, os.environ["GRPC"], int(os.environ["PID"])))
    else:
        without_network()


if __name__ == "__main__":
    main()
