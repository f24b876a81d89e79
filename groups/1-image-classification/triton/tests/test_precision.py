"""Half precision, natively and in the image."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

PATH = "/v2/models/classify/infer"
FOLDER = Path(__file__).resolve().parents[1]
TOLERANCE, TOLERANCE16 = 1e-3, 5e-3  # the group's parity tolerances for fp32 and fp16


def test_fp16(server: Any, body: Any, tmp_path: Path):
    """Near the reference, of rounded weights. Breaks if fp32's graph were read."""
    told = server.running.env | {"STATE_DIR": str(tmp_path), "PRECISION": "fp16"}
    for name in ("HTTP", "GRPC", "METRICS"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            told[f"{name}_PORT"] = str(free.getsockname()[1])
    process = subprocess.Popen(server.running.process.args, cwd=FOLDER, env=told)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{told['HTTP_PORT']}", timeout=60) as http:
            deadline = time.monotonic() + server.stack.ready_timeout_s
            while not ready(http):
                assert process.poll() is None and time.monotonic() < deadline, "never ready"
                time.sleep(0.2)
            answers = json.loads((server.artefact.folder / "reference.json").read_text())
            off: list[float] = []
            for number in range(4):
                asked = body([server.payload(number)])
                reply = http.post(PATH, content=asked.content, headers=asked.headers)
                assert reply.status_code == 200, reply.text
                given = {output["name"]: output["data"] for output in reply.json()["outputs"]}
                right = answers[server.payloads[number].name]
                pairs = zip(given["INDEX"], given["PROBABILITY"], strict=True)
                off += [abs(probability - right[index]) for index, probability in pairs]
        assert len(off) == 20 and TOLERANCE / 10 < max(off) <= TOLERANCE16
        process.terminate()
        process.wait(server.stack.stop_timeout_s)
    finally:
        process.kill()
        process.wait()


def ready(http: httpx.Client) -> bool:
    """Whether the ensemble is."""
    try:
        return http.get("/v2/models/classify/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_both_layouts_load_the_file_of_the_precision(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The image's onnxruntime backend is led to it by a link, the package's model.py by its
    configuration. Breaks if either were led to the other precision's file."""
    spec = importlib.util.spec_from_file_location("classify_launch", FOLDER / "launch.py")
    assert spec and spec.loader
    launch = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, launch)
    spec.loader.exec_module(launch)
    files = {"fp32": tmp_path / "model.onnx", "fp16": tmp_path / "model.fp16.onnx"}
    for file in (*files.values(), tmp_path / "labels.json"):
        file.touch()
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("PRECISION", precision)
    folder = launch.model_repository(launch.settings(), tmp_path / "state") / "resnet50"
    assert (folder / "1" / "model.onnx").resolve() == files[precision]
    assert f'"{files[precision]}"' in (folder / "config.pbtxt").read_text()
