"""How these tests speak to vLLM: plain HTTP, so that no client library hides what is broken."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
PROMPT = "The server answers with words"
MESSAGES = [{"role": "user", "content": "Say something"}]


@pytest.fixture(scope="module")
def asked(server: Any) -> Callable[..., dict[str, Any]]:
    """A good completion; what is given replaces its parts, None leaves them out."""

    def build(**parts: Any) -> dict[str, Any]:
        body = {
            "model": server.running.env["MODEL"],
            "prompt": PROMPT,
            "max_tokens": 4,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        } | parts
        return {key: value for key, value in body.items() if value is not None}

    return build


@pytest.fixture(scope="module")
def post(server: Any) -> Callable[..., httpx.Response]:
    """Send a body: a dict as JSON (NaN and all), bytes as they are."""

    def send(body: dict[str, Any] | bytes, path: str = COMPLETIONS) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return httpx.post(server.url + path, content=content, headers=headers, timeout=120)

    return send


def events(text: str) -> list[Any]:
    """The events of a stream; the last one as the text that it is."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def gauge(server: Any, name: str) -> float:
    """The sum of a metric's samples."""
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.M)
    assert found, f"no {name} in /metrics"
    return sum(map(float, found))


@pytest.fixture(scope="module")
def measured(server: Any) -> Callable[[str], float]:
    return lambda name: gauge(server, name)


@pytest.fixture(scope="module")
def parsed() -> Callable[[str], list[Any]]:
    return events


@pytest.fixture
def assert_idle(server: Any) -> Callable[[], None]:
    """No request and no block of the KV cache is held, at the latest after some seconds."""

    def check() -> None:
        names = (
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "vllm:kv_cache_usage_perc",
        )
        deadline = time.monotonic() + 30
        while held := {name: value for name in names if (value := gauge(server, name))}:
            assert time.monotonic() < deadline, f"still held: {held}"
            time.sleep(0.2)

    return check


@pytest.fixture
def assert_serves(server: Any, post: Any, asked: Any) -> Callable[[], None]:
    """The next good request gets the answer it always gets."""

    def check() -> None:
        reply = post(asked())
        assert reply.status_code == 200, reply.text
        assert len(reply.json()["choices"][0]["token_ids"]) == 4
        assert server.alive()

    return check
