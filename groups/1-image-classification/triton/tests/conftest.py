"""How these tests speak KServe v2, byte for byte: a client library would hide what is broken."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

PATH = "/v2/models/classify/infer"


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

    def build(elements: Sequence[bytes], raw: bytes | None = None, **lies: Any) -> Body:
        tensor = bytes_tensor(elements) if raw is None else raw
        described = {
            "name": "IMAGE",
            "datatype": "BYTES",
            "shape": [len(elements), 1],
            "parameters": {"binary_data_size": len(tensor)},
        } | lies
        header = json.dumps({"inputs": [described]}).encode()
        return Body(header + tensor, {"Inference-Header-Content-Length": str(len(header))})

    return build


@pytest.fixture
def assert_serves(server: Any, body: Callable[..., Body]) -> Callable[[], None]:
    """The next good request gets the right answer."""

    def check() -> None:
        good = body([server.payload(1)])
        reply = httpx.post(
            server.url + PATH, content=good.content, headers=good.headers, timeout=60
        )
        assert reply.status_code == 200, reply.text
        outputs = {output["name"]: output for output in reply.json()["outputs"]}
        assert outputs["INDEX"]["shape"] == [1, 5]
        probabilities = outputs["PROBABILITY"]["data"]
        assert probabilities == sorted(probabilities, reverse=True)
        assert server.alive()

    return check
