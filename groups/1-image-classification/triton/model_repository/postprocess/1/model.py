"""Step 3: logits to the five most probable labels."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

TOP = 5


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Read the labels; entry i names class i."""
        parameters = json.loads(args["model_config"])["parameters"]
        names = json.loads(Path(parameters["labels"]["string_value"]).read_text(encoding="utf-8"))
        self.labels = np.asarray([name.encode() for name in names], dtype=np.object_)

    def execute(self, requests: list) -> list:
        """One response a request."""
        return [self.respond(request) for request in requests]

    def respond(self, request) -> "pb_utils.InferenceResponse":
        """`logits`, [n, 1000] float32, to LABEL, INDEX and PROBABILITY, each [n, 5], best first."""
        logits = pb_utils.get_input_tensor_by_name(request, "logits").as_numpy()
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("LABEL", self.labels[best]),
                pb_utils.Tensor("INDEX", best.astype(np.int32)),
                pb_utils.Tensor("PROBABILITY", np.take_along_axis(probabilities, best, axis=1)),
            ]
        )
