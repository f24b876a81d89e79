"""From texts to vectors: the definition that stacks are held against, and the ONNX of it."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import Tensor, nn

import onnxruntime

OPSET = 18  # read by every ONNX Runtime since 1.14
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "token_embeddings"
TOLERANCE = 1e-4  # of a component of a token's embedding, whose deviation is about 0.4
Vectors = NDArray[np.float32]


class ExportWrong(Exception):
    """The converted model does not compute what the original does."""


def pool(token_embeddings: Vectors, attention_mask: NDArray[np.int64]) -> Vectors:
    """[batch, tokens, dims] to [batch, dims]: the mean over unpadded tokens, at length 1."""
    mask = attention_mask[:, :, None].astype(np.float32)
    mean = (token_embeddings * mask).sum(1) / mask.sum(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


@torch.inference_mode()
def embed(network: nn.Module, texts: Sequence[list[int]]) -> Vectors:
    """[N, dims], one text (its token ids) at a time: nothing is padded."""
    rows: list[Vectors] = []
    for ids in texts:
        tokens = network(torch.tensor([ids])).last_hidden_state.numpy()
        rows.append(pool(tokens, np.ones((1, len(ids)), np.int64)))
    return np.concatenate(rows)


class Encoder(nn.Module):
    """What is exported: pooling is left to who serves it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def export_onnx(network: nn.Module, path: Path) -> None:
    """input_ids, attention_mask [batch, tokens] int64 to token_embeddings, float32, in one file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=512)}
    example = (torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Encoder(network),
            example,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=(shape, shape),
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
    """The same graph in fp16, what it gives float32. A CPU multiplies in fp32."""
    proto = convert_float_to_float16(onnx.load(fp32), keep_io_types=True)
    OnnxModel.graph_topological_sort(proto.graph, is_deterministic=True)
    onnx.checker.check_model(proto, full_check=True)
    fp16.write_bytes(proto.SerializeToString(deterministic=True))


def quantise(fp32: Path, int8: Path, inner: int) -> None:
    """Dynamic quantisation: 8-bit weights a channel, activations quantised as they come.

    The second matrix of each feed-forward block ([inner, hidden]) stays as it is: single large
    values among its inputs would leave the others few of the 256 steps. Weights are unsigned: with
    signed ones x86 processors without VNNI instructions add pairs of products in 16 bits, which
    saturate, and answers depend on the processor.
    """
    prepared = int8.with_name("prepared.onnx")
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    logging.getLogger().setLevel(logging.ERROR)
    graph = onnx.load(prepared).graph
    second = {weight.name for weight in graph.initializer if weight.dims[:1] == [inner]}
    kept = [n.name for n in graph.node if n.op_type == "MatMul" and n.input[1] in second]
    quantize_dynamic(
        str(prepared),
        str(int8),
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=kept,
        per_channel=True,
        weight_type=QuantType.QUInt8,
    )
    prepared.unlink()


def session(path: Path) -> onnxruntime.InferenceSession:
    """On one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def padded(texts: Sequence[list[int]]) -> dict[str, NDArray[np.int64]]:
    """The graph's inputs for a batch, padded with 0 to its longest text."""
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return {INPUTS[0]: ids, INPUTS[1]: mask}


def embed_onnx(path: Path, texts: Sequence[list[int]]) -> Vectors:
    """[N, dims] by a graph, one text at a time."""
    run = session(path).run
    batches = [padded([text]) for text in texts]
    return np.concatenate(
        [pool(np.asarray(run([OUTPUT], batch)[0]), batch[INPUTS[1]]) for batch in batches]
    )


@torch.inference_mode()
def compare(path: Path, network: nn.Module, texts: Sequence[list[int]]) -> float:
    """Largest difference of an unpadded component from PyTorch's, alone and in a padded batch.

    Raises ExportWrong above TOLERANCE.
    """
    run = session(path).run
    worst = 0.0
    for batch in (texts[:1], texts[1:5]):
        inputs = padded(batch)
        theirs = np.asarray(run([OUTPUT], inputs)[0])
        for row, ids in zip(theirs, batch, strict=True):
            ours = network(torch.tensor([ids])).last_hidden_state[0].numpy()
            worst = max(worst, float(np.abs(row[: len(ids)] - ours).max()))
    if not worst <= TOLERANCE:
        raise ExportWrong(f"ONNX differs from PyTorch by {worst:.2e}, more than {TOLERANCE:.0e}")
    return worst
