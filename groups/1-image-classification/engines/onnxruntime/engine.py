"""The bare engine: JPEGs in memory; decode, infer, post-process in one process, no server.

Prints one JSON line a batch size. Exits 1 with one line on stderr when the device is not there
or an answer is wrong: a ceiling measured on wrong work would mislead everybody.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import onnxruntime

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

from decode import CROP, decode_into

TOP_K = 5
FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}  # both take and give float32
Prediction = tuple[int, float]
# JPEGs of one batch to the top-5 of each
Classify = Callable[[Sequence[bytes]], list[list[Prediction]]]


class EngineWrong(Exception):
    """The engine can't do the work that is to be timed."""


def load_session(model: Path, device: str) -> onnxruntime.InferenceSession:
    """A session on `device`. Raises EngineWrong if CUDA is asked for and not active."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Each worker infers on its own thread, so that no core ever waits for another (README).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if device == "cpu":
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    onnxruntime.preload_dlls()
    # TF32 keeps 10 bits of mantissa: that is not the fp32 which is asked for.
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"})
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


def top_k(logits: NDArray[np.float32]) -> list[list[Prediction]]:
    """Index and probability of the TOP_K classes, highest first, for [N, 1000] logits."""
    rows = np.arange(len(logits))[:, None]
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    probability = exponent / exponent.sum(1, keepdims=True)
    best = np.argpartition(logits, -TOP_K, axis=1)[:, -TOP_K:]
    best = best[rows, np.argsort(-logits[rows, best], axis=1)]
    return [
        list(zip(classes, values, strict=True))
        for classes, values in zip(best.tolist(), probability[rows, best].tolist(), strict=True)
    ]


def classifier(session: onnxruntime.InferenceSession) -> Classify:
    """Decode, infer, post-process. Keeps its input buffer: one classifier a thread."""
    buffer = np.empty((1, 3, CROP, CROP), np.float32)

    def classify(jpegs: Sequence[bytes]) -> list[list[Prediction]]:
        nonlocal buffer
        if len(buffer) != len(jpegs):
            buffer = np.empty((len(jpegs), 3, CROP, CROP), np.float32)
        for jpeg, out in zip(jpegs, buffer, strict=True):
            decode_into(jpeg, out)
        return top_k(np.asarray(session.run(["logits"], {"pixels": buffer})[0]))

    return classify


def check(classify: Classify, names: Sequence[str], jpegs: Sequence[bytes], model: Path) -> None:
    """Raises EngineWrong unless each first label is the one in the artefact's expected.json."""
    expected = json.loads((model / "expected.json").read_text(encoding="utf-8"))
    for name, jpeg in zip(names, jpegs, strict=True):
        first = str(classify([jpeg])[0][0][0])
        if expected[name] is not None and first != expected[name]:
            raise EngineWrong(f"{name}: class {first}, expected.json says {expected[name]}")


def measure(
    classifiers: Sequence[Classify], jpegs: Sequence[bytes], batch_size: int, seconds: float
) -> tuple[int, float]:
    """Pictures answered and seconds taken, all classifiers at work at once."""
    order = itertools.cycle(jpegs)
    deadline = 0.0

    def work(classify: Classify) -> int:
        items = 0
        while time.perf_counter() < deadline:
            # next() on a cycle is one step under the interpreter lock: workers share it safely.
            items += len(classify([next(order) for _ in range(batch_size)]))
        return items

    with ThreadPoolExecutor(len(classifiers)) as pool:
        list(pool.map(lambda classify: classify(jpegs[:batch_size]), classifiers))  # warm-up
        start = time.perf_counter()
        deadline = start + seconds
        items = sum(pool.map(work, classifiers))
        return items, time.perf_counter() - start


def main() -> int:
    model = Path(os.environ["MODEL_DIR"])
    payloads = Path(os.environ["PAYLOADS_DIR"])
    device = os.environ.get("DEVICE", "cpu")
    threads = int(os.environ.get("THREADS", "1"))
    precision = os.environ.get("PRECISION", "fp32")
    seconds = float(os.environ.get("SECONDS", "5"))
    sizes = [int(size) for size in os.environ.get("BATCH_SIZES", "1,2,4,8").split(",")]
    entries = json.loads((payloads / "manifest.json").read_text(encoding="utf-8"))
    # Those marked are held back from every load; the ceiling is of the same work.
    manifest = [entry for entry in entries if not entry.get("audit")]
    names = [entry["name"] for entry in manifest]
    jpegs = [(payloads / entry["file"]).read_bytes() for entry in manifest]
    try:
        if precision not in FILES:
            raise EngineWrong(f"PRECISION={precision}: must be {' or '.join(FILES)}")
        session = load_session(model / FILES[precision], device)
        classifiers = [classifier(session) for _ in range(threads)]
        check(classifiers[0], names, jpegs, model)
    except EngineWrong as error:
        print(f"engine onnxruntime: {error}", file=sys.stderr)
        return 1
    for size in sizes:
        items, took = measure(classifiers, jpegs, size, seconds)
        row = {"batch_size": size, "items": items, "seconds": round(took, 4)}
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
