"""TorchServe's handler: a batch of requests in, one answer a request out."""

import json
import os
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch.fx.experimental.optimization import fuse, optimize_for_inference
from torchvision.models import get_model
from ts.torch_handler.base_handler import BaseHandler

from preprocess import CROP, to_tensor
from request import Request, read

TOP = 5
TYPES = {"fp32": torch.float32, "fp16": torch.float16}
WAIT_FOR_OTHERS_S = 60


class ImageClassifier(BaseHandler):
    """Eager PyTorch with batch norm folded into the convolutions and weights in oneDNN's layout."""

    def initialize(self, context: Any) -> None:
        """Load the weights and answer once; the worker is READY only after this returns."""
        self.context = context
        self.manifest = context.manifest
        # TorchServe numbers a worker's GPU; on a CPU there is no number.
        gpu = context.system_properties.get("gpu_id")
        if os.environ.get("DEVICE") == "cuda" and (gpu is None or not torch.cuda.is_available()):
            raise RuntimeError("DEVICE=cuda, but TorchServe or PyTorch finds no GPU")
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        # TorchServe turns TF32 on for GPUs; fp32 is to be fp32.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

        self.dtype = TYPES[os.environ.get("PRECISION", "fp32")]

        folder = Path(context.system_properties["model_dir"])
        self.max_batch: int = context.model_yaml_config["handler"]["maxImages"]
        self.labels: list[str] = json.loads((folder / "labels.json").read_text())
        model = get_model(self.manifest["model"]["modelName"], weights=None)
        model.load_state_dict(load_file(folder / self.manifest["model"]["serializedFile"]))
        with torch.inference_mode():
            self.model = optimised(model.eval(), self.device, self.dtype)
        blank = np.zeros((CROP, CROP, 3), dtype=np.uint8)
        for size in (1, self.max_batch):
            self._probabilities([blank] * size)
        _wait_for_the_others(Path(tempfile.gettempdir()), int(os.environ.get("WORKERS", "1")))
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> list[Request]:
        """Decode every request by itself, so that a bad one fails alone."""
        return [read(parts) for parts in data]

    def inference(self, data: list[Request], *_: Any, **__: Any) -> Any:
        """The batch's images in executions of at most `maxImages`; answers and their requests."""
        images = [image for request in data for image in request.images]
        begun = time.perf_counter()
        chunks = [images[i : i + self.max_batch] for i in range(0, len(images), self.max_batch)]
        top = [answer for chunk in chunks for answer in self._top(self._probabilities(chunk))]
        metrics = self.context.metrics
        metrics.add_counter("classifier_batch_items", len(images))
        metrics.add_counter("classifier_batch_executions", len(chunks))
        # Each request is charged with the whole batch it rode in: that long it waited.
        seconds = (time.perf_counter() - begun) * len(data)
        metrics.add_counter("classifier_inference_seconds", seconds)
        metrics.add_counter("classifier_inference_requests", len(data))
        # TorchServe sums the queue time of REST requests only: their mean needs their number.
        metrics.add_counter("classifier_rest_requests", sum(map(self._is_rest, range(len(data)))))
        return data, top

    def postprocess(self, data: Any) -> list[str]:
        """One JSON text a request, in order, each with its own status."""
        requests, top = data
        answers: list[str] = []
        answered = iter(top)
        for index, request in enumerate(requests):
            self.context.set_response_content_type(index, "application/json")
            if request.error is not None:
                status = HTTPStatus(request.error.status)
                self.context.set_response_status(status.value, status.phrase, index)
                # launch.py asks every worker for a refusal before it stops the server.
                self.context.set_response_header(index, "x-worker-pid", str(os.getpid()))
                answer = _refusal(status, str(request.error))
            else:
                results = [{"predictions": next(answered)} for _ in request.images]
                answer = {"results": results} if request.is_batch else results[0]
            answers.append(json.dumps(answer))
        return answers

    def _is_rest(self, index: int) -> bool:
        # Beside a description of each part, REST requests have their HTTP headers.
        headers = self.context.get_all_request_header(index)
        return any(isinstance(value, str) for value in headers.values())

    def _probabilities(self, images: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
        with torch.inference_mode():
            pixels = to_tensor(images, self.device).to(self.dtype)
            return self.model(pixels).float().softmax(dim=1)

    def _top(self, probabilities: torch.Tensor) -> list[list[dict[str, Any]]]:
        best = probabilities.topk(TOP, dim=1)
        values: list[list[float]] = best.values.tolist()
        indices: list[list[int]] = best.indices.tolist()
        return [
            [
                {"label": self.labels[index], "index": index, "probability": probability}
                for probability, index in zip(*row, strict=True)
            ]
            for row in zip(values, indices, strict=True)
        ]


def _wait_for_the_others(folder: Path, workers: int) -> None:
    """Return when as many workers have loaded, so that one that is READY means that all are.

    A worker that is started again later finds the marks of the others and does not wait.
    """
    (folder / f"loaded-{os.getpid()}").touch()
    deadline = time.monotonic() + WAIT_FOR_OTHERS_S
    while len(list(folder.glob("loaded-*"))) < workers and time.monotonic() < deadline:
        time.sleep(0.05)


def optimised(model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """PyTorch's own graph clean-up for inference; what it is worth: README.md."""
    if device.type == "cpu" and dtype == torch.float32:
        return optimize_for_inference(model)
    return fuse(model).to(device, dtype, memory_format=torch.channels_last)


def _refusal(status: HTTPStatus, message: str) -> dict[str, Any]:
    # The shape of TorchServe's own errors, so that a client needs to know one.
    return {"code": status.value, "type": "BadRequestException", "message": message}
