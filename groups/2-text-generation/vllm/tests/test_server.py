"""vLLM with good and bad requests, dropped connections, more than it takes, and SIGTERM, last.

One start for all of it. What it does is vLLM's own doing; these tests hold README's table to it,
and that the next request is served.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow  # a start takes up to two minutes on busy CPUs

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say something"}]


def spelled(server: Any, tokens: list[int]) -> str:
    """The text of these ids by the artefact's own vocabulary; what is generated is ASCII."""
    file = server.artefact.folder / "tokenizer.json"
    vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = {number: piece for piece, number in vocabulary.items()}
    return "".join(pieces[token] for token in tokens).replace("Ġ", " ")


def test_an_answer_is_the_same_streamed_and_whole(
    server: Any, post: Any, asked: Any, parsed: Any
) -> None:
    """Token ids, usage and text agree over both routes and both interfaces. The bug this would
    catch: k6.js reads token ids that a route doesn't give, or a chat goes without its template."""
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    for path, prompt in (
        (TEXT, {}),
        (CHAT, {"prompt": None, "messages": MESSAGES}),
    ):
        whole = post(asked(**prompt), path).json()
        stream = parsed(post(asked(**prompt, **usage), path).text)
        choices = [event["choices"][0] for event in stream[:-1] if event["choices"]]
        ids = [i for choice in choices for i in choice.get("token_ids") or []]
        said = whole["choices"][0]
        assert ids == said["token_ids"]
        assert len(ids) == 4
        if server.artefact.weights == "random":  # else there are more bytes than these to spell
            assert (said["text"] if path == TEXT else said["message"]["content"]) == spelled(
                server, ids
            )
        assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
        assert stream[-1] == "[DONE]"
        assert stream[-2]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 4


def test_stack_toml_names_metrics_that_exist(server: Any, measured: Any) -> None:
    """The bug this would catch: a renamed metric, whose column is then null without a word."""
    for wanted in server.stack.metrics_map.values():
        measured(wanted["name"])


Build = Callable[[Callable[..., Any]], Any]
HUGE = 10**9
NAN = float("nan")

