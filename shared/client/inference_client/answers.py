"""Answers as values, and how the JSON that several protocols share is read into them.

Readers raise ValueError, KeyError or TypeError on anything else; a transport turns that into an
InferenceError.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class: its label, its index in the model's outputs, its softmax probability (0 to 1)."""

    label: str
    index: int
    probability: float


Answer = tuple[Prediction, ...]  # one image's classes, most probable first
Vector = tuple[float, ...]  # one text's embedding


def read_answer(predictions: Any) -> Answer:
    """`[{"label", "index", "probability"}, …]` as an Answer."""
    return tuple(
        Prediction(str(entry["label"]), int(entry["index"]), float(entry["probability"]))
        for entry in predictions
    )


def read_json_answers(body: bytes, images: int) -> list[Answer]:
    """`{"predictions": …}` for one image, `{"results": [{"predictions": …}, …]}` for several."""
    answer: Any = json.loads(body)
    if images == 1 and "predictions" in answer:
        return [read_answer(answer["predictions"])]
    return [read_answer(result["predictions"]) for result in answer["results"]]


def read_columns(
    shape: Sequence[int],
    labels: Sequence[str],
    indices: Sequence[int],
    probabilities: Sequence[float],
) -> list[Answer]:
    """Three row-major tensors of shape [images, k], flattened, as one Answer an image."""
    images, each = shape
    for column in (labels, indices, probabilities):
        if len(column) != images * each:
            raise ValueError(f"{len(column)} values in a tensor of shape [{images}, {each}]")
    rows = [
        Prediction(str(label), int(index), float(probability))
        for label, index, probability in zip(labels, indices, probabilities, strict=True)
    ]
    return [tuple(rows[at * each : (at + 1) * each]) for at in range(images)]


def read_vector(values: Any) -> Vector:
    """A sequence of numbers as a Vector. Raises ValueError for an empty one."""
    vector = tuple(map(float, values))
    if not vector:
        raise ValueError("an empty vector")
    return vector


def read_rows(shape: Sequence[int], values: Sequence[float]) -> list[Vector]:
    """A row-major tensor of shape [texts, dimensions], flattened, as one Vector a text."""
    texts, each = shape
    if len(values) != texts * each:
        raise ValueError(f"{len(values)} values in a tensor of shape [{texts}, {each}]")
    return [read_vector(values[at * each : (at + 1) * each]) for at in range(texts)]
