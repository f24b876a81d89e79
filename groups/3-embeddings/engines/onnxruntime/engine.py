"""The bare engine: texts in memory; tokenize, infer, pool in one process, no server.

Prints one JSON line a batch size. Exits 1 with one line on stderr when the device is not there
or an answer is wrong: a ceiling measured on wrong work would mislead everybody.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import onnxruntime

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import bare
from bare import Asked, Embed, EngineWrong, Vectors

FILES = {"fp32": "encoder.onnx", "fp16": "encoder.fp16.onnx", "int8": "encoder.int8.onnx"}


def load_session(model: Path, device: str) -> onnxruntime.InferenceSession:
    """A session on `device`. Raises EngineWrong if CUDA is asked for and not active."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Each worker infers on its own thread, so that no core ever waits for another.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if device == "cpu":
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    onnxruntime.preload_dlls()
    # TF32 keeps 10 bits of mantissa: that is not the fp32 which is asked for.
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[cuda])
    except Exception as error:
        raise EngineWrong(f"DEVICE=cuda: {error}") from error
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise EngineWrong(
            "DEVICE=cuda, but ONNX Runtime has no working CUDA provider here: "
            "install requirements.cuda.lock, and check the driver with nvidia-smi"
        )
    return session


def make(asked: Asked, tokenizer: Tokenizer) -> Sequence[Embed]:
    """One embedder a thread. Raises EngineWrong."""
    if asked.precision not in FILES:
        raise EngineWrong(f"PRECISION={asked.precision}: must be {' or '.join(FILES)}")
    session = load_session(asked.model / FILES[asked.precision], asked.device)

    def embed(texts: Sequence[str]) -> Vectors:
        ids, mask = bare.padded(tokenizer, texts)
        inputs = {"input_ids": ids, "attention_mask": mask}
        return bare.pool(np.asarray(session.run(["token_embeddings"], inputs)[0]), mask)

    return [embed] * asked.threads


if __name__ == "__main__":
    sys.exit(bare.main("onnxruntime", make))
