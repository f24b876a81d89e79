"""Half precision, natively and in the image."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

PATH = "/v2/models/classify/infer"
FOLDER = Path(__file__).resolve().parents[1]
TOLERANCE, TOLERANCE16 = 1e-3, 5e-3  # the group's parity tolerances for fp32 and fp16


def test_fp16(start_server: Any, body: Any):
    """Near the reference, and rounded. Breaks if fp32 were computed under fp16's name."""
    with start_server(PRECISION="fp16") as server:
        answers = json.loads((server.artefact.folder / "reference.json").read_text())
        off: list[float] = []
        for number in range(4):
            asked = body([server.payload(number)])
            reply = httpx.post(
                server.url + PATH, content=asked.content, headers=asked.headers, timeout=60
            )
            assert reply.status_code == 200, reply.text
            told = {output["name"]: output["data"] for output in reply.json()["outputs"]}
            right = answers[server.payloads[number].name]
            pairs = zip(told["INDEX"], told["PROBABILITY"], strict=True)
            off += [abs(probability - right[index]) for index, probability in pairs]
        assert len(off) == 20 and TOLERANCE / 10 < max(off) <= TOLERANCE16


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
