"""Start and stop."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

PATH = "/predictions/resnet50"
JPEG = {"content-type": "image/jpeg"}
STACK = Path(__file__).resolve().parent.parent


def queued(server: Any) -> int:
    url = f"http://127.0.0.1:{server.port('management')}/models/resnet50"
    return httpx.get(url).json()[0]["jobQueueStatus"]["pendingRequests"]


def with_ports_of_its_own(environment: dict[str, str]) -> dict[str, str]:
    """For a server beside the one that runs already."""
    ports: dict[str, str] = {}
    for name in ("HTTP", "GRPC", "MANAGEMENT", "GRPC_MANAGEMENT", "METRICS"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports[f"{name}_PORT"] = str(free.getsockname()[1])
    return environment | ports


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_sigterm_finishes_what_is_in_flight(
    start_server: Any,
    message: Callable[..., Any],
    predict_over: Callable[[grpc.Channel], grpc.UnaryUnaryMultiCallable],
    interface: str,
):
    """Every accepted request is answered; no process and no secret is left.

    Breaks over REST without the drain: TorchServe resets its connections at once. (Over gRPC it
    waits by itself, and REST requests then profit: hence one interface at a time.)
    """
    with start_server() as server, concurrent.futures.ThreadPoolExecutor(8) as callers:
        family = psutil.Process(server.pid).children(recursive=True)
        assert len(family) >= 2, "no Java and worker to be left behind: nothing would be tested"
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}")

        def rest(number: int) -> str:
            content, url = server.payload(number), server.url + PATH
            return httpx.post(url, content=content, headers=JPEG, timeout=60).text

        def over_grpc(number: int) -> str:
            request = message({"data": server.payload(number)})
            return predict_over(channel)(request, timeout=60).prediction.decode()

        ask = rest if interface == "rest" else over_grpc
        signalled = threading.Event()

        def asks_until_signalled(number: int) -> list[str]:
            answers: list[str] = []
            while not signalled.is_set():
                answers.append(ask(number))
            return answers

        # With those below no more than the queue of one worker holds.
        before = [callers.submit(asks_until_signalled, number) for number in range(6)]
        deadline = time.monotonic() + 20
        while (waiting := queued(server)) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        signalled.set()
        os.kill(server.pid, signal.SIGTERM)
        on_their_way = [callers.submit(ask, number) for number in (6, 7)]
        answers = [answer for caller in before for answer in caller.result()]
        answers += [call.result() for call in on_their_way]
        assert waiting >= 2, "nothing waited at the signal: nothing was tested"
        assert len(answers) >= 8
        assert not [answer for answer in answers if "predictions" not in answer]
        channel.close()
        assert server.running.process.wait(40) == 0
        assert not [process for process in family if process.is_running()]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port("http")), 5)
    assert not list(STACK.rglob("key_file.json"))
    assert not (STACK / "logs").exists()


def test_sigterm_while_a_worker_loads(server: Any, tmp_path: Path):
    """A start that is called off ends cleanly too."""
    state = tmp_path / "state"
    state.mkdir()
    environment = with_ports_of_its_own({**server.running.env, "STATE_DIR": str(state)})
    process = subprocess.Popen(
        server.running.process.args, cwd=STACK, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        time.sleep(1)
        process.terminate()
        assert process.wait(60) == 0
        assert not [child for child in family if child.is_running()]
    finally:
        process.kill()


def test_management_stays_on_loopback(server: Any, tmp_path: Path):
    """HOST is for those who ask; whoever may manage can take the workers away.

    Broken by management on HOST, which is 0.0.0.0 in a container, and by a launcher that looks for
    it there when it stops.
    """
    host, state = "127.0.0.2", tmp_path / "state"
    state.mkdir()
    told = with_ports_of_its_own({**server.running.env, "STATE_DIR": str(state), "HOST": host})
    process = subprocess.Popen(
        server.running.process.args,
        cwd=STACK,
        env=told,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def serves() -> bool:
        url = f"http://{host}:{told['HTTP_PORT']}{PATH}"
        try:
            return httpx.post(url, content=server.payload(0), headers=JPEG, timeout=60).is_success
        except httpx.TransportError:
            return False

    try:
        deadline = time.monotonic() + server.stack.ready_timeout_s
        while not serves():
            assert process.poll() is None and time.monotonic() < deadline, "never ready"
            time.sleep(0.2)
        for port in (int(told["MANAGEMENT_PORT"]), int(told["GRPC_MANAGEMENT_PORT"])):
            socket.create_connection(("127.0.0.1", port), 5).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), 5)
        process.terminate()
        assert "stopping without waiting" not in process.communicate(timeout=60)[1]
        assert process.returncode == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PREPARED_DIR": "/nowhere"}, ["/nowhere/resnet50.mar", "prepare.py"]),
        ({"THREADS": "many"}, ["THREADS='many'", "whole number"]),
        ({"DEVICE": "tpu"}, ["DEVICE='tpu'", "cpu or cuda"]),
        ({"PRECISION": "int8"}, ["PRECISION='int8'", "fp32 or fp16"]),
        ({"HTTP_PORT": "taken"}, ["HTTP_PORT"]),
    ],
)
def test_refuses_to_start(server: Any, variables: dict[str, str], words: list[str]):
    """One line that names the variable, no traceback, an exit code that is not 0."""
    taken = str(server.port("http"))
    changed = {name: taken if value == "taken" else value for name, value in variables.items()}
    result = subprocess.run(
        server.running.process.args,
        cwd=STACK,
        env={**server.running.env, **changed},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr.splitlines()[-1]
