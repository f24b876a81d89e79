"""Step 2: token ids to token embeddings with ONNX Runtime, in a process of its own."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

import onnxruntime
from batches import batches

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
COUNTERS = {
    "embed_texts": "texts executed",
    "embed_executions": "runs of the model",
    "embed_tokens": "tokens executed, padding left out",
    "embed_padded_tokens": "tokens executed, padding included",
}


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and run it once. Raises RuntimeError where the device asked for isn't used."""
        config = json.loads(args["model_config"])
        settings = {name: value["string_value"] for name, value in config["parameters"].items()}
        self.max_texts = int(settings["max_texts"])
        self.max_padded_tokens = int(settings["max_padded_tokens"])
        self.pad_id = int(settings["pad_id"])
        self.dimensions = int(config["output"][0]["dims"][1])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(settings["intra_op_thread_count"])
        options.inter_op_num_threads = 1
        # A thread that spins would take the CPU from the other steps.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider = PROVIDERS[settings["device"]]
        self.session = onnxruntime.InferenceSession(
            Path(settings["model"]), options, providers=[provider]
        )
        if self.session.get_providers()[0] != provider:
            raise RuntimeError(f"ONNX Runtime can't use {provider} here")
        self.counters = {
            name: pb_utils.MetricFamily(
                name=name, description=text, kind=pb_utils.MetricFamily.COUNTER
            ).Metric(labels={"instance": args["model_instance_name"]})
            for name, text in COUNTERS.items()
        }
        warm = np.full((self.max_texts, 2), self.pad_id, np.int64)
        self.run(warm, np.ones_like(warm))

    def execute(self, requests: list) -> list:
        """Runs for all rows of all requests, like lengths together; each request gets its own back."""
        ids = [column(request, "input_ids") for request in requests]
        masks = [column(request, "attention_mask") for request in requests]
        place = [(request, row) for request, rows in enumerate(ids) for row in range(len(rows))]
        lengths = [int(length) for mask in masks for length in mask.sum(axis=1)]
        # Zeros where a request is longer than a row of it: `pool` multiplies them with the mask.
        outputs = [np.zeros((*rows.shape, self.dimensions), np.float32) for rows in ids]
        for group in batches(lengths, self.max_texts, self.max_padded_tokens):
            longest = lengths[group[-1]]
            together = np.full((len(group), longest), self.pad_id, np.int64)
            mask = np.zeros_like(together)
            for at, number in enumerate(group):
                request, row = place[number]
                length = lengths[number]
                together[at, :length] = ids[request][row, :length]
                mask[at, :length] = 1
            embedded = self.run(together, mask)
            for at, number in enumerate(group):
                request, row = place[number]
                length = lengths[number]
                outputs[request][row, :length] = embedded[at, :length]
            self.count(len(group), sum(lengths[number] for number in group), together.size)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("token_embeddings", rows)])
            for rows in outputs
        ]

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, tokens] to [n, tokens, dimensions]."""
        return self.session.run(
            ["token_embeddings"], {"input_ids": ids, "attention_mask": mask}
        )[0]

    def count(self, texts: int, tokens: int, padded_tokens: int) -> None:
        """Add one run to the metrics."""
        for name, amount in zip(COUNTERS, (texts, 1, tokens, padded_tokens), strict=True):
            self.counters[name].increment(amount)


def column(request, name: str) -> NDArray[np.int64]:
    """One input of a request, [n, tokens]."""
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
