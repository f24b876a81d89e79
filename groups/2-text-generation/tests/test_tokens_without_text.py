"""Half a character has no text: whichever server sends such tokens, they are read alike."""

import csv
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from bench.generator import run_k6
from bench.progress import Reporter
from bench.stack import load_stack
from bench.tools import ensure_k6

GROUP = Path(__file__).resolve().parent.parent
# Ids and text of each event: two tokens that are no character yet, one that completes it, a word.
SAID = [([11], ""), ([12], ""), ([13], "“"), ([14], " so")]


def as_openai() -> list[str]:
    last = len(SAID) - 1
    events: list[dict[str, Any]] = [
        {"choices": [{"text": t, "token_ids": i, "finish_reason": "length" if n == last else None}]}
        for n, (i, t) in enumerate(SAID)
    ]
    events.append({"choices": [], "usage": {"completion_tokens": len(SAID)}})
    return [*map(json.dumps, events), "[DONE]"]


def as_tgi() -> list[str]:
    events: list[dict[str, Any]] = [
        {"token": {"id": i[0], "text": text, "special": False}} for i, text in SAID
    ]
    events[-1]["details"] = {"generated_tokens": len(SAID)}
    return [*map(json.dumps, events)]


class Replay(BaseHTTPRequestHandler):
    events: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = "".join(f"data: {event}\n\n" for event in self.events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def replay() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("stack", "events"), [("fastapi-pytorch", as_openai), ("vllm", as_openai), ("tgi", as_tgi)]
)
def test_they_are_read_with_the_next_text(
    stack: str, events: Any, replay: str, tmp_path: Path
) -> None:
    """The first text is where the first character is, and no token is lost.

    Breaks if one stack's time to first text ends at half a character, another's at a whole one; or
    if its answers have fewer tokens than it sent, which makes its time per token longer.
    """
    Replay.events = events()
    (tmp_path / "asked.json").write_text(json.dumps({"prompt": "Say", "max_tokens": len(SAID)}))
    plan: dict[str, Any] = {
        "mode": "check",
        "interface": "sse",
        "targets": {"http": replay},
        "model": "gpt2",
        "request": {},
        "client_batch": 1,
        "seed": 0,
        "payloads": [{"name": "asked", "path": str(tmp_path / "asked.json")}],
        "expected": [None],
        "load": {"kind": "closed", "users": 1},
        "warmup_s": 0,
        "window_s": 0,
        "timeout_s": 10,
        **{name: str(tmp_path / name) for name in ("records", "answers", "summary")},
    }
    k6 = ensure_k6(Reporter(Console(quiet=True)))
    folder = load_stack(GROUP / stack)
    run_k6(k6, folder, plan, sorted(os.sched_getaffinity(0)), tmp_path, "tokens-without-text")
    (record,) = csv.DictReader((tmp_path / "records").open())
    assert record["error"] == ""
    assert record["chunk_tokens"] == "3;1"
    assert len(record["chunk_ns"].split(";")) == 2
