"""One server, asked rightly and wrongly. Each test leaves it as it was."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from rich.console import Console

from bench.environments import ensure_environment
from bench.progress import Reporter
from inference_client import BadInput, connect

TESTS = Path(__file__).resolve().parent
TOLERANCE = 1e-4  # of 1 − cosine: the group's parity tolerance for fp32
# {question: words of the sentence that answers it}
ANSWERS = {
    "keep too many clients from using the SQL store at once": "Semaphores are often used to guard",
    "How do I find out where a program is installed?": "Return the path to an executable",
    "error for too many nested calls": "a RecursionError exception is raised",
    "How many rounds are needed to protect a password?": "The number of iterations should",
    # The README's own.
    "Which toolkits are there to build windows and buttons with?": "GUI frameworks can be found",
}


@pytest.fixture(autouse=True)
def serves_afterwards(server: Any, http: httpx.Client, embed: Any) -> Iterator[None]:
    """After every test in this file the server answers a good request on both interfaces."""
    yield
    assert server.alive()
    assert http.post("/v1/embeddings", json={"input": "rain"}).status_code == 200
    assert len(embed("rain").embeddings) == 1
    assert http.get("/ready").status_code == 200


def text(server: Any, number: int) -> str:
    return server.payload(number).decode()


def drift(a: Any, b: Any) -> float:
    return 1 - float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def vectors(response: httpx.Response) -> list[np.ndarray]:
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return [
        np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
        if isinstance(each["embedding"], str)
        else np.asarray(each["embedding"])
        for each in data
    ]


def test_every_text_of_a_mixed_batch_gets_its_own_vector(
    http: httpx.Client, embed: Any, server: Any, reference: dict[str, np.ndarray]
):
    """Vector i belongs to text i and is the reference's, on both interfaces and in both formats.
    Breaks if batches, which are sorted by length, are given back in that order; if padding takes
    part in the mean; or with a limit other than the model's."""
    chosen = [i for i, p in enumerate(server.payloads) if i < 40 or p.set == "probe"]
    names = [server.payloads[i].name for i in chosen]
    texts = [text(server, i) for i in chosen]
    assert {"one-space", "over-long", "arabic"} <= set(names)
    plain = http.post("/v1/embeddings", json={"input": texts, "model": "minilm"})
    packed = http.post("/v1/embeddings", json={"input": texts, "encoding_format": "base64"})
    for found in (
        vectors(plain),
        vectors(packed),
        [np.asarray(each.values) for each in embed(*texts).embeddings],
    ):
        assert len(found) == len(texts)
        for name, vector in zip(names, found, strict=True):
            assert drift(vector, reference[name]) <= TOLERANCE, name
            assert abs(np.linalg.norm(vector) - 1) < 1e-5
    usage = plain.json()["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] >= 2 * len(texts)


def test_options(http: httpx.Client, embed: Any):
    """Each option changes what its name says, and nothing else."""
    whole = vectors(http.post("/v1/embeddings", json={"input": "rain on the roof"}))[0]
    raw = vectors(
        http.post("/v1/embeddings", json={"input": "rain on the roof", "normalize": False})
    )[0]
    assert abs(np.linalg.norm(raw) - 1) > 0.01 and drift(raw, whole) < 1e-6
    few = vectors(http.post("/v1/embeddings", json={"input": "rain on the roof", "dimensions": 64}))
    assert len(few[0]) == 64 and drift(few[0], whole[:64]) < 1e-6
    assert abs(np.linalg.norm(few[0]) - 1) < 1e-5
    padded = {"input": ["rain on the roof", "rain"], "normalize": False}
    assert np.allclose(vectors(http.post("/v1/embeddings", json=padded))[0], raw, atol=1e-5)
    shorter = vectors(http.post("/v1/embeddings", json={**padded, "input": "rain"}))[0]
    assert np.allclose(vectors(http.post("/v1/embeddings", json=padded))[1], shorter, atol=1e-5)
    over_grpc = embed("rain on the roof", dimensions=64, normalize=False).embeddings[0].values
    assert np.allclose(over_grpc, raw[:64], atol=1e-6)
    long = {"input": "word " * 400, "truncate": False}
    refused = http.post("/v1/embeddings", json=long)
    assert_refused(refused, 400, "text_too_long", "402 tokens", "256")
    assert http.post("/v1/embeddings", json={**long, "truncate": True}).status_code == 200


def test_the_openai_client_works_unchanged(server: Any, reference: dict[str, np.ndarray]):
    """Its own default (base64), its own errors. Breaks if any field it reads is missing."""
    environment = ensure_environment(TESTS, "cpu", Reporter(Console(quiet=True)))
    texts = [text(server, i) for i in range(3)]
    script = (str(environment / "bin" / "python"), "-P", str(TESTS / "openai_client.py"))
    done = subprocess.run(
        [*script, f"{server.url}/v1", json.dumps(texts)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for i, vector in enumerate(found["vectors"]):
        assert drift(vector, reference[server.payloads[i].name]) <= TOLERANCE
    assert drift(found["floats"], found["vectors"][0]) < 1e-6
    assert found["few"] == 16 and found["tokens"] > 6 and found["models"] == ["minilm"]
    assert found["unknown model"][0] == "NotFoundError" and "minilm" in found["unknown model"][1]
    assert found["empty"][0] == "BadRequestError" and "empty" in found["empty"][1]


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_the_studys_client(interface: str, server: Any, reference: dict[str, np.ndarray]):
    """It speaks what stack.toml names: several texts in one request, faults by what to do."""
    with connect(TESTS.parent, interface, ports=server.running.ports) as stack:
        found = stack.embed([text(server, i) for i in range(3)])
        for i, vector in enumerate(found):
            assert drift(vector, reference[server.payloads[i].name]) <= TOLERANCE
        with pytest.raises(BadInput, match="text 1 is empty"):
            stack.embed(["rain", ""])


def test_its_quality_is_the_references(server: Any, spearman: Callable[..., float]):
    """It ranks words as people do, as well as the model itself: what parity leaves of an answer
    is worth as much. Only real weights have a quality."""
    if server.artefact.weights != "pretrained":
        pytest.skip(f"{server.artefact.weights} weights: there is no quality to compare")
    with connect(TESTS.parent, ports=server.running.ports) as stack:
        found = spearman(stack.embed)
    assert abs(found - server.artefact.manifest["quality"]["fp32"]) <= 0.001


def test_search_finds_what_a_person_would_expect(http: httpx.Client, server: Any):
    """The README's search, with questions that share no telling word with what answers them."""
    if server.artefact.weights != "pretrained":
        pytest.skip(f"{server.artefact.weights} weights: their vectors mean nothing")
    texts = [p.data().decode() for p in server.payloads if p.set == "uniform"][:250]
    found = [
        vectors(http.post("/v1/embeddings", json={"input": part}))
        for part in (texts[:125], texts[125:], list(ANSWERS))
    ]
    scores = np.array(found[2]) @ np.array([*found[0], *found[1]]).T
    for row, (question, answer) in zip(scores, ANSWERS.items(), strict=True):
        assert answer in texts[int(row.argmax())], question


def assert_refused(response: httpx.Response, status: int, code: str, *words: str) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code and error["type"] == "invalid_request_error"
    for word in words:
        assert word in error["message"]


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"", 400, "bad_request", "empty"),
        (b'{"input": "a"', 400, "bad_json", "JSON"),
        (b'["a"]', 400, "bad_request", "object"),
        (b"\xff\xfe", 400, "bad_json", "JSON"),
        ({}, 400, "bad_input", "missing"),
        ({"input": []}, 400, "empty_input", "no text"),
        ({"input": ""}, 400, "empty_input", "text 0 is empty"),
        ({"input": ["a", "", "b"]}, 400, "empty_input", "text 1 is empty"),
        ({"input": 7}, 400, "bad_input", "list of texts"),
        ({"input": {"text": "a"}}, 400, "bad_input", "list of texts"),
        ({"input": ["a", None]}, 400, "bad_input", "input 1"),
        ({"input": [101, 102]}, 400, "bad_input", "token ids"),
        ({"input": [[101, 102]]}, 400, "bad_input", "token ids"),
        ({"input": ["a"] * 10_000}, 400, "too_many_texts", "10000 texts"),
        ({"input": "a" * 200_000}, 400, "text_too_long", "200000 characters"),
        ({"input": "a" * 10_000_000}, 413, "body_too_large", "4000000"),
        ({"input": "a", "model": "gpt-9"}, 404, "model_not_found", "gpt-9"),
        ({"input": "a", "model": 9}, 400, "bad_request", "model"),
        ({"input": "a", "encoding_format": "hex"}, 400, "bad_encoding_format", "base64"),
        ({"input": "a", "dimensions": 0}, 400, "bad_dimensions", "384"),
        ({"input": "a", "dimensions": 385}, 400, "bad_dimensions", "384"),
        ({"input": "a", "dimensions": "64"}, 400, "bad_option", "dimensions"),
        ({"input": "a", "normalize": "yes"}, 400, "bad_option", "normalize"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_http_requests(http: httpx.Client, body: Any, status: int, code: str, words: str):
    """Each is refused with a 4xx whose sentence names the fault."""
    asked = {"content": body} if isinstance(body, bytes) else {"json": body}
    assert_refused(http.post("/v1/embeddings", **asked), status, code, words)


def test_half_a_character(http: httpx.Client):
    """A lone surrogate is legal in JSON's syntax and no text: refused, not a 500."""
    response = http.post("/v1/embeddings", content=b'{"input": "a\\ud800"}')
    assert response.status_code == 400, response.text


def test_wrong_method_and_path(http: httpx.Client):
    for response, status in (
        (http.get("/v1/embeddings"), 405),
        (http.post("/v1/nothing", json={}), 404),
    ):
        assert response.status_code == status and response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("texts", "options", "code", "word"),
    [
        ([], {}, grpc.StatusCode.INVALID_ARGUMENT, "no text"),
        ([""], {}, grpc.StatusCode.INVALID_ARGUMENT, "empty"),
        (["a"] * 10_000, {}, grpc.StatusCode.INVALID_ARGUMENT, "10000 texts"),
        (["a"], {"model": "gpt-9"}, grpc.StatusCode.NOT_FOUND, "gpt-9"),
        (["a"], {"dimensions": 999}, grpc.StatusCode.INVALID_ARGUMENT, "384"),
        (["a" * 10_000_000], {}, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
    ids=["empty list", "empty text", "10,000 texts", "unknown model", "dimensions", "10 MB"],
)
def test_bad_grpc_requests(
    embed: Any, texts: list[str], options: dict[str, Any], code: grpc.StatusCode, word: str
):
    with pytest.raises(grpc.RpcError) as caught:
        embed(*texts, **options)
    assert caught.value.code() is code and word in caught.value.details()


def test_grpc_bytes_that_are_no_message(server: Any):
    """Invalid UTF-8 in a text, and bytes cut off. Breaks as INTERNAL, which callers take for the
    server's fault and ask again."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}") as channel:
        call = channel.unary_unary("/study.embed.v1.Embedder/Embed")
        for sent in (b"\x0a\x02\xff\xfe", b"\x0a\x7fcut"):
            with pytest.raises(grpc.RpcError) as caught:
                call(sent, timeout=60)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "UTF-8" in (caught.value.details() or "")


def figure(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(name))


def test_batches_are_of_like_length(http: httpx.Client):
    """128 texts of two lengths make batches with next to no padding; each text is executed once.
    Breaks with batches in the order of arrival, whose padding would be two thirds."""
    names = ("tokens_total", "padded_tokens_total", "batch_texts_sum", "batch_texts_count")
    before = {name: figure(http, f"embed_{name}") for name in names}
    texts = ["short", "a rather longer text than that one, all in all some words more"] * 64
    assert len(vectors(http.post("/v1/embeddings", json={"input": texts}))) == 128
    grown = {name: figure(http, f"embed_{name}") - was for name, was in before.items()}
    assert grown["batch_texts_sum"] == 128
    assert grown["padded_tokens_total"] / grown["tokens_total"] < 1.1
    assert grown["batch_texts_count"] <= 20
