"""How these tests talk to the server."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from bench.environments import ensure_environment
from bench.progress import Reporter

STACK = Path(__file__).resolve().parent.parent
METHOD = "/study.embed.v1.Embedder/Embed"
MODEL = STACK.parent / "model"
PAIRS = "lib/python*/site-packages/gensim/test/test_data/wordsim353.tsv"
TEXTS = 128  # in one request

Embed = Callable[[list[str]], Sequence[Sequence[float]]]


@pytest.fixture(scope="session")
def pb() -> ModuleType:
    """The stack's own generated messages, loaded by path: its folder stays off sys.path."""
    name = "fastapi_pytorch_embed_pb2"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, STACK / "embed_pb2.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def embed_over(pb: ModuleType) -> Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable]:
    """A channel to its Embed method."""

    def method(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
        return channel.unary_unary(
            METHOD,
            request_serializer=pb.EmbedRequest.SerializeToString,
            response_deserializer=pb.EmbedResponse.FromString,
        )

    return method


@pytest.fixture
def embed(
    server: Any, pb: ModuleType, embed_over: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    """embed(text, …, option=value) over gRPC: the response, or grpc.RpcError."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}", options) as channel:
        method = embed_over(channel)
        yield lambda *texts, **more: method(pb.EmbedRequest(inputs=texts, **more), timeout=60)


@pytest.fixture(scope="module")
def reference(server: Any) -> dict[str, np.ndarray]:
    """{payload: its vector} as the artefact has them."""
    answers = json.loads((server.artefact.folder / "reference.json").read_text())
    return {name: np.asarray(vector) for name, vector in answers.items()}


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
