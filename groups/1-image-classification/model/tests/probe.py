"""Runs in the model builder's own environment and prints one JSON object of measurements.

Arguments: what to measure, then what it needs. `test_artefact.py` says what the figures must be.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.transforms import functional as F

sys.path.append(str(Path(__file__).parent.parent))

import build
import decode
import export
import reference
import weights

Pixels = NDArray[np.float32]


def load(artefact: Path) -> nn.Module:
    model = resnet50(weights=None)
    model.load_state_dict(load_file(artefact / "model.safetensors"))
    return model.eval()


def straight_to_224(data: bytes) -> Pixels:
    return decode.normalise(decode.upright_rgb(data).resize((224, 224), Image.Resampling.BILINEAR))


def bgr(data: bytes) -> Pixels:
    image = decode.resize_and_crop(decode.upright_rgb(data))
    return decode.normalise(Image.merge("RGB", image.split()[::-1]))


def exif_ignored(data: bytes) -> Pixels:
    return decode.normalise(decode.resize_and_crop(Image.open(BytesIO(data)).convert("RGB")))


def not_normalised(data: bytes) -> Pixels:
    image = decode.resize_and_crop(decode.upright_rgb(data))
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


def mutations(artefact: Path, payloads: Path) -> dict[str, dict[str, float]]:
    """Largest change of a class probability, for each wrong way of answering and each payload."""
    torch.set_num_threads(1)
    manifest = json.loads((payloads / "manifest.json").read_text())
    names = [entry["name"] for entry in manifest]
    files = [(payloads / entry["file"]).read_bytes() for entry in manifest]
    right = json.loads((artefact / "reference.json").read_text())
    answers = torch.tensor([right[name] for name in names], dtype=torch.float64)
    model = load(artefact)

    def drift(wrong: Tensor) -> dict[str, float]:
        return dict(zip(names, (wrong - answers).abs().amax(1).tolist(), strict=True))

    def decoded(how: Callable[[bytes], Pixels]) -> Tensor:
        return torch.from_numpy(np.stack([how(data) for data in files]))

    pixels = decoded(decode.decode)
    found = {
        "onnx": drift(export.logits(artefact / "model.onnx", pixels).double().softmax(1)),
        "fp16": drift(export.logits(artefact / "model.fp16.onnx", pixels).double().softmax(1)),
        "swapped": drift(answers.roll(1, 0)),
        "echo": drift(answers[:1].expand_as(answers)),
    }
    for how in (straight_to_224, bgr, exif_ignored, not_normalised):
        found[how.__name__] = drift(reference.probabilities(model, decoded(how)))
    with torch.no_grad():
        model.get_submodule("layer3.2.conv2").get_parameter("weight").mul_(1.02)
    found["perturbed_layer"] = drift(reference.probabilities(model, pixels))
    return found


def torchvision_difference(payloads: Path) -> float:
    """Largest difference of a normalised value between decode.py and torchvision's transforms."""
    worst = 0.0
    for path in payloads.glob("*.jpg"):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        image = F.center_crop(F.resize(image, [256]), [224])
        theirs = F.normalize(F.to_tensor(image), list(decode.MEAN), list(decode.STD)).numpy()
        worst = max(worst, float(np.abs(theirs - decode.decode(path.read_bytes())).max()))
    return worst


def corner(image: Image.Image, kind: str = "PNG", **options: Any) -> list[int]:
    """RGB of the top left pixel of a picture after encoding and upright_rgb."""
    data = BytesIO()
    image.save(data, kind, **options)
    return list(decode.upright_rgb(data.getvalue()).getpixel((0, 0)))  # type: ignore[arg-type]


def modes() -> dict[str, Any]:
    """What upright_rgb makes of each kind of picture."""
    size = (300, 260)
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 250, 100, 50])
    two_sided = Image.new("RGB", size, "blue")
    two_sided.paste("red", (0, 0, 150, 260))  # left half red
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down: the left half is really the right one
    return {
        "rgba": corner(Image.new("RGBA", size, (200, 100, 50, 128))),
        "la": corner(Image.new("LA", size, (200, 128))),
        "palette": corner(palette),
        "palette_transparent": corner(palette, transparency=1),
        "grayscale": corner(Image.new("L", size, 77)),
        "exif_upside_down": corner(two_sided, "JPEG", exif=turned, quality=95),
        "cmyk": corner(Image.new("CMYK", size, (0, 255, 255, 0)), "JPEG", quality=95),
    }


def hub(artefact: Path) -> dict[str, Any]:
    """What the loader of pretrained weights makes of hubs that answer in different ways."""
    data = (artefact / "model.safetensors").read_bytes()
    paths: list[str] = []
    reply: dict[str, Any] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(reply["status"])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(reply["body"])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    found: dict[str, Any] = {}

    def attempt(name: str, status: int, body: bytes) -> None:
        reply.update(status=status, body=body)
        try:
            found[name] = weights.pretrained().kind
        except (weights.WeightsUnavailable, weights.WeightsWrong) as error:
            found[name] = f"{type(error).__name__}: {error}"

    attempt("other_bytes", 200, data)
    attempt("not_found", 404, b"")
    attempt("broke_off", 200, data[:1000])
    found["path"] = paths[0]
    weights.FILE_SHA256 = build.hashlib.sha256(data).hexdigest()
    attempt("pinned_bytes", 200, data)
    server.shutdown()
    server.server_close()
    pixels = torch.randn(2, 3, 64, 64)
    found["auto"] = build.choose_weights("auto", pixels).kind  # nothing listens any more
    return found


def too_far() -> dict[str, Any]:
    """What is said to fp16 answers 0.004 and 0.006 off, of the second of two pictures."""
    answers = torch.tensor([[0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)

    def off(by: float) -> Tensor:
        return (answers + torch.tensor([[0, 0], [by, -by]])).log()

    found: dict[str, Any] = {"within": reference.drift(answers, off(0.004), ["a", "b"])}
    try:
        reference.drift(answers, off(0.006), ["a", "b"])
    except reference.Fp16TooFar as error:
        found["beyond"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    measure: Callable[..., Any] = globals()[what]
    print(json.dumps(measure(*map(Path, arguments))))
