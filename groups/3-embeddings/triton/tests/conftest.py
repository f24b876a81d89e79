"""How these tests speak KServe v2, byte for byte: a client library would hide what is broken."""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from bench.environments import ensure_environment
from bench.progress import Reporter

STACK = Path(__file__).resolve().parents[1]
MODEL = STACK.parent / "model"
PAIRS = "lib/python*/site-packages/gensim/test/test_data/wordsim353.tsv"
TEXTS = 128  # in one request

PATH = "/v2/models/embed/infer"
TEXT = "A server that answers is worth two in the queue."

Embed = Callable[[list[str]], Sequence[Sequence[float]]]


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


@pytest.fixture(scope="session")
def spearman() -> Callable[[Embed], float]:
    """spearman(embed): rank correlation of a server's cosines with people's judgement of
    WordSim-353's pairs, which the model's builder brings along. −1 to 1."""
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    (file,) = environment.glob(PAIRS)
    lines = [
        line.split("\t") for line in file.read_text().splitlines() if line[:1] not in ("", "#")
    ]
    words = sorted({word for first, second, _ in lines for word in (first, second)})

    def correlation(embed: Embed) -> float:
        found: list[Sequence[float]] = []
        for start in range(0, len(words), TEXTS):
            found += embed(words[start : start + TEXTS])
        vectors = {word: np.asarray(row) for word, row in zip(words, found, strict=True)}
        cosines = [float(vectors[first] @ vectors[second]) for first, second, _ in lines]
        return float(spearmanr(cosines, [float(said) for _, _, said in lines]).statistic)

    return correlation
