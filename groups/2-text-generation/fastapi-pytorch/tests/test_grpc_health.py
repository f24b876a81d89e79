"""The gRPC health service."""

import queue
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
SERVICE = "study.generate.v1.Generator"
HEALTH = "/grpc.health.v1.Health/"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # messages of one field: nothing to generate


def about(service: str) -> bytes:
    """A HealthCheckRequest."""
    return bytes([10, len(service)]) + service.encode() if service else b""


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_health_is_readiness(another: Any, tmp_path: Path):
    """Who asks and who watches over gRPC hears what GET /ready says.

    Breaks if the health service says SERVING while no inference succeeds, or never again after.
    """
    failing, port = tmp_path / "failing", free_port()
    words = {"STEPS_FAIL": str(failing), "GRPC_PORT": port}
    with (
        another("tests/failing_server.py", **words) as (_, http),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        check = channel.unary_unary(HEALTH + "Check")
        seen: queue.Queue[bytes] = queue.Queue()
        watched = channel.unary_stream(HEALTH + "Watch")(about(SERVICE))

        def watch() -> None:
            try:
                for answer in watched:
                    seen.put(answer)
            except grpc.RpcError:
                pass  # cancelled below

        watcher = threading.Thread(target=watch)
        watcher.start()

        def said() -> list[bytes]:
            return [check(about(name), timeout=10) for name in ("", SERVICE)]

        def asked(http: httpx.Client) -> int:
            said = {"model": "gpt2", "prompt": "Hello", "max_tokens": 1}
            return http.post("/v1/completions", json=said).status_code

        try:
            assert seen.get(timeout=10) == SERVING
            assert said() == [SERVING] * 2
            failing.touch()
            assert asked(http) == 500
            assert said() == [NOT_SERVING] * 2
            assert http.get("/ready").status_code == 503
            assert seen.get(timeout=10) == NOT_SERVING
            failing.unlink()
            assert seen.get(timeout=10) == SERVING, "without anybody who asks"
            assert said() == [SERVING] * 2
            failing.touch()
            assert asked(http) == 500
            assert seen.get(timeout=10) == NOT_SERVING, "without anybody who asks"
        finally:
            watched.cancel()
            watcher.join()
