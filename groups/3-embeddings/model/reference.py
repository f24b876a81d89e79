"""What a right answer is, how well answers tell texts apart, and what they are worth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Vectors = NDArray[np.float32]
PARITY_TOLERANCE = 1e-4  # of 1 − cosine; group.toml's fp32 tolerance
# Any two probes' vectors are this far apart, or parity is blind.
MIN_DIFFERENCE = 10 * PARITY_TOLERANCE
# Under load only the largest component's place is compared: where it leads in both precisions by
# more than their noise. That is int8's: activations are quantised by the largest of the whole
# batch, so an answer depends a little on its neighbours. 1 − cosine is up to 0.016, about 0.009 a
# component.
MIN_MARGIN = 0.03


class ReferenceBlind(Exception):
    """Two texts have answers that parity could not tell apart."""


def require_distinct(vectors: Vectors, texts: Sequence[list[int]], names: Sequence[str]) -> float:
    """The least 1 − cosine of two probes. Raises ReferenceBlind, naming the pair that is too close.

    Two texts of the same tokens are one text to the model, and a mistake among the probes.
    """
    distance = 1 - vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(distance, np.inf)
    first, second = np.unravel_index(int(distance.argmin()), distance.shape)
    least = float(distance[first, second])
    if not least >= MIN_DIFFERENCE:
        same = " (the same tokens)" if texts[first] == texts[second] else ""
        pair = f"{names[first]} and {names[second]}"
        raise ReferenceBlind(f"vectors of {pair} differ by {least:.1e}{same}")
    return least


def leads(vectors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each vector, the place of its largest component (absolute) and its lead over the next."""
    size = np.abs(vectors)
    order = np.argsort(-size, axis=1)[:, :2]
    rows = np.arange(len(vectors))
    return order[:, 0], size[rows, order[:, 0]] - size[rows, order[:, 1]]


def expected(fp32: Vectors, int8: Vectors) -> list[str | None]:
    """The largest component's place as a string, None where either precision is too near a tie."""
    places, lead = leads(fp32)
    places8, lead8 = leads(int8)
    clear = (places == places8) & (lead >= MIN_MARGIN) & (lead8 >= MIN_MARGIN)
    return [str(int(place)) if sure else None for place, sure in zip(places, clear, strict=True)]


def drift(fp32: Vectors, other: Vectors) -> float:
    """The largest 1 − cosine between two precisions."""
    return float(1 - (fp32.astype(np.float64) * other).sum(1).min())


def spearman(vectors: dict[str, Vectors], pairs: Sequence[tuple[str, str, float]]) -> float:
    """Rank correlation of the pairs' cosines with what people said, −1 to 1."""
    cosines = [float(vectors[a] @ vectors[b]) for a, b, _ in pairs]
    return float(spearmanr(cosines, [said for _, _, said in pairs]).statistic)
