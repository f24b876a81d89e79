"""ONNX from the same parameters, in fp32 and fp16, held against PyTorch."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import Tensor, nn

import onnxruntime

INPUT = "pixels"
OUTPUT = "logits"
OPSET = 18  # read by every ONNX Runtime since 1.14
TOLERANCE = 1e-4  # of a logit


class ExportWrong(Exception):
    """The converted model does not compute what the original does."""


def export_onnx(model: nn.Module, path: Path) -> None:
    """`pixels` [batch, 3, 224, 224] to `logits` [batch, 1000], float32, any batch, in one file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 3, 224, 224),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    # Stack traces and module paths: they name the building machine's folders and change the digest.
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    for initializer in graph.initializer:
        initializer.ClearField("metadata_props")
    proto.ClearField("functions")
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def halve(fp32: Path, fp16: Path) -> None:
    """The same graph in fp16, what goes in and out float32. A CPU computes it in fp32."""
    proto = convert_float_to_float16(onnx.load(fp32), keep_io_types=True)
    OnnxModel.graph_topological_sort(proto.graph, is_deterministic=True)
    onnx.checker.check_model(proto, full_check=True)
    fp16.write_bytes(proto.SerializeToString(deterministic=True))


def logits(path: Path, pixels: Tensor) -> Tensor:
    """[N, 1000] by a graph, on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(np.asarray(session.run([OUTPUT], {INPUT: pixels.numpy()})[0]))


@torch.inference_mode()
def compare(path: Path, model: nn.Module, pixels: Tensor) -> float:
    """Largest difference of a logit between ONNX Runtime and PyTorch, in batches of 1 and 3.

    Raises ExportWrong above TOLERANCE.
    """
    worst = 0.0
    for batch in (pixels[:1], pixels[1:4]):
        worst = max(worst, float((logits(path, batch) - model(batch)).abs().max()))
    if not worst <= TOLERANCE:
        raise ExportWrong(f"ONNX differs from PyTorch by {worst:.2e}, more than {TOLERANCE:.0e}")
    return worst
