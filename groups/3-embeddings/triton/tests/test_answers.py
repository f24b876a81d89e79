"""Right vectors, in order, through NVIDIA's own clients, unchanged; and what the metrics count."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from inference_client import BadInput, connect

PUBLISHED = Path(__file__).with_name("published.json")
Embed = Callable[[Sequence[str]], list[list[float]]]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    products = sum(a * b for a, b in zip(one, other, strict=True))
    return products / (math.hypot(*one) * math.hypot(*other))


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def test_tritonclient_gets_the_reference_vectors(module: Any, server: Any):
    """Requests of 1 and 128 texts, over both protocols, with nothing but what NVIDIA ships."""
    port = server.port("http" if module is tritonclient.http else "grpc")
    chosen = [p for p in server.payloads if p.name in server.artefact.reference][:128]
    reference = [server.artefact.reference[payload.name] for payload in chosen]
    texts = [payload.data() for payload in chosen]
    client = module.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        for number in (1, len(texts)):
            tensor = module.InferInput("TEXT", [number, 1], "BYTES")
            tensor.set_data_from_numpy(np.array(texts[:number], dtype=np.object_)[:, None])
            vectors = client.infer("embed", [tensor]).as_numpy("EMBEDDING")
            assert vectors.shape == (number, len(reference[0]))
            worst = min(map(cosine, vectors.tolist(), reference[:number]))
            assert worst >= 0.9999
    finally:
        client.close()


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_the_studys_client_gets_the_reference_vectors(interface: str, server: Any):
    """It speaks what stack.toml names: several texts in one request, faults by what to do."""
    chosen = [p for p in server.payloads if p.name in server.artefact.reference][:3]
    with connect(PUBLISHED.parents[1], interface, ports=server.running.ports) as stack:
        vectors = stack.embed([payload.data().decode() for payload in chosen])
        for payload, vector in zip(chosen, vectors, strict=True):
            assert cosine(vector, server.artefact.reference[payload.name]) >= 0.9999
        with pytest.raises(BadInput, match=r"TEXT\[1\]: the text is empty"):
            stack.embed(["rain", ""])


def test_its_quality_is_the_references(server: Any, spearman: Callable[..., float]):
    """It ranks words as people do as well as the model does. Only real weights have a quality."""
    if server.artefact.weights != "pretrained":
        pytest.skip(f"{server.artefact.weights} weights: there is no quality to compare")
    with connect(PUBLISHED.parents[1], ports=server.running.ports) as stack:
        found = spearman(stack.embed)
    assert abs(found - server.artefact.manifest["quality"]["fp32"]) <= 0.001


def test_a_client_batch_keeps_its_order(embed: Embed):
    """The bug this would catch: rows sorted by length and given back in that order."""
    texts = ["long " * 60, "short", "middle " * 20, "é", "shorter", "long " * 300]
    together = embed(texts)
    for number, text in enumerate(texts):
        (alone,) = embed([text])
        others = [cosine(alone, vector) for vector in together]
        assert others[number] >= 0.9999
        assert max(range(len(texts)), key=others.__getitem__) == number


def test_requests_that_are_executed_together_keep_their_own_rows(
    server: Any, body: Callable[..., Any], embed: Embed
):
    """Sixteen callers at once, of different lengths: the same vectors as one by one."""
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"text {number} " * (1 + number % 7) for number in range(16)]
    alone = [embed([text])[0] for text in texts]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            crowd = list(pool.map(lambda text: embed([text])[0], texts))
            assert min(map(cosine, crowd, alone)) >= 0.9999


def test_what_is_over_the_models_limit_is_cut_off(server: Any, embed: Embed):
    told = json.loads((server.artefact.folder / "embedding.json").read_text())
    limit = told["max_tokens"] - 2  # [CLS] and [SEP] count
    long = "one " * limit
    one, more, less = embed([long, long + "and a different end", "one " * (limit - 10)])
    assert cosine(one, more) >= 0.99999
    assert len(less) == told["dimensions"]


def counted(server: Any) -> dict[str, float]:
    """The encoder's own counters now."""
    text = httpx.get(f"http://127.0.0.1:{server.port('metrics')}/metrics").text
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("embed_"):
            name = line.split("{")[0]
            found[name] = found.get(name, 0) + float(line.rsplit(" ", 1)[1])
    return found


def test_the_metrics_count_texts_and_padding(server: Any, embed: Embed):
    """By hand: three texts of 3 tokens and one of 12, in one request."""
    before = counted(server)
    embed(["one", "two", "three", "one two three four five six seven eight nine ten"])
    grown = {name: value - before.get(name, 0) for name, value in counted(server).items()}
    assert (grown["embed_texts"], grown["embed_tokens"]) == (4, 3 * 3 + 12)
    assert 21 <= grown["embed_padded_tokens"] <= 4 * 12
    assert 1 <= grown["embed_executions"] <= 4


def test_it_is_set_up_as_the_readme_says(server: Any):
    """By the configuration that the server itself tells. Breaks when a default is changed in one
    place only, with a delay that every lone caller would pay, and with a queue without limit; also
    when batch efficiency is divided by something else than what one execution may hold."""
    config = httpx.get(f"{server.url}/v2/models/encoder/config").json()
    told = {name: each["string_value"] for name, each in config["parameters"].items()}
    batching = config["dynamic_batching"]
    found = {
        "BATCH": told["max_texts"],
        "TOKENS": told["max_tokens"],
        "PADDING": told["max_padding"],
        "QUEUE": str(batching["default_queue_policy"]["max_queue_size"]),
    }
    readme = (PUBLISHED.parents[1] / "README.md").read_text()
    assert found == {
        name: re.findall(rf"^\| `{name}` \| (\d+);", readme, re.M)[0] for name in found
    }
    assert server.stack.max_batch["cpu"] == int(found["BATCH"])
    assert int(batching.get("max_queue_delay_microseconds", 0)) == 0
    assert [group["count"] for group in config["instance_group"]] == [2]


def test_the_vector_is_the_one_that_the_models_users_publish(server: Any, embed: Embed):
    """An answer that did not come from this study: TEI's own expected output for this model.

    It is of all-MiniLM-L6-v2's real weights, so it is compared with nothing else.
    """
    told = json.loads(PUBLISHED.read_text())
    if (server.artefact.model, server.artefact.weights) != (told["model"], told["weights"]):
        pytest.skip(f"published for {told['model']} with {told['weights']} weights only")
    (vector,) = embed([told["text"]])
    assert cosine(vector[: len(told["vector"])], told["vector"]) >= 0.9999
