"""How these tests speak KServe v2, byte for byte: a client library would hide what is broken."""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

PATH = "/v2/models/embed/infer"
TEXT = "A server that answers is worth two in the queue."


@dataclass(frozen=True)
class Body:
    """An HTTP body with the headers that tell how to read it."""

    content: bytes
    headers: dict[str, str]


def bytes_tensor(elements: Sequence[bytes]) -> bytes:
    """Each element after its length: four bytes, little endian."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.fixture(scope="session")
def body() -> Callable[..., Body]:
    """Build a request; every part of the header can be made to lie."""

    def build(texts: Sequence[str | bytes], raw: bytes | None = None, **lies: Any) -> Body:
        elements = [text.encode() if isinstance(text, str) else text for text in texts]
        tensor = bytes_tensor(elements) if raw is None else raw
        described = {
            "name": "TEXT",
            "datatype": "BYTES",
            "shape": [len(elements), 1],
            "parameters": {"binary_data_size": len(tensor)},
        } | lies
        header = json.dumps({"inputs": [described]}).encode()
        return Body(header + tensor, {"Inference-Header-Content-Length": str(len(header))})

    return build


@pytest.fixture
def embed(server: Any, body: Callable[..., Body]) -> Callable[..., list[list[float]]]:
    """embed(texts): their vectors, by one good request over REST."""

    def ask(texts: Sequence[str]) -> list[list[float]]:
        request = body(texts)
        reply = httpx.post(
            server.url + PATH, content=request.content, headers=request.headers, timeout=60
        )
        assert reply.status_code == 200, reply.text
        (output,) = reply.json()["outputs"]
        rows, length = output["shape"]
        assert (output["name"], rows) == ("EMBEDDING", len(texts))
        data: list[float] = output["data"]
        return [data[at * length : (at + 1) * length] for at in range(rows)]

    return ask


@pytest.fixture
def assert_serves(server: Any, embed: Callable[..., list[list[float]]]) -> Callable[[], None]:
    """The next good request gets a vector of length 1."""

    def check() -> None:
        (vector,) = embed([TEXT])
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)
        assert server.alive()

    return check
