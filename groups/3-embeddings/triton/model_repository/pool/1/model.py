"""Step 3: token embeddings to one vector a text: their mean, at length 1."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list) -> list:
        """One response a request."""
        return [respond(request) for request in requests]


def respond(request) -> "pb_utils.InferenceResponse":
    """`token_embeddings`, [n, tokens, d], and `attention_mask`, [n, tokens], to EMBEDDING, [n, d]."""
    tokens = pb_utils.get_input_tensor_by_name(request, "token_embeddings").as_numpy()
    mask = pb_utils.get_input_tensor_by_name(request, "attention_mask").as_numpy()
    weights = mask.astype(np.float32)[:, None, :]  # one row a text: a product instead of a copy
    mean = np.matmul(weights, tokens)[:, 0] / weights.sum(axis=2)
    vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", vectors)])
