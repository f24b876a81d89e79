"""k6.js and TGI's own client, held against what TGI's documentation says goes over the wire.

Documented, never observed: TGI comes as a container for GPUs, and none has answered here. Sources,
at huggingface/text-generation-inference v3.3.7: fields and error texts from docs/openapi.json;
tokens and text of a GPT-2 and of a chat from integration-tests/models/__snapshots__
(test_flash_gpt2, test_chat_openai_usage); the order of events, errors within a stream and the
missing [DONE] of /generate_stream from router/src/server.rs and chat.rs. What is replayed below is
built from those facts. No figure comes from it.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from bench.environments import ensure_environment
from bench.generator import read_answers, run_k6
from bench.install import why_not
from bench.progress import Reporter
from bench.stack import load_stack
from bench.tools import ensure_k6

FOLDER = Path(__file__).resolve().parents[1]
QUESTION = "What is deep learning?"
TOKENS = [
    (198, "\n"),
    (198, "\n"),
    (29744, "Deep"),
    (4673, " learning"),
    (318, " is"),
    (257, " a"),
    (649, " new"),
    (2214, " field"),
    (286, " of"),
    (2267, " research"),
]
IDS = [number for number, _ in TOKENS]
TEXT = "".join(text for _, text in TOKENS)
OVERLOADED = {"error": "Model is overloaded", "error_type": "overloaded"}


def token(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "text": text, "logprob": -0.34, "special": False}


def generate() -> dict[str, Any]:
    details = {
        "finish_reason": "length",
        "generated_tokens": len(TOKENS),
        "seed": None,
        "prefill": [],
        "tokens": [token(*one) for one in TOKENS],
    }
    return {"generated_text": TEXT, "details": details}


def generate_stream() -> list[dict[str, Any]]:
    """One event a token; text and details come with the last one. No [DONE]."""
    events: list[dict[str, Any]] = [
        {"index": i, "token": token(*one), "generated_text": None, "details": None}
        for i, one in enumerate(TOKENS, start=1)
    ]
    details = {"finish_reason": "length", "generated_tokens": 10, "seed": None, "input_length": 5}
    events[-1] |= {"generated_text": TEXT, "details": details}
    return events


def chat_head(kind: str) -> dict[str, Any]:
    fingerprint = "3.3.7-native"
    return {
        "object": kind,
        "id": "",
        "created": 0,
        "model": "/model",
        "system_fingerprint": fingerprint,
    }


USAGE = {"prompt_tokens": 39, "completion_tokens": 3, "total_tokens": 42}


def chat() -> dict[str, Any]:
    message = {"role": "assistant", "content": "OK!"}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**chat_head("chat.completion"), "choices": [choice], "usage": USAGE}


def chat_stream() -> list[dict[str, Any]]:
    """One event a token (the end of text is an empty one), then the usage."""
    head = chat_head("chat.completion.chunk")

    def event(content: str, finish: str | None) -> dict[str, Any]:
        delta = {"role": "assistant", "content": content}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], "usage": None}

    return [
        event("OK", None),
        event("!", None),
        event("", "stop"),
        {**head, "choices": [], "usage": USAGE},
    ]


class Replay(BaseHTTPRequestHandler):
    """Says what is documented, whatever is asked; keeps what was asked."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    stream: ClassVar[Callable[[], list[dict[str, Any]]]] = staticmethod(generate_stream)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        refused = body.get("inputs") == "overload"
        if self.path == "/generate":
            self.say(429, OVERLOADED) if refused else self.say(200, generate())
        elif self.path == "/" and not body["stream"]:  # what TGI's client asks: the same, as a list
            self.say(429, OVERLOADED) if refused else self.say(200, [generate()])
        elif self.path in ("/", "/generate_stream"):
            self.say_events([OVERLOADED] if refused else type(self).stream(), done=False)
        elif body["stream"]:
            self.say_events(chat_stream(), done=True)
        else:
            self.say(200, chat())

    def say(self, status: int, answer: Any) -> None:
        self.send(status, "application/json", json.dumps(answer).encode())

    def say_events(self, events: list[dict[str, Any]], *, done: bool) -> None:
        lines = [json.dumps(event) for event in events] + (["[DONE]"] if done else [])
        text = "".join(f"data: {line}\n\n" for line in lines)
        self.send(200, "text/event-stream", text.encode())

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def replay() -> Iterator[ThreadingHTTPServer]:
    Replay.asked, Replay.stream = [], staticmethod(generate_stream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


PAYLOADS: dict[str, dict[str, Any]] = {
    "completion": {"prompt": QUESTION, "max_tokens": 10},
    "chat": {"messages": [{"role": "user", "content": "Say 'OK!'"}], "max_tokens": 10},
    "refused": {"prompt": "overload", "max_tokens": 10},
}


def ask(server: ThreadingHTTPServer, interface: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What k6.js makes of each payload, in check mode, under the study's own k6."""
    for name, payload in PAYLOADS.items():
        (folder / f"{name}.json").write_text(json.dumps(payload))
    plan: dict[str, Any] = {
        "mode": "check",
        "interface": interface,
        "targets": {"http": f"127.0.0.1:{server.server_address[1]}"},
        "model": "gpt2",
        "request": {},
        "client_batch": 1,
        "seed": 0,
        "payloads": [{"name": name, "path": str(folder / f"{name}.json")} for name in PAYLOADS],
        "expected": [None] * len(PAYLOADS),
        "load": {"kind": "closed", "users": 1},
        "warmup_s": 0,
        "window_s": 0,
        "timeout_s": 10,
        **{name: str(folder / name) for name in ("records", "answers", "summary")},
    }
    k6 = ensure_k6(Reporter(Console(quiet=True)))
    run_k6(k6, load_stack(FOLDER), plan, sorted(os.sched_getaffinity(0)), folder, "tgi-documented")
    return {said["payload"]: said for said in read_answers(folder / "answers")}


@pytest.mark.parametrize("interface", ["sse", "rest"])
def test_k6_reads_documented_answers(
    interface: str, replay: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """The bug this would catch: token ids or counts read from the wrong field, a refusal within a
    stream (status 200) taken for an answer, or sampling where greedy decoding is asked for."""
    said = ask(replay, interface, tmp_path)
    assert said["completion"] == {"payload": "completion", "answer": IDS, "error": None}
    assert said["chat"] == {"payload": "chat", "answer": [], "error": None}, "that route has no ids"
    assert said["refused"]["answer"] is None
    assert "overloaded" in said["refused"]["error"]
    bodies = [body for _, body in Replay.asked]
    assert bodies[0]["parameters"] == {"max_new_tokens": 10, "do_sample": False, "details": True}
    assert bodies[1]["temperature"] == 0
    assert bodies[1]["model"] == "tgi", "any other name asks for a LoRA adapter"
    assert bodies[1]["max_tokens"] == 10


def test_a_stream_that_breaks_off_is_no_answer(replay: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Without [DONE] only the last token's details tell that a stream is whole."""
    Replay.stream = staticmethod(lambda: generate_stream()[:-1])
    said = ask(replay, "sse", tmp_path)["completion"]
    assert said["answer"] is None
    assert "how many tokens" in said["error"]


def test_tgis_own_client_reads_the_same(replay: ThreadingHTTPServer) -> None:
    """What k6.js was tested against is what TGI's client takes for TGI. It has an environment of
    its own: its huggingface-hub is older than any other project here can use."""
    folder = Path(__file__).parent / "client"
    env = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)), ">=3.11,<3.13")
    done = subprocess.run(
        [
            str(env / "bin" / "python"),
            "-P",
            str(folder / "ask.py"),
            f"http://127.0.0.1:{replay.server_address[1]}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "text": TEXT,
        "ids": IDS,
        "stream_ids": IDS,
        "stream_text": TEXT,
        "generated": 10,
        "chat": "OK!",
        "refused": "Model is overloaded",
    }


def test_it_is_skipped_with_its_reason() -> None:
    """The bug this would catch: it is started here, or left out without a word."""
    skipped = why_not(load_stack(FOLDER), "cpu", "native")
    assert skipped is not None
    assert "container" in str(skipped)