# Name: (body, route, status, what the answer says). vLLM's manners: not all that is odd is refused.
BAD: dict[str, tuple[Build, str, int, str]] = {
    "empty prompt": (lambda asked: asked(prompt=""), TEXT, 400, "must be provided and non-empty"),
    "no prompt": (lambda asked: asked(prompt=None), TEXT, 400, "must be provided and non-empty"),
    "prompt over the context": (
        lambda asked: asked(prompt="word " * 5000),
        TEXT,
        400,
        "maximum context length is",
    ),
    "the same, streamed": (
        lambda asked: asked(prompt="word " * 5000, stream=True),
        TEXT,
        400,
        "maximum context length is",
    ),
    "50 MB": (lambda asked: asked(prompt="a" * 50_000_000), TEXT, 400, "upper bound for"),
    "max_tokens 0": (lambda asked: asked(max_tokens=0), TEXT, 400, "must be at least 1, got 0"),
    "max_tokens -1": (lambda asked: asked(max_tokens=-1), TEXT, 400, "must be at least 1, got -1"),
    "max_tokens huge": (
        lambda asked: asked(max_tokens=HUGE),
        TEXT,
        400,
        "greater than max_model_len",
    ),
    "temperature NaN": (lambda asked: asked(temperature=NAN), TEXT, 400, "finite number, got nan"),
    "temperature -1": (lambda asked: asked(temperature=-1), TEXT, 400, "must be non-negative"),
    "top_p 2": (lambda asked: asked(top_p=2), TEXT, 400, "top_p must be in (0, 1]"),
    "unknown model": (lambda asked: asked(model="nothing"), TEXT, 404, "does not exist"),
    "token id out of the vocabulary": (
        lambda asked: asked(prompt=[999_999]),
        TEXT,
        400,
        "out of vocabulary",
    ),
    "100,000 answers": (lambda asked: asked(n=100_000), TEXT, 503, "cannot accept new requests"),
    "invalid UTF-8": (
        lambda asked: json.dumps(asked()).encode().replace(b"server", b"se\xff\xfever"),
        TEXT,
        400,
        "error parsing the body",
    ),
    "broken JSON": (lambda asked: b'{"model": "gpt2", "prompt"', TEXT, 400, "JSON decode error"),
    "a JSON list": (lambda asked: b"[]", TEXT, 400, "valid dictionary"),
    "empty body": (lambda asked: b"", TEXT, 400, "Field required"),
    "chat without messages": (
        lambda asked: asked(prompt=None, messages=[]),
        CHAT,
        400,
        "empty conversation",
    ),
    "chat with a number for its text": (
        lambda asked: asked(prompt=None, messages=[{"role": "user", "content": 5}]),
        CHAT,
        400,
        "should be a valid string",
    ),
    "chat with a template of its own": (
        lambda asked: asked(prompt=None, messages=MESSAGES, chat_template="{{ 1 }}"),
        CHAT,
        400,
        "untrusted chat template",
    ),
    "chat with an unknown role": (
        lambda asked: asked(prompt=None, messages=[{"role": "nobody", "content": "Hello"}]),
        CHAT,
        200,
        '"finish_reason":"length"',
    ),
    "unknown route": (lambda asked: asked(), "/v1/nothing", 404, "Not Found"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_as_the_readme_says(
    name: str, post: Any, asked: Any, assert_serves: Any
) -> None:
    build, path, status, phrase = BAD[name]
    reply = post(build(asked), path)
    assert (reply.status_code, phrase in reply.text) == (status, True), reply.text
    assert_serves()


async def dropped(url: str, body: dict[str, Any], count: int, at_a_time: int) -> int:
    """Open `count` streams and leave each after its first event. How many had one."""
    room = asyncio.Semaphore(at_a_time)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def one() -> bool:
            async with room, client.stream("POST", url, json=body) as reply:
                if reply.status_code != 200:
                    return False
                async for line in reply.aiter_lines():
                    if line.startswith("data: "):
                        return True
            return False

        return sum(await asyncio.gather(*(one() for _ in range(count))))


def test_a_thousand_dropped_streams_leave_nothing(
    server: Any, asked: Any, assert_idle: Any, assert_serves: Any
) -> None:
    """The bug this would catch: requests that go on for nobody, and hold the KV cache."""
    body = asked(stream=True, max_tokens=200)
    assert asyncio.run(dropped(server.url + TEXT, body, 1000, 32)) == 1000
    assert_idle()
    assert_serves()


def test_a_slow_reader_holds_up_nobody(
    server: Any, post: Any, asked: Any, assert_idle: Any
) -> None:
    """The bug this would catch: a client that doesn't read stops the loop that serves all."""
    body = asked(stream=True, max_tokens=900)
    with httpx.stream("POST", server.url + TEXT, json=body, timeout=120) as slow:
        assert slow.status_code == 200
        for _ in range(3):
            assert post(asked()).status_code == 200
    assert_idle()


async def flooded(
    url: str, body: dict[str, Any], count: int, over: Callable[[], bool]
) -> list[str]:
    """Open `count` streams at once and hold them until `over`. The refusals, as they came."""
    refused: list[str] = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def one() -> None:
            async with client.stream("POST", url, json=body) as reply:
                async for line in reply.aiter_lines():
                    if "error" in line:
                        refused.append(f"{reply.status_code} {line}")
                        return

        tasks = [asyncio.create_task(one()) for _ in range(count)]
        deadline = time.monotonic() + 60
        while not await asyncio.to_thread(over) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return refused


def test_overload_is_refused_and_counted(
    server: Any, asked: Any, measured: Any, assert_idle: Any, assert_serves: Any
) -> None:
    """More streams than launch.py's QUEUE: the rest is refused at once, some of it in streams
    that began with 200. The bug this would catch: a queue without a limit, vLLM's default."""
    queue, more = 128, 40
    before = measured("vllm:admission_rejections_total")

    def refusals() -> float:
        return measured("vllm:admission_rejections_total") - before

    body = asked(stream=True, max_tokens=200)
    refused = asyncio.run(
        flooded(server.url + TEXT, body, queue + more, lambda: refusals() >= more)
    )
    assert len(refused) == refusals() == more
    assert all("cannot accept new requests" in said and "503" in said for said in refused)
    assert_idle()
    assert_serves()


def test_sigterm_ends_streams_whole_and_takes_no_more(server: Any, asked: Any, parsed: Any) -> None:
    """Last: it ends the server. By itself vLLM aborts what runs; --shutdown-timeout drains."""
    body = asked(stream=True, max_tokens=100, stream_options={"include_usage": True})
    said: list[str] = []
    started = threading.Event()

    def read() -> None:
        with httpx.stream("POST", server.url + TEXT, json=body, timeout=120) as reply:
            for text in reply.iter_text():
                said.append(text)
                started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(60)
    os.kill(server.pid, signal.SIGTERM)
    time.sleep(0.5)
    late = httpx.post(server.url + TEXT, json=asked(), timeout=60)
    assert reader.is_alive(), "nothing was in flight: the test shows nothing"
    reader.join(120)
    stream = parsed("".join(said))
    assert stream[-1] == "[DONE]"
    assert stream[-2]["usage"]["completion_tokens"] == 100
    # While it drains vLLM goes on taking connections, and fails what they ask.
    assert (late.status_code, "after shutdown" in late.text) == (500, True), late.text
    assert server.running.process.wait(60) == 0
    with pytest.raises(httpx.TransportError):
        httpx.post(server.url + TEXT, json=asked(), timeout=5)
