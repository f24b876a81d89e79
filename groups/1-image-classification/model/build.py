"""Build the artefact that every stack of this group loads. README says what is in it.

Exit codes: 0 built, 1 a check failed, 2 wrong use, 3 the weights asked for can't be had.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import decode
import export
import reference
import weights

PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "pillow",
    "numpy",
    "safetensors",
)


class PayloadWrong(Exception):
    """A payload is missing or is not the one that the manifest lists."""


def say(text: str) -> None:
    print(text, flush=True)


def load_payloads(folder: Path) -> tuple[list[str], Tensor]:
    """Names and decoded pixels [N, 3, 224, 224] in the manifest's order. Raises PayloadWrong."""
    names: list[str] = []
    pixels: list[Tensor] = []
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        path = folder / entry["file"]
        if not path.is_file():
            raise PayloadWrong(f"{path} is missing")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise PayloadWrong(f"{path} is not the file that manifest.json lists (SHA-256 differs)")
        names.append(entry["name"])
        pixels.append(torch.from_numpy(decode.decode(data)))
    return names, torch.stack(pixels)


def choose_weights(wanted: str, pixels: Tensor) -> weights.Weights:
    """Raises WeightsUnavailable (`pretrained` and no hub) or WeightsWrong (not the pinned file)."""
    if wanted != "random":
        try:
            return weights.pretrained()
        except weights.WeightsUnavailable as error:
            if wanted == "pretrained":
                raise
            say(f"pretrained weights can't be had ({error}); using random ones")
    return weights.random(pixels)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def preprocessing() -> dict[str, Any]:
    """The numbers of decode.py, for servers that take them from the artefact."""
    return {
        "resize_short_side": decode.SHORT_SIDE,
        "resize_filter": "bilinear, antialiased (Pillow)",
        "crop": decode.CROP,
        "channels": "RGB",
        "layout": "NCHW",
        "scale": 1 / 255,
        "mean": decode.MEAN,
        "std": decode.STD,
        "input": export.INPUT,
        "output": export.OUTPUT,
    }


def write_manifest(
    folder: Path, model: str, chosen: weights.Weights, checks: dict[str, Any]
) -> str:
    """Digest every file of `folder` into manifest.json and return content_sha256."""
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    lines = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    content = hashlib.sha256(lines.encode()).hexdigest()
    manifest = {
        "model": model,
        "weights": chosen.kind,
        "source": chosen.source,
        "licence": chosen.licence,
        "seed": chosen.seed,
        "parameters": weights.PARAMETERS,
        "files": files,
        "versions": {package: version(package) for package in PACKAGES},
        "checks": checks,
        "content_sha256": content,
    }
    write_json(folder / "manifest.json", manifest)
    return content


def build(model: str, wanted: str, payloads: Path, folder: Path) -> str:
    """Write the artefact into the empty `folder`; returns content_sha256."""
    torch.set_num_threads(1)  # the order of additions, and so every digest, depends on it
    torch.use_deterministic_algorithms(True)

    names, pixels = load_payloads(payloads)
    say(f"payloads: {len(names)} decoded to {tuple(pixels.shape)}")

    chosen = choose_weights(wanted, pixels)
    say(f"weights: {chosen.kind}, {chosen.source}")
    safetensors.torch.save_file(chosen.model.state_dict(), folder / "model.safetensors")

    export.export_onnx(chosen.model, folder / "model.onnx")
    difference = export.compare(folder / "model.onnx", chosen.model, pixels)
    say(f"onnx: exported, logits differ from PyTorch by {difference:.1e} at most")
    export.halve(folder / "model.onnx", folder / "model.fp16.onnx")

    answers = reference.probabilities(chosen.model, pixels)
    drift = reference.drift(answers, export.logits(folder / "model.fp16.onnx", pixels), names)
    say(f"onnx: in fp16 a probability differs by {drift:.1e} at most")
    least = reference.least_difference(answers)[0]
    if chosen.kind == "random":
        reference.require_distinct(answers, names)
    keys = reference.expected(answers)
    decided = [key for key in keys if key is not None]
    say(
        f"reference: answers differ by {least:.3f} at least, {len(decided)} of {len(names)} have a "
        f"clear first label, {len(set(decided))} different ones"
    )

    rounded = np.round(answers.numpy(), 9).tolist()
    reference_text = json.dumps(dict(zip(names, rounded, strict=True)), separators=(",", ":"))
    (folder / "reference.json").write_text(reference_text + "\n", encoding="utf-8")
    write_json(folder / "expected.json", dict(zip(names, keys, strict=True)))
    write_json(folder / "labels.json", ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    write_json(folder / "preprocess.json", preprocessing())
    checks = {
        "onnx_max_logit_difference": difference,
        "fp16_max_probability_difference": drift,
        "least_pairwise_difference": least,
    }
    return write_manifest(folder, model, chosen, checks)


def replace(target: Path, write: Callable[[Path], str]) -> str:
    """Let `write` fill TARGET.partial, then put it in TARGET's place."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        result = write(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # Servers in containers run as another user; safetensors writes 0600, a umask may say 0700.
    partial.chmod(0o755)
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the artefact of this group's model.")
    parser.add_argument("--model", choices=["resnet50"], default="resnet50")
    parser.add_argument("--weights", choices=["auto", "pretrained", "random"], default="auto")
    parser.add_argument("--payloads", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--out", type=Path, required=True, help="the artefact folder, replaced")
    arguments = parser.parse_args()
    try:
        digest = replace(
            arguments.out,
            lambda folder: build(arguments.model, arguments.weights, arguments.payloads, folder),
        )
    except (weights.WeightsUnavailable, weights.WeightsWrong) as error:
        print(f"model: {arguments.weights} weights can't be had: {error}", file=sys.stderr)
        return 3
    except (
        PayloadWrong,
        export.ExportWrong,
        reference.Fp16TooFar,
        reference.ReferenceBlind,
        OSError,
    ) as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    say(f"artefact: {arguments.out} ({digest[:12]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
