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

JPEG = {"content-type": "image/jpeg"}
STACK = Path(__file__).resolve().parent.parent


def pending(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(x.split()[1]) for x in lines if x.startswith("classify_pending_images{"))


def wait_for_pending(url: str, images: int) -> None:
    deadline = time.monotonic() + 10
    while pending(url) < images:
        assert time.monotonic() < deadline, f"never {images} in flight: nothing was tested"
        time.sleep(0.002)


@pytest.mark.parametrize("first", ["rest", "grpc"])
def test_sigterm_finishes_what_is_in_flight(
    start_server: Any,
    pb: Any,
    classify_over: Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable],
    first: str,
):
    """Every admitted request is answered on both interfaces, new ones find nobody, exit code 0.

    Breaks if the end of one server is taken for the end of both (so one call goes first over one
    of them, and five are behind it over the other), or uvicorn's re-raised signal becomes the
    exit status.
    """
    with start_server() as server, concurrent.futures.ThreadPoolExecutor(8) as callers:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}")
        request = pb.ClassifyRequest(images=[server.payload(1)])

        def rest(number: int) -> int:
            url = f"{server.url}/v1/classify"
            content = server.payload(number)
            return httpx.post(url, content=content, headers=JPEG, timeout=60).status_code

        def call_rest(calls: int) -> list[Any]:
            return [callers.submit(rest, number) for number in range(calls)]

        def call_grpc(calls: int) -> list[Any]:
            return [classify_over(channel).future(request, timeout=60) for _ in range(calls)]

        grpc.channel_ready_future(channel).result(10)
        if first == "rest":
            over_rest = call_rest(1)
            wait_for_pending(server.url, 1)
            over_grpc = call_grpc(5)
        else:
            over_grpc = call_grpc(1)
            wait_for_pending(server.url, 1)
            over_rest = call_rest(5)
        wait_for_pending(server.url, 4)
        os.kill(server.pid, signal.SIGTERM)
        assert [call.result() for call in over_rest] == [200] * len(over_rest)
        assert [len(call.result().results) for call in over_grpc] == [1] * len(over_grpc)
        channel.close()
        assert server.running.process.wait(15) == 0
        for port in ("http", "grpc"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port(port)), 5)


def test_sigterm_when_idle(start_server: Any):
    """An idle kept-alive connection does not delay the end."""
    with start_server() as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/live").status_code == 200
        os.kill(server.pid, signal.SIGTERM)
        assert server.running.process.wait(10) == 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"THREADS": "many"}, ["THREADS='many'", "whole number"]),
        ({"DEVICE": "tpu"}, ["DEVICE='tpu'", "cpu or cuda"]),
        ({"DEVICE": "cuda"}, ["CUDAExecutionProvider"]),
        ({"PRECISION": "int4"}, ["PRECISION='int4'", "fp32 or fp16"]),
        ({"MODEL_DIR": "/nowhere"}, ["/nowhere", "MODEL_DIR"]),
        ({"MODEL": "resnet18"}, ["MODEL=resnet18"]),
        ({"HTTP_PORT": "taken"}, ["HTTP_PORT"]),
        ({"GRPC_PORT": "taken"}, ["GRPC_PORT"]),
    ],
)
def test_refuses_to_start(server: Any, variables: dict[str, str], words: list[str]):
    """One line that names the variable, no traceback, exit code 1."""
    taken = {"HTTP_PORT": str(server.port("http")), "GRPC_PORT": str(server.port("grpc"))}
    free = {"HTTP_PORT": "0", "GRPC_PORT": "0"}
    changed = {k: taken[k] if v == "taken" else v for k, v in variables.items()}
    if changed.get("DEVICE") == "cuda" and Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here: DEVICE=cuda starts")
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
