"""Step 2: pixels to logits with ONNX Runtime, in a process of its own."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. Raises RuntimeError where the device asked for isn't used."""
        parameters = json.loads(args["model_config"])["parameters"]
        settings = {name: value["string_value"] for name, value in parameters.items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(settings["intra_op_thread_count"])
        options.inter_op_num_threads = 1
        # A thread that spins would take the CPU from the processes that decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider = PROVIDERS[settings["device"]]
        if settings["device"] == "cuda":
            onnxruntime.preload_dlls()  # CUDA and cuDNN from the lock's packages
        self.session = onnxruntime.InferenceSession(
            settings["model"], options, providers=[provider]
        )
        if self.session.get_providers()[0] != provider:
            raise RuntimeError(f"ONNX Runtime can't use {provider} here")

    def execute(self, requests: list) -> list:
        """One model run for all requests of the batch; each gets its own rows back."""
        inputs = [
            pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests
        ]
        pixels = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        logits = self.session.run(["logits"], {"pixels": pixels})[0]
        ends = np.cumsum([len(rows) for rows in inputs])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("logits", rows)])
            for rows in np.split(logits, ends)
        ]
