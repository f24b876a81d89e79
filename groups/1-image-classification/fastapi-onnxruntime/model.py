"""The model: the artefact checked and loaded; batches of tensors to five named classes each."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (onnxruntime ships no types)

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxruntime as ort
from decode import CROP
from settings import Settings

TOP = 5
FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}  # both take and give float32
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # TF32 keeps 10 bits of mantissa: that is not fp32.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}


class ModelError(Exception):
    """A model that can't be served: which file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Prediction:
    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    weights: str  # pretrained | random
    labels: list[str]
    session: ort.InferenceSession

    def predict(self, pixels: NDArray[np.float32]) -> list[list[Prediction]]:
        """[N, 3, 224, 224] normalised to the five most probable classes of each. Thread-safe."""
        (logits,) = self.session.run(["logits"], {"pixels": pixels})
        return top_classes(np.asarray(logits), self.labels)

    def warm_up(self, max_batch: int) -> None:
        """One real inference of each batch size: a GPU looks for its kernels by size.

        Raises ModelError.
        """
        for size in range(1, max_batch + 1):
            try:
                self.predict(np.zeros((size, 3, CROP, CROP), np.float32))
            except Exception as error:
                raise ModelError(f"the model fails on a batch of {size}: {error}") from error


def top_classes(logits: NDArray[np.float32], labels: list[str]) -> list[list[Prediction]]:
    """Softmax and the five largest of each row of [N, classes], most probable first."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    return [
        [Prediction(labels[i], i, float(row[i])) for i in best]
        for row, best in zip(probabilities, order.tolist(), strict=True)
    ]


def load(settings: Settings) -> Model:
    """Load MODEL_DIR for the device. Raises ModelError."""
    manifest = _json(settings.model_dir / "manifest.json")
    labels = _json(settings.model_dir / "labels.json")
    path = settings.model_dir / FILES[settings.precision]
    _check_digest(path, manifest)
    if manifest["model"] != settings.model:
        raise ModelError(f"{path} is {manifest['model']}, but MODEL={settings.model}")
    return Model(manifest["model"], manifest["weights"], labels, _session(path, settings))


def _session(path: Path, settings: Settings) -> ort.InferenceSession:
    provider, provider_options = PROVIDERS[settings.device]
    if settings.device == "cuda":
        ort.preload_dlls()  # the CUDA and cuDNN that the lock installed, not the system's
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, settings.threads // settings.workers)
    options.inter_op_num_threads = 1
    # Waiting threads sleep: a spinning one takes its CPU from decoding and from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=[(provider, provider_options)])
    except Exception as error:  # onnxruntime's own hierarchy is not exported
        raise ModelError(f"{path} can't be loaded with {provider}: {error}") from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU with a mere warning
        raise ModelError(
            f"DEVICE={settings.device}, but {provider} is not active. "
            f"Install requirements.{settings.device}.lock and check the driver, or set DEVICE=cpu"
        )
    return session


def _check_digest(path: Path, manifest: dict[str, Any]) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}. Set MODEL_DIR to the artefact's folder"
        ) from None
    expected = manifest["files"][path.name]["sha256"]
    if found != expected:
        raise ModelError(
            f"{path} has SHA-256 {found}, its manifest says {expected}: build it again"
        )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}. Set MODEL_DIR to the artefact's folder"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}. Build the artefact again") from None
