"""Start and stop."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

STACK = Path(__file__).resolve().parent.parent


def pending(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(x.split()[1]) for x in lines if x.startswith("embed_pending_texts{"))


def wait_for_pending(url: str, texts: int) -> None:
    deadline = time.monotonic() + 10
    while pending(url) < texts:
        assert time.monotonic() < deadline, f"never {texts} in flight: nothing was tested"
        time.sleep(0.002)


def refuses_to_start(server: Any, variables: dict[str, str], words: list[str]) -> None:
    """One line that names the variable, no traceback, exit code 1."""
    taken = {"HTTP_PORT": str(server.port("http")), "GRPC_PORT": str(server.port("grpc"))}
    free = {"HTTP_PORT": "0", "GRPC_PORT": "0"}
    changed = {k: taken[k] if v == "taken" else v for k, v in variables.items()}
    result = subprocess.run(
        server.running.process.args,
        cwd=STACK,
        env={**server.running.env, **free, **changed},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr.splitlines()[-1]


def test_sigterm_finishes_what_is_in_flight(
    start_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    pb: Any,
    embed_over: Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable],
):
    """Every admitted request is answered on both interfaces, new ones find nobody, exit code 0.

    Breaks if the end of one server is taken for the end of both, or uvicorn's re-raised signal
    becomes the exit status. The same server first shows which settings another one refuses.
    """
    texts = [f"number {i}: " + "many words " * 40 for i in range(32)]
    # One CPU has a second's work with 128 of them at least, however fast it is.
    monkeypatch.setenv("SERVER_CPUS", str(min(os.sched_getaffinity(0))))
    with start_server() as server, concurrent.futures.ThreadPoolExecutor(8) as callers:
        wrong = (
            ({"THREADS": "many"}, ["THREADS='many'", "whole number"]),
            ({"PRECISION": "int8"}, ["PRECISION='int8'", "fp32 or fp16"]),
            ({"MODEL_DIR": "/nowhere"}, ["/nowhere", "MODEL_DIR"]),
            ({"HTTP_PORT": "taken"}, ["HTTP_PORT"]),
        )
        for refused in [callers.submit(refuses_to_start, server, *each) for each in wrong]:
            refused.result()
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}")
        grpc.channel_ready_future(channel).result(10)

        def rest() -> int:
            url = f"{server.url}/v1/embeddings"
            return httpx.post(url, json={"input": texts}, timeout=60).status_code

        over_rest = [callers.submit(rest) for _ in range(2)]
        request = pb.EmbedRequest(inputs=texts)
        over_grpc = [embed_over(channel).future(request, timeout=60) for _ in range(2)]
        wait_for_pending(server.url, 100)
        os.kill(server.pid, signal.SIGTERM)
        assert [call.result() for call in over_rest] == [200] * len(over_rest)
        assert [len(call.result().embeddings) for call in over_grpc] == [32] * len(over_grpc)
        channel.close()
        assert server.running.process.wait(15) == 0
        for port in ("http", "grpc"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port(port)), 5)
