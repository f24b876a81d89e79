"""Starting, stopping, and what is left behind."""

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PATH = "/v2/models/classify/infer"
FOLDER = Path(__file__).resolve().parents[1]


def shared_memory(pid: int) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"triton-{pid}-")]


def test_sigterm_answers_what_is_in_flight_and_leaves_nothing(start_server: Any, body: Any):
    with start_server() as server:
        request = body([server.payload(i) for i in range(8)])
        address = f"127.0.0.1:{server.port('http')}"
        calls = [http.client.HTTPConnection(address, timeout=60) for _ in range(5)]
        for call in calls:
            call.request("POST", PATH, request.content, request.headers)
        time.sleep(0.5)  # all are read by now, and 40 images take longer than that
        assert shared_memory(server.pid), "not where the server keeps its shared memory"
        os.kill(server.pid, signal.SIGTERM)
        signalled = time.monotonic()
        assert [call.getresponse().status for call in calls] == [200] * 5
        assert time.monotonic() - signalled > 0.05, "nothing was in flight: the test shows nothing"
        for call in calls:
            call.close()
        assert server.running.process.wait(70) == 0
        assert shared_memory(server.pid) == []


@pytest.mark.slow
def test_sigterm_with_an_idle_connection_takes_its_time(start_server: Any):
    """What README says of it; the day it does better, that must be rewritten."""
    with start_server() as server:
        idle = http.client.HTTPConnection(f"127.0.0.1:{server.port('http')}", timeout=60)
        idle.request("GET", "/v2/health/live")
        idle.getresponse().read()
        os.kill(server.pid, signal.SIGTERM)
        assert server.running.process.wait(server.stack.stop_timeout_s) == 1
        idle.close()


def test_a_folder_of_a_server_that_is_gone_is_removed(tmp_path: Path):
    """Broken by a copy of the model repository in /tmp for each start by hand."""
    with subprocess.Popen(["true"]) as gone:
        pass
    old, other = tmp_path / f"triton-{gone.pid}-x", tmp_path / f"triton-{os.getpid()}-x"
    for folder in (old, other):
        (folder / "model_repository").mkdir(parents=True)
    code = "import launch; launch.remove_leftovers()"
    told = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=FOLDER, env=told, check=True)
    assert not old.exists() and other.exists()


def test_a_start_removes_what_a_killed_server_left(start_server: Any):
    """The bug this would catch: each kill costs memory until the machine restarts."""
    with start_server() as server:
        killed = server.pid
        os.killpg(killed, signal.SIGKILL)  # its Python processes too: else they tidy up after it
        server.running.process.wait(20)
        assert shared_memory(killed), "it left nothing: the test shows nothing"
    with start_server() as server:
        assert shared_memory(killed) == []
        assert shared_memory(server.pid)


@pytest.mark.parametrize(
    ("variables", "phrase"),
    [
        ({"MODEL_DIR": "nowhere"}, "has no model.onnx"),
        ({"THREADS": "two"}, "THREADS must be a whole number above 0, not 'two'"),
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
