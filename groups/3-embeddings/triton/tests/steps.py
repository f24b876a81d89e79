"""The ensemble's steps by themselves, with what Triton hands its Python processes held by hand.

Run by test_steps.py in the stack's own environment: steps.py MODEL_REPOSITORY ARTEFACT. Prints
facts as JSON.
"""

import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY, ARTEFACT = Path(sys.argv[1]), Path(sys.argv[2])


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> np.ndarray:
        return self.array


class Response:
    def __init__(self, tensors: list[Tensor] | None = None, error: Any = None) -> None:
        self.error = error
        self.outputs = {tensor.name: tensor.array for tensor in tensors or []}


class Fault:
    INVALID_ARG = "INVALID_ARG"

    def __init__(self, message: str, code: str) -> None:
        self.said = [code, message]


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def increment(self, amount: int) -> None:
        self.value += amount


def load(step: str) -> Any:
    """A step's model.py, which imports what Triton provides and its own neighbours."""
    backend: Any = types.ModuleType("triton_python_backend_utils")
    backend.Tensor, backend.InferenceResponse, backend.TritonError = Tensor, Response, Fault
    backend.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name])
    sys.modules[backend.__name__] = backend
    folder = REPOSITORY / step / "1"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(f"step_{step}", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tokenized(module: Any, multiple: str, requests: list[list[bytes]]) -> list[Response]:
    """`multiple`: pad_to_multiple_of, as one of the two configurations has it."""
    named = {
        "tokenizer": str(ARTEFACT / "tokenizer.json"),
        "pad_id": "0",
        "pad_to_multiple_of": multiple,
    }
    config = {"parameters": {key: {"string_value": value} for key, value in named.items()}}
    step = module.TritonPythonModel()
    step.initialize({"model_config": json.dumps(config)})
    return step.execute([{"TEXT": np.array(texts, object)[:, None]} for texts in requests])


def tokenize() -> dict[str, Any]:
    module = load("tokenize")
    facts: dict[str, Any] = {}
    for multiple in ("1", "16"):
        requests = [[b"one"], [b"one", b"a " * 14], [b"a " * 15]]
        found = [response.outputs for response in tokenized(module, multiple, requests)]
        facts[f"shapes, multiple of {multiple}"] = [list(each["input_ids"].shape) for each in found]
        facts[f"tokens, multiple of {multiple}"] = [
            each["attention_mask"].sum(axis=1).tolist() for each in found
        ]
        facts[f"padding, multiple of {multiple}"] = [
            each["input_ids"][each["attention_mask"] == 0].tolist() for each in found
        ]
    most = module.MAX_BYTES
    several = tokenized(module, "1", [[b"one"], [b"one", b""], [b"a" * most], [b"a" * (most + 1)]])
    facts["each by itself"] = [each.error.said if each.error else "answered" for each in several]
    return facts


def encode() -> dict[str, Any]:
    """Three ragged requests; the "model" answers with each token's id, twice."""
    module = load("encoder")
    step = module.TritonPythonModel()
    step.limits, step.pad_id, step.dimensions = module.Limits(32, 256, 2), 9, 2
    step.counters = {name: Counter() for name in module.COUNTERS}
    step.turn = (Path(tempfile.mkdtemp()) / "turn.lock").open("w")
    runs: list[list[Any]] = []

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        runs.append([ids.tolist(), mask.tolist()])
        return np.repeat(ids[:, :, None], 2, axis=2).astype(np.float32)

    step.run = run
    rows = [[[3, 4, 0], [5, 6, 7]], [[1, 2, 8, 3, 1, 2]], [[2, 2]]]
    masks = [[[1, 1, 0], [1, 1, 1]], [[1] * 6], [[1, 1]]]
    requests = [
        {"input_ids": np.array(ids), "attention_mask": np.array(mask)}
        for ids, mask in zip(rows, masks, strict=True)
    ]
    answers = step.execute(requests)
    return {
        "runs": runs,
        "answers": [each.outputs["token_embeddings"][:, :, 0].tolist() for each in answers],
        "counted": [counter.value for counter in step.counters.values()],
    }


def pool() -> list[list[float]]:
    module = load("pool")
    tokens = np.array([[[3.0, 0.0], [3.0, 8.0], [99.0, 99.0]], [[0.0, 2.0]] * 3], np.float32)
    request = {"token_embeddings": tokens, "attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}
    (response,) = module.TritonPythonModel().execute([request])
    return response.outputs["EMBEDDING"].astype(float).round(6).tolist()


print(json.dumps({"tokenize": tokenize(), "encode": encode(), "pool": pool()}))
