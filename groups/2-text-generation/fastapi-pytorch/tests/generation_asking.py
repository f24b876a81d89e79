"""What the tests of this server ask for, and how they read what it says."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import grpc
import httpx
import websockets

METHOD = "/study.generate.v1.Generator/Generate"
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


@contextlib.contextmanager
def calling(port: int, pb: ModuleType) -> Iterator[Callable[..., Any]]:
    """begin(prompt=…, max_tokens=…) of the server on that port, as the fixture `begin` says."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_stream(
            METHOD,
            request_serializer=pb.GenerateRequest.SerializeToString,
            response_deserializer=pb.GenerateChunk.FromString,
        )

        def call(**said: Any) -> Any:
            asked = {"model": "gpt2", "temperature": 0, "ignore_eos": True, **said}
            return method(pb.GenerateRequest(**asked), timeout=120)

        yield call


def over_rest(http: httpx.Client, body: dict[str, Any]) -> tuple[str, list[int]]:
    route = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    response = http.post(route, json=body)
    assert response.status_code == 200, response.text
    said = response.json()
    choice = said["choices"][0]
    assert said["usage"]["completion_tokens"] == len(choice["token_ids"]) == body["max_tokens"]
    assert choice["finish_reason"] == "length"
    return choice.get("text") or choice["message"]["content"], choice["token_ids"]


def over_sse(http: httpx.Client, body: dict[str, Any]) -> tuple[str, list[int]]:
    route = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    options = {"stream": True, "stream_options": {"include_usage": True}}
    response = http.post(route, json=body | options)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(response.text)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == body["max_tokens"]
    choices = [chunk["choices"][0] for chunk in chunks]
    if "messages" in body:
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["text"] if "text" in c else c["delta"]["content"] for c in choices)
    assert [c["finish_reason"] for c in choices][-1] == "length"
    return text, [token for c in choices for token in c.get("token_ids", [])]


def over_every_interface(
    http: httpx.Client, generate: Callable[..., list[Any]], body: dict[str, Any]
) -> tuple[str, list[int]]:
    """Text and ids of one answer, which is the same over REST, SSE, gRPC and WebSocket."""
    text, tokens = over_rest(http, body)
    assert over_sse(http, body) == (text, tokens)
    said = generate(**{k: body[k] for k in ("prompt", "messages", "max_tokens") if k in body})
    assert "".join(chunk.text for chunk in said) == text
    assert [token for chunk in said for token in chunk.token_ids] == tokens
    assert said[-1].usage.completion_tokens == len(tokens)

    async def over_ws() -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        url = f"ws://{http.base_url.host}:{http.base_url.port}/v1/stream"
        async with websockets.connect(url) as socket:
            for _ in range(2):  # the connection is ready for the next request
                frames = []
                await socket.send(json.dumps(body))
                while not frames or not frames[-1].get("done"):
                    frames.append(json.loads(await socket.recv()))
        return frames

    frames = asyncio.run(over_ws())
    assert "".join(frame["text"] for frame in frames) == text
    assert [token for frame in frames for token in frame["token_ids"]] == tokens
    return text, tokens
