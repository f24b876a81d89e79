"""What the tests of this server ask for, and how they read what it says."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

FIXED = {"model": "gpt2", "temperature": 0, "ignore_eos": True, "return_token_ids": True}


def asked(server: Any, name: str, **more: Any) -> dict[str, Any]:
    """A payload as a body, greedy and of fixed length."""
    payload = next(p for p in server.payloads if p.name == name)
    return {**FIXED, **json.loads(payload.path.read_text()), **more}


def events(text: str) -> list[dict[str, Any]]:
    """The JSON of all events but the [DONE] that must end them."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert data[-1] == "[DONE]"
    return [json.loads(each) for each in data[:-1]]


def figure(http: httpx.Client, name: str) -> float:
    """One metric, summed over its labels."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.split("{")[0].split(" ")[0] == name)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait a bounded time; a condition that never comes true fails the test by its name."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)
