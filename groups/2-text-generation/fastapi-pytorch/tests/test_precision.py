"""bf16: it passes the study's own gate, and it isn't fp32 by another name."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import parity
from bench.group import load_group
from generation_asking import asked, calling, figure, over_every_interface, over_rest

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
GROUP = Path(__file__).resolve().parents[2]
Server = tuple[httpx.Client, Callable[..., list[Any]]]


@pytest.fixture
def half(another: Any, pb: Any) -> Iterator[Server]:
    """The server at bf16: how to ask it over HTTP, and over gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with (
        another(PRECISION="bf16", GRPC_PORT=str(port)) as (_, http),
        calling(port, pb) as begin,
    ):
        http.timeout = 120  # without instructions for bf16 a long prompt takes a while
        yield http, lambda **said: list(begin(**said))


def probes(server: Any) -> list[str]:
    return [payload.name for payload in server.payloads if payload.probe]


def faults(server: Any, answers: dict[str, list[int]], names: Sequence[str]) -> Sequence[str]:
    """What the gate finds wrong with these answers at bf16."""
    given = [{"payload": name, "answer": tokens} for name, tokens in answers.items()]
    settings = load_group(GROUP).parity
    return parity.check(given, server.artefact.reference, names, settings, "bf16").faults


def test_bf16_passes_the_gate_and_is_not_fp32(half: Server, server: Any):
    """Each probe, alone as the gate asks it, begins as the reference does; some go on otherwise,
    where fp32 would repeat the reference to its last token.

    Breaks if a place, a mask or the weights are wrong at bf16, or if PRECISION=bf16 serves fp32.
    """
    http, _ = half
    names = probes(server)
    answers = {name: over_rest(http, asked(server, name))[1] for name in names}
    assert not faults(server, answers, names)
    reference = server.artefact.reference
    assert any(answers[name] != reference[name]["tokens"] for name in names), "that is fp32"
    assert http.get("/ready").json()["dtype"] == "bfloat16"


def test_bf16_in_one_batch(half: Server, server: Any):
    """Probes that join and leave one batch begin as the reference does, and leave nothing behind.

    Breaks if at bf16 a sequence reads another's keys, or each is served alone.
    """
    http, _ = half
    names = [name for name in probes(server) if name.startswith("completion")]

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=http.base_url, timeout=120) as client:
            calls = [client.post("/v1/completions", json=asked(server, name)) for name in names]
            return await asyncio.gather(*calls)

    said = [response.json()["choices"][0]["token_ids"] for response in asyncio.run(all_at_once())]
    assert not faults(server, dict(zip(names, said, strict=True)), names)
    steps = figure(http, "generate_batch_sequences_count")
    assert steps < 0.5 * figure(http, "generate_tokens_total")
    assert figure(http, "generate_kv_usage") == 0


@pytest.mark.parametrize("name", ["completion-000", "chat-00"])
def test_every_interface_gives_the_same_at_bf16(half: Server, server: Any, name: str):
    """Streamed or whole, and what the gate asks for. Breaks if an interface has a way of its own to
    what is computed."""
    _, tokens = over_every_interface(*half, asked(server, name))
    assert not faults(server, {name: tokens}, [name])
