"""What launch.py tells NVIDIA's image, up to the device: there is neither image nor GPU here.

Each configuration is read with Triton's own schema, which refuses a misspelt or misplaced field.
"""

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

STACK = Path(__file__).resolve().parents[1]
BYTES = {model_config_pb2.TYPE_INT64: 8, model_config_pb2.TYPE_FP32: 4}


class Became(Exception):
    """What the process would have become."""


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """launch.py in what looks like the image, with an artefact of which only the names are."""
    spec = importlib.util.spec_from_file_location("embeddings_launch", STACK / "launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    (tmp_path / "image" / "backends" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    for name in ("encoder.onnx", "encoder.fp16.onnx", "encoder.int8.onnx", "tokenizer.json"):
        (tmp_path / "model" / name).touch()
    told = {"max_tokens": 120, "dimensions": 384, "pad_id": 0}
    (tmp_path / "model" / "embedding.json").write_text(json.dumps(told))

    def become(server: Path, arguments: list[str], env: dict[str, str]) -> None:
        raise Became(arguments)

    monkeypatch.setattr(module, "IMAGE_ROOT", tmp_path / "image")
    monkeypatch.setattr(module.os, "execve", become)
    for name, value in {
        "MODEL_DIR": str(tmp_path / "model"),
        "STATE_DIR": str(tmp_path / "state"),
        "THREADS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    return module


def configured(launch: Any, state: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Any:
    """The server's arguments, and {model: its configuration as --model-config-name chooses it}."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Became) as became:
        launch.main()
    configs: dict[str, Any] = {}
    for folder in (state / "model_repository").iterdir():
        chosen = folder / "configs" / "onnxruntime.pbtxt"
        text = (chosen if chosen.exists() else folder / "config.pbtxt").read_text()
        configs[folder.name] = text_format.Parse(text, model_config_pb2.ModelConfig())
    return became.value.args[0], configs


def test_the_encoder_is_the_onnxruntime_backends(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU: breaks if the image would run the python step, or ask for a GPU it has not got."""
    arguments, configs = configured(launch, tmp_path / "state", monkeypatch)
    assert "--model-config-name=onnxruntime" in arguments
    assert f"--backend-directory={tmp_path / 'image' / 'backends'}" in arguments
    encoder = configs["encoder"]
    assert encoder.backend == "onnxruntime"
    assert not encoder.HasField("optimization")
    assert [group.kind for group in encoder.instance_group] == [
        model_config_pb2.ModelInstanceGroup.KIND_CPU
    ]
    assert configs["tokenize"].parameters["pad_to_multiple_of"].string_value == "16"
    model = tmp_path / "state" / "model_repository" / "encoder" / "1" / "model.onnx"
    assert model.resolve() == tmp_path / "model" / "encoder.onnx"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_each_precision_has_its_own_encoder(
    precision: str, launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the image and natively. Breaks if fp32 would stand under another's name: the parity gate
    can't tell, it is within the others' tolerances."""
    configured(launch, tmp_path / "state", monkeypatch, PRECISION=precision)
    folder = tmp_path / "state" / "model_repository" / "encoder"
    file = tmp_path / "model" / f"encoder.{precision}.onnx"
    assert (folder / "1" / "model.onnx").readlink() == file
    native = text_format.Parse(
        (folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    assert native.parameters["model"].string_value == str(file)


def test_tensorrt_is_told_every_shape_that_can_come(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if a shape is left out (a longer text would then build an engine while its caller
    waits), if one input has no range (ONNX Runtime refuses that), or at half precision."""
    variables = {"DEVICE": "cuda", "ACCELERATOR": "tensorrt", "ENGINES": str(tmp_path / "kept")}
    arguments, configs = configured(launch, tmp_path / "state", monkeypatch, **variables)
    assert "--allow-gpu-metrics=true" in arguments
    encoder = configs["encoder"]
    assert [group.kind for group in encoder.instance_group] == [
        model_config_pb2.ModelInstanceGroup.KIND_GPU
    ]
    (one,) = encoder.optimization.execution_accelerators.gpu_execution_accelerator
    assert (one.name, dict(one.parameters)) == (
        "tensorrt",
        {
            "precision_mode": "FP32",
            "trt_profile_min_shapes": "input_ids:1x16,attention_mask:1x16",
            "trt_profile_opt_shapes": "input_ids:32x32,attention_mask:32x32",
            # 120 tokens at most, rounded up as `tokenize` does; as many texts as the model takes.
            "trt_profile_max_shapes": "input_ids:128x128,attention_mask:128x128",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(tmp_path / "kept"),
        },
    )
    assert (tmp_path / "kept").is_dir()
    assert {tensor.name for tensor in encoder.input} == {"input_ids", "attention_mask"}
    assert encoder.max_batch_size == 128


def test_warm_up_is_as_large_as_the_largest_request(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if the limit of texts or of tokens changes in one place only: then shared memory grows
    when the first large request comes, or Triton finds too little in a file and does not start."""
    configured(launch, tmp_path / "state", monkeypatch)
    for step in ("encoder", "pool"):
        folder = tmp_path / "state" / "model_repository" / step
        text = (folder / "config.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        (warm,) = config.model_warmup
        assert set(warm.inputs) == {tensor.name for tensor in config.input}
        for tensor in warm.inputs.values():
            assert tensor.dims[0] == config.max_batch_size * 120
            if tensor.input_data_file:
                size = (folder / "warmup" / tensor.input_data_file).stat().st_size
                assert size == math.prod(tensor.dims) * BYTES[tensor.data_type]


@pytest.mark.parametrize(
    ("variables", "phrase"),
    [
        ({"ACCELERATOR": "openvino"}, "ACCELERATOR must be none or tensorrt, not 'openvino'"),
        ({"ACCELERATOR": "tensorrt"}, "with DEVICE=cuda"),
        (
            {"ACCELERATOR": "tensorrt", "DEVICE": "cuda", "PRECISION": "int8"},
            "and PRECISION=fp32",
        ),
        (
            {"ACCELERATOR": "tensorrt", "DEVICE": "cuda", "PRECISION": "fp16"},
            "and PRECISION=fp32",
        ),
        (
            {"ACCELERATOR": "tensorrt", "DEVICE": "cuda", "nowhere": ""},
            "works in NVIDIA's image",
        ),
    ],
)
def test_tensorrt_where_it_can_not_work_is_refused(
    variables: dict[str, str],
    phrase: str,
    launch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start and by name. Breaks if it would be left out silently: then the figures would
    stand under the wrong name."""
    if "nowhere" in variables:
        monkeypatch.setattr(launch, "IMAGE_ROOT", tmp_path / "nowhere")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=phrase):
        launch.settings()
