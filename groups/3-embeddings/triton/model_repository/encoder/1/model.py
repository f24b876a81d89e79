"""Step 2: token ids to token embeddings with ONNX Runtime, in a process of its own."""

import fcntl
import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from batches import Limits, batches
from numpy.typing import NDArray

import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
COUNTERS = {
    "embed_texts": "texts executed",
    "embed_executions": "runs of the model",
    "embed_tokens": "tokens executed, padding left out",
    "embed_padded_tokens": "tokens executed, padding included",
}


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. Raises RuntimeError if the device isn't used."""
        config = json.loads(args["model_config"])
        settings = {name: value["string_value"] for name, value in config["parameters"].items()}
        self.limits = Limits(
            int(settings["max_texts"]), int(settings["max_tokens"]), int(settings["max_padding"])
        )
        self.pad_id = int(settings["pad_id"])
        self.dimensions = int(config["output"][0]["dims"][1])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(settings["intra_op_thread_count"])
        options.inter_op_num_threads = 1
        # A thread that spins would take the CPU from the other steps.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A plan of memory for each shape would be kept for ever, and batches have hundreds.
        options.enable_mem_pattern = False
        provider = PROVIDERS[settings["device"]]
        if settings["device"] == "cuda":
            onnxruntime.preload_dlls()  # CUDA and cuDNN from the lock's packages
        self.session = onnxruntime.InferenceSession(
            Path(settings["model"]), options, providers=[provider]
        )
        if self.session.get_providers()[0] != provider:
            raise RuntimeError(f"ONNX Runtime can't use {provider} here")
        # Kept: a counter dies with its family.
        self.families = {
            name: pb_utils.MetricFamily(
                name=name, description=text, kind=pb_utils.MetricFamily.COUNTER
            )
            for name, text in COUNTERS.items()
        }
        labels = {"instance": args["model_instance_name"]}
        self.counters = {
            name: family.Metric(labels=labels) for name, family in self.families.items()
        }
        self.turn = (Path(args["model_repository"]) / "turn.lock").open("w")

    def execute(self, requests: list) -> list:
        """Run all rows of all requests, like lengths together; each request gets its own back."""
        ids = [column(request, "input_ids") for request in requests]
        masks = [column(request, "attention_mask") for request in requests]
        place = [(request, row) for request, rows in enumerate(ids) for row in range(len(rows))]
        lengths = [int(length) for mask in masks for length in mask.sum(axis=1)]
        # Zeros where a request is longer than a row of it: `pool` multiplies them with the mask.
        outputs = [np.zeros((*rows.shape, self.dimensions), np.float32) for rows in ids]
        # One instance works at a time: on the same CPUs two would only make each other late.
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        try:
            for group in batches(lengths, self.limits):
                self.embed([(*place[row], lengths[row]) for row in group], ids, outputs)
        finally:
            fcntl.flock(self.turn, fcntl.LOCK_UN)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("token_embeddings", rows)])
            for rows in outputs
        ]

    def embed(
        self,
        rows: list[tuple[int, int, int]],
        ids: list[NDArray[np.int64]],
        outputs: list[NDArray[np.float32]],
    ) -> None:
        """Run these rows together. `rows`: (request, its row, tokens), the longest one last."""
        together = np.full((len(rows), rows[-1][2]), self.pad_id, np.int64)
        mask = np.zeros_like(together)
        for at, (request, row, length) in enumerate(rows):
            together[at, :length] = ids[request][row, :length]
            mask[at, :length] = 1
        embedded = self.run(together, mask)
        for at, (request, row, length) in enumerate(rows):
            outputs[request][row, :length] = embedded[at, :length]
        self.count(len(rows), int(mask.sum()), mask.size)

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, tokens] to [n, tokens, dimensions]."""
        given = {"input_ids": ids, "attention_mask": mask}
        return self.session.run(["token_embeddings"], given)[0]

    def count(self, texts: int, tokens: int, padded_tokens: int) -> None:
        """Add one run to the metrics."""
        for name, amount in zip(COUNTERS, (texts, 1, tokens, padded_tokens), strict=True):
            self.counters[name].increment(amount)


def column(request, name: str) -> NDArray[np.int64]:
    """One input of a request, [n, tokens]."""
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
