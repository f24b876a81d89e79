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

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse, optimize_for_inference
from torchvision.models import resnet50

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

from decode import CROP, decode_into

TOP_K = 5
TYPES = {"fp32": torch.float32, "fp16": torch.float16}
Prediction = tuple[int, float]
# JPEGs of one batch to the top-5 of each
Classify = Callable[[Sequence[bytes]], list[list[Prediction]]]


class EngineWrong(Exception):
    """The engine can't do the work that is to be timed."""


def load_model(weights: Path, device: str, dtype: torch.dtype) -> nn.Module:
    """ResNet50 in eval mode on `device`. Raises EngineWrong if there is no such device."""
    # TF32 keeps 10 bits of mantissa: that is not the fp32 which is asked for.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineWrong(
            "DEVICE=cuda, but PyTorch sees no CUDA device here: check the driver with nvidia-smi"
        )
    model = resnet50(weights=None)
    model.load_state_dict(load_file(weights))
    # Both fold each batch norm into the convolution before it.
    if device == "cpu" and dtype == torch.float32:
        return optimize_for_inference(model.eval())  # and keep oneDNN's own layout between layers
    return fuse(model.eval()).to(device, dtype, memory_format=torch.channels_last)


def top_k(logits: Tensor) -> list[list[Prediction]]:
    """Index and probability of the TOP_K classes, highest first, for [N, 1000] logits."""
    values, classes = logits.float().softmax(1).topk(TOP_K)
    return [
        list(zip(indices, probabilities, strict=True))
        for indices, probabilities in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def classifier(model: nn.Module, device: str, dtype: torch.dtype) -> Classify:
    """Decode, infer, post-process. Keeps its input buffer: one classifier a thread."""
    buffer = torch.empty(0)

    @torch.inference_mode()
    def classify(jpegs: Sequence[bytes]) -> list[list[Prediction]]:
        nonlocal buffer
        torch.set_num_threads(1)  # a setting of the calling thread
        if len(buffer) != len(jpegs):
            shape = (len(jpegs), 3, CROP, CROP)
            buffer = torch.empty(shape, pin_memory=device == "cuda")
        for jpeg, out in zip(jpegs, buffer.numpy(), strict=True):
            decode_into(jpeg, out)
        if device == "cuda":
            pixels = buffer.to(device, memory_format=torch.channels_last, non_blocking=True)
            return top_k(model(pixels.to(dtype)))
        return top_k(model(buffer.to(dtype)))

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
        if precision not in TYPES:
            raise EngineWrong(f"PRECISION={precision}: must be {' or '.join(TYPES)}")
        network = load_model(model / "model.safetensors", device, TYPES[precision])
        classifiers = [classifier(network, device, TYPES[precision]) for _ in range(threads)]
        check(classifiers[0], names, jpegs, model)
    except EngineWrong as error:
        print(f"engine pytorch: {error}", file=sys.stderr)
        return 1
    for size in sizes:
        items, took = measure(classifiers, jpegs, size, seconds)
        row = {"batch_size": size, "items": items, "seconds": round(took, 4)}
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
