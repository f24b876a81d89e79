"""Overload, start and stop."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from generation_asking import events, figure, wait_for

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
STACK = Path(__file__).resolve().parent.parent
BODY = {"model": "gpt2", "prompt": "Hello", "max_tokens": 40, "ignore_eos": True, "stream": True}


def test_more_than_it_can_hold(server: Any):
    """Of 200 at once, 64 are served (32 that run, 32 that wait) and the others refused at once.

    Breaks with an unbounded queue, and with a refusal that waits behind the answers.
    """

    async def scenario() -> None:
        order: list[int] = []
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:

            async def ask() -> httpx.Response:
                response = await client.post("/v1/completions", json=BODY | {"stream": False})
                order.append(response.status_code)
                return response

            said = await asyncio.gather(*(ask() for _ in range(200)))
        refused = [response for response in said if response.status_code == 429]
        assert 200 - len(refused) == order.count(200) >= 64
        assert len(refused) > 100
        assert order[:100] == [429] * 100
        assert all(response.headers["retry-after"] for response in refused)
        assert refused[0].json()["error"]["type"] == "rate_limit_error"

    asyncio.run(scenario())
    with httpx.Client(base_url=server.url) as http:
        assert figure(http, "generate_refused_total") > 100
        assert figure(http, "generate_in_flight_requests") == 0
        assert figure(http, "generate_kv_usage") == 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"THREADS": "many"}, ["THREADS='many'", "whole number"]),
        ({"DEVICE": "tpu"}, ["DEVICE='tpu'", "cpu or cuda"]),
        ({"PRECISION": "int8"}, ["PRECISION='int8'", "fp32 or bf16"]),
        ({"MODEL_DIR": "/nowhere"}, ["/nowhere", "MODEL_DIR"]),
        ({"MODEL": "gpt3"}, ["MODEL=gpt3"]),
        ({"HTTP_PORT": "taken"}, ["HTTP_PORT"]),
    ],
)
def test_refuses_to_start(server: Any, variables: dict[str, str], words: list[str]):
    """One line that names the variable, no traceback, exit code 1."""
    changed = {k: str(server.port("http")) if v == "taken" else v for k, v in variables.items()}
    result = subprocess.run(
        server.running.process.args,
        cwd=STACK,
        env={**server.running.env, "HTTP_PORT": "0", "GRPC_PORT": "0", **changed},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr.splitlines()[-1]


def over_sse(server: Any) -> str:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        said = events(client.post("/v1/completions", json=BODY).text)
    return said[-1]["choices"][0]["finish_reason"]


def over_websocket(server: Any) -> str:
    with connect(f"ws{server.url[4:]}/v1/stream") as socket:
        socket.send(json.dumps(BODY))
        while "finish_reason" not in (frame := json.loads(socket.recv(60))):
            pass
    return frame["finish_reason"]


def test_a_step_that_fails(another: Any, tmp_path: Path):
    """Its answers end with a fault: a status where nothing was said yet, streamed or not. The
    server is not ready until a step succeeds again.

    Breaks if a stream that never began is answered with a traceback, or if one failure is for ever.
    """
    failing = tmp_path / "failing"
    with another("tests/failing_server.py", STEPS_FAIL=str(failing)) as (_, http):
        failing.touch()
        for stream in (True, False):
            said = http.post("/v1/completions", json=BODY | {"stream": stream})
            assert said.status_code == 500, said.text
            assert said.json()["error"]["code"] == "generation_failed"
        assert figure(http, "generate_requests_total") == 2
        assert http.get("/ready").status_code == 503
        failing.unlink()
        assert http.get("/ready").status_code == 200
        with http.stream("POST", "/v1/completions", json=BODY | {"max_tokens": 200}) as stream:
            lines = stream.iter_lines()
            next(lines)
            failing.touch()
            *_, last = (line for line in lines if line)
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "generation_failed"


def test_health_of_a_server_that_is_busy(another: Any, tmp_path: Path):
    """Not ill, behind more answers than it can hold; ill when no step succeeds.

    Breaks if a restart is asked for because others are being answered.
    """
    failing = tmp_path / "failing"
    long = {"model": "gpt2", "prompt": "Hello", "max_tokens": 900, "ignore_eos": True}
    words = {"STEPS_FAIL": str(failing), "MAX_BATCH": "1"}
    with another("tests/failing_server.py", **words) as (_, http):

        def healthy() -> bool:
            env = {"HTTP_PORT": str(http.base_url.port), "PATH": os.environ["PATH"]}
            check = [sys.executable, "-P", "healthcheck.py"]
            return subprocess.run(check, cwd=STACK, env=env, check=False).returncode == 0

        assert healthy()
        asker = threading.Thread(target=lambda: http.post("/v1/completions", json=long))
        asker.start()
        wait_for(lambda: figure(http, "generate_running_sequences") == 1, "one runs")
        assert healthy()
        assert figure(http, "generate_running_sequences") == 1, "nothing was before it"
        failing.touch()
        asker.join()
        assert not healthy()


def test_the_grace_is_counted_once(another: Any):
    """An answer longer than GRACE_S is cut then, and the server ends in order.

    Breaks if uvicorn grants it once more: whoever sent SIGTERM would have killed by then.
    """
    grace = 8
    long = BODY | {"max_tokens": 900}
    with (
        another(GRACE_S=str(grace)) as (process, http),
        http.stream("POST", "/v1/completions", json=long) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        process.terminate()
        assert process.wait(1.75 * grace) == 0
        with contextlib.suppress(httpx.RemoteProtocolError):  # cut
            assert "data: [DONE]" not in list(lines), "it had ended before: the test shows nothing"


def test_sigterm_finishes_what_is_in_flight(server: Any, generate: Any):
    """Streams in flight end as they should, over every interface; meanwhile new connections find
    nobody, and those that were there are told to go elsewhere; exit code 0. The last test: it ends
    the server.

    Breaks if a stream is cut at the signal, if more is taken on while it drains, or if uvicorn's
    re-raised signal becomes the exit status.
    """
    ends: list[str] = []
    asked = (
        lambda: over_sse(server),
        lambda: over_sse(server),
        lambda: over_websocket(server),
        lambda: generate(prompt="Hello", max_tokens=40)[-1].finish_reason,
    )
    askers = [threading.Thread(target=lambda ask=ask: ends.append(ask())) for ask in asked]
    for asker in askers:
        asker.start()
    address = f"ws{server.url[4:]}/v1/stream"
    with httpx.Client(base_url=server.url) as http, connect(address) as idle:
        wait_for(lambda: figure(http, "generate_running_sequences") == 4, "four run")
        os.kill(server.pid, signal.SIGTERM)
        wait_for(lambda: refused(server), "new connections are refused")
        said = http.post("/v1/completions", json=BODY)
        assert said.status_code == 503 and said.json()["error"]["code"] == "draining"
        assert said.headers["retry-after"]
        assert http.get("/ready").status_code == 503
        idle.send(json.dumps(BODY))
        assert json.loads(idle.recv(20))["error"]["code"] == "draining"
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(20)
        assert closed.value.rcvd and closed.value.rcvd.code == 1001
        with pytest.raises(grpc.RpcError) as caught:
            generate(prompt="Hello", max_tokens=1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(ends) < 4, "nothing was in flight: the test shows nothing"
    for asker in askers:
        asker.join()
    assert ends == ["length"] * 4
    assert server.running.process.wait(20) == 0


def refused(server: Any) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", server.port("http")), 5).close()
    except ConnectionRefusedError:
        return True
    return False
