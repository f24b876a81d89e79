"""Right answers, over every way to ask."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from bench.environments import ensure_environment
from bench.progress import Reporter
from generation_asking import asked, events, figure, over_every_interface, over_rest

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
NAMES = ["completion-000", "chat-00", "long-00"]


def clear(server: Any, count: int) -> list[str]:
    """Names of completions whose reference has no close step."""
    known = server.artefact.expected
    return [name for name in known if name.startswith("completion") and known[name]][:count]


def right(server: Any, name: str, tokens: list[int]) -> None:
    """The reference's tokens, up to where it is too close to call."""
    reference = server.artefact.reference[name]
    assert len(tokens) == len(reference["tokens"])
    steps = zip(tokens, reference["tokens"], reference["margins"], strict=True)
    for given, wanted, margin in steps:
        if given != wanted:
            assert margin <= 1e-3, f"{name}: {given} instead of {wanted}"
            return


def spelled(server: Any, tokens: list[int]) -> str:
    """The text of these ids by the artefact's own vocabulary; what is generated is ASCII."""
    file = server.artefact.folder / "tokenizer.json"
    vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = {number: piece for piece, number in vocabulary.items()}
    return "".join(pieces[token] for token in tokens).replace("Ġ", " ")


@pytest.mark.parametrize("name", NAMES)
def test_every_interface_gives_the_reference(
    http: httpx.Client, generate: Any, server: Any, name: str
):
    """Breaks if a mask, a position or a key of another sequence's gets into an answer."""
    body = asked(server, name)
    text, tokens = over_every_interface(http, generate, body)
    right(server, name, tokens)
    if server.artefact.weights == "random":  # else there are more bytes than these to spell
        assert text == spelled(server, tokens)  # what is counted is what was said


def test_neighbours_change_nothing(http: httpx.Client, server: Any):
    """Sixteen answers that join and leave one batch at different steps are what each is alone.

    Breaks if a sequence reads another's keys, or goes on from a wrong position after a neighbour
    left. And the batch was one: fewer steps than tokens.
    """
    names = clear(server, 16)
    steps = figure(http, "generate_batch_sequences_count")
    made = figure(http, "generate_tokens_total")

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            calls = [client.post("/v1/completions", json=asked(server, name)) for name in names]
            return await asyncio.gather(*calls)

    for name, response in zip(names, asyncio.run(all_at_once()), strict=True):
        choice = response.json()["choices"][0]
        assert " ".join(map(str, choice["token_ids"])) == server.artefact.expected[name]
    steps = figure(http, "generate_batch_sequences_count") - steps
    assert steps < 0.5 * (figure(http, "generate_tokens_total") - made)
    assert figure(http, "generate_kv_usage") == 0
    assert figure(http, "generate_in_flight_requests") == 0


def test_a_seed_gives_the_same_answer_again(http: httpx.Client):
    """Whoever else is served; another seed gives another."""
    body = {"model": "gpt2", "prompt": "Once upon a time", "max_tokens": 12, "ignore_eos": True}

    def text(**more: Any) -> str:
        return http.post("/v1/completions", json=body | more).json()["choices"][0]["text"]

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(temperature=0) == text(top_p=1e-6, seed=3)  # only the best is left


def test_stop_ends_the_text_before_it(http: httpx.Client, server: Any):
    """Streamed too: what may begin a stop string is held back until it is known not to."""
    body = asked(server, "completion-000")
    text, _ = over_rest(http, body)
    whole = events(http.post("/v1/completions", json=body | {"stream": True}).text)
    pieces = [chunk["choices"][0]["text"] for chunk in whole]
    stop = pieces[1][-2:] + pieces[2][:2]  # across tokens
    at = text.index(stop)
    said = http.post("/v1/completions", json=body | {"stop": stop}).json()["choices"][0]
    assert said["text"] == text[:at] and said["finish_reason"] == "stop"
    streamed = events(http.post("/v1/completions", json=body | {"stop": stop, "stream": True}).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == text[:at]


def test_the_openai_client_works_unchanged(http: httpx.Client, server: Any):
    """Completions, chat, streams, its asynchronous form; faults as its own exception classes."""
    folder = Path(__file__).parent / "openai_client"
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    prompt = "The readline module"
    command = [str(environment / "bin" / "python"), "-P", "ask.py"]
    done = subprocess.run(
        [*command, f"{server.url}/v1", "gpt2", prompt],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    body = {"model": "gpt2", "prompt": prompt, "max_tokens": 8, "temperature": 0}
    body |= {"ignore_eos": True, "return_token_ids": True}
    text, _ = over_rest(http, body)
    assert found["models"] == ["gpt2"]
    assert found["whole"] == found["streamed"] == text
    assert found["several"] == [text] * 3
    assert found["usage"] == found["streamed_usage"] == 8
    assert found["chat"] == found["chatted"] and found["finish"] == "length"
    assert found["errors"] == {
        "empty prompt": "BadRequestError bad_request",
        "unknown model": "NotFoundError model_not_found",
        "too long": "BadRequestError context_length_exceeded",
        "temperature": "BadRequestError bad_request",
    }
