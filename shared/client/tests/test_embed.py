"""Texts to vectors over every protocol, sync and async, against a real server that speaks it."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wire_embed
from wire_http import QuietServer, Seen

from inference_client import (
    BadInput,
    InferenceError,
    Overloaded,
    Unreachable,
    Vector,
    connect,
    connect_async,
)

KSERVE = '{ model = "embed", input = "TEXT", outputs = ["EMBEDDING"] }'
STACK_TOML = f"""
[interfaces.openai]
protocol = "openai-embeddings-http"
port = "http"
[interfaces.tei]
protocol = "tei-http"
port = "http"
[interfaces.kserve]
protocol = "kserve-v2-http"
port = "http"
options = {KSERVE}
[interfaces.grpc]
protocol = "embed-grpc"
port = "grpc"
[interfaces.kserve-grpc]
protocol = "kserve-v2-grpc"
port = "grpc"
options = {KSERVE}
[interfaces.tei-grpc]
protocol = "tei-grpc"
port = "grpc"
"""
HTTP = ["openai", "tei", "kserve"]
INTERFACES = [*HTTP, "grpc", "kserve-grpc", "tei-grpc"]
BATCHES = [name for name in INTERFACES if name != "tei-grpc"]
ODD = 'é 漢字 \U0001f642 "quoted" \n'
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """(stack folder, ports) of servers that speak every wire format; `seen` is on the handler."""
    folder = tmp_path_factory.mktemp("group")
    (folder / "stack.toml").write_text(STACK_TOML)
    wire_embed.EmbeddingResponder.seen = Seen()
    http = QuietServer(("127.0.0.1", 0), wire_embed.EmbeddingResponder)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    server, port = wire_embed.serve()
    yield folder, {"http": http.server_port, "grpc": port}
    server.stop(0).wait()
    http.shutdown()
    http.server_close()


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest, embedder: tuple[Path, dict[str, int]]) -> Any:
    """A function (interface, texts, …) -> vectors that connects, asks and closes."""
    folder, real_ports = embedder

    def call(interface: str, texts: list[str], ports: dict[str, int] = real_ports) -> list[Vector]:
        if request.param == "sync":
            with connect(folder, interface, ports=ports, timeout_s=5) as stack:
                return stack.embed(texts)

        async def later() -> list[Vector]:
            async with connect_async(folder, interface, ports=ports, timeout_s=5) as stack:
                return await stack.embed(texts)

        return asyncio.run(later())

    return call


@pytest.mark.parametrize("interface", INTERFACES)
def test_one_text_as_it_is(embed: Any, interface: str) -> None:
    """A wrong encoding would embed something else: the server counts UTF-8 bytes."""
    assert embed(interface, [ODD]) == [(len(ODD.encode()), ODD.count(" "), 0.5)]


@pytest.mark.parametrize("interface", BATCHES)
def test_a_batch_is_one_request_and_keeps_its_order(embed: Any, interface: str) -> None:
    """OpenAI's form carries an index, and this server sends the last one first."""
    seen = wire_embed.EmbeddingResponder.seen
    seen.requests.clear()
    texts = ["a" * size + " " for size in (30, 2, 11, *range(100, 120))]
    assert [vector[0] for vector in embed(interface, texts)] == [len(text) for text in texts]
    assert len(seen.requests) == (interface in HTTP)


def test_one_text_a_call(embed: Any) -> None:
    with pytest.raises(ValueError, match="takes one text a call, not 2"):
        embed("tei-grpc", ["a", "b"])


@pytest.mark.parametrize("interface", INTERFACES)
def test_what_can_go_wrong(embed: Any, interface: str) -> None:
    """Refusals, a full queue and nobody there are told apart, with the server's own words."""
    with pytest.raises(BadInput, match="text 0 is empty"):
        embed(interface, [""])
    with pytest.raises(Overloaded, match="the queue is full"):
        embed(interface, ["busy"])
    with pytest.raises(Unreachable, match="is the stack running"):
        embed(interface, ["a"], ports={"http": 1, "grpc": 1})


@pytest.mark.parametrize("interface", BATCHES)
def test_a_lost_vector(embed: Any, interface: str) -> None:
    """The others would be given to the wrong texts."""
    with pytest.raises(InferenceError, match="2 answers for 3 payloads") as caught:
        embed(interface, ["one", "short", "two"])
    assert type(caught.value) is InferenceError
