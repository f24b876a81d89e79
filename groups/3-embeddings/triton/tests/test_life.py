"""Starting, stopping, and what is left behind."""

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

PATH = "/v2/models/embed/infer"
FOLDER = Path(__file__).resolve().parents[1]
LONG = "words and more words " * 200  # more than the model's limit


def shared_memory(pid: int) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"triton-{pid}-")]


def shared_bytes(pid: int) -> int:
    return sum(Path("/dev/shm", name).stat().st_size for name in shared_memory(pid))


def tokenized(server: Any) -> float:
    """How many requests have left the first step."""
    text = httpx.get(f"http://127.0.0.1:{server.port('metrics')}/metrics").text
    name = 'nv_inference_request_success{model="tokenize"'
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_sigterm_answers_what_is_in_flight_and_leaves_nothing(
    start_server: Any, body: Any, monkeypatch: pytest.MonkeyPatch
):
    # One CPU has a good part of a second's work with 40 long texts, however fast it is.
    monkeypatch.setenv("SERVER_CPUS", str(min(os.sched_getaffinity(0))))
    with start_server() as server:
        before = tokenized(server)
        request = body([LONG] * 8)
        address = f"127.0.0.1:{server.port('http')}"
        calls = [http.client.HTTPConnection(address, timeout=60) for _ in range(5)]
        for call in calls:
            call.request("POST", PATH, request.content, request.headers)
        deadline = time.monotonic() + 60
        while tokenized(server) < before + len(calls):
            assert time.monotonic() < deadline, "not all were read: nothing is tested"
            time.sleep(0.005)
        assert shared_memory(server.pid), "not where the server keeps its shared memory"
        os.kill(server.pid, signal.SIGTERM)
        signalled = time.monotonic()
        assert [call.getresponse().status for call in calls] == [200] * 5
        assert time.monotonic() - signalled > 0.05, "nothing was in flight: the test shows nothing"
        for call in calls:
            call.close()
        assert server.running.process.wait(70) == 0
        assert shared_memory(server.pid) == []


def test_a_start_removes_what_a_killed_server_left(start_server: Any, body: Any):
    """The bug this would catch: each kill costs memory until the machine restarts.

    And what it takes itself is there when it is ready: the largest request adds next to nothing.
    """
    with start_server() as server:
        killed = server.pid
        os.killpg(killed, signal.SIGKILL)  # its Python processes too: else they tidy up after it
        server.running.process.wait(20)
        assert shared_memory(killed), "it left nothing: the test shows nothing"
    with start_server() as server:
        assert shared_memory(killed) == []
        ready = shared_bytes(server.pid)
        largest = body([LONG] + ["a"] * 127)
        reply = httpx.post(
            server.url + PATH, content=largest.content, headers=largest.headers, timeout=60
        )
        assert reply.status_code == 200
        assert 0 < shared_bytes(server.pid) < 1.05 * ready


@pytest.mark.parametrize(
    ("variables", "phrase"),
    [
        ({"MODEL_DIR": "nowhere"}, "has no encoder.onnx"),
        ({"THREADS": "two"}, "THREADS must be a whole number above 0, not 'two'"),
        ({"PRECISION": "int4"}, "PRECISION must be fp32 or fp16 or int8, not 'int4'"),
        ({"DEVICE": "tpu"}, "DEVICE must be cpu or cuda, not 'tpu'"),
    ],
)
def test_a_wrong_setting_is_named(variables: dict[str, str], phrase: str, tmp_path: Path):
    env = {"PATH": os.environ["PATH"], "STATE_DIR": str(tmp_path), **variables}
    said = subprocess.run(
        [sys.executable, "-P", "launch.py"],
        cwd=FOLDER,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode != 0
    assert phrase in said.stderr
    assert "Traceback" not in said.stderr
