"""A machine behind a proxy: what runs here is still asked directly."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bench.local_http import open_url
from bench.prometheus import scrape
from bench.server import environment_for


class Metrics(BaseHTTPRequestHandler):
    """Answers one counter to whoever asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"asked_total 3\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Generator[str]:
    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()


def test_a_proxy_is_not_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib hands even 127.0.0.1 to the environment's proxy: no server ever got ready behind one,
    and none told its metrics."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with open_url(address, timeout_s=5) as answer:
        assert answer.read() == b"asked_total 3\n"
    assert scrape(address, {"asked": {"name": "asked_total"}}) == {"asked": 3.0}
    assert scrape("http://127.0.0.1:9", {"asked": {"name": "asked_total"}}) is None


def test_servers_are_told_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.org")
    told = environment_for(Path("env"), {}, {})
    assert told["no_proxy"] == told["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    monkeypatch.delenv("no_proxy")
    assert environment_for(None, {}, {})["no_proxy"] == "127.0.0.1,localhost"
