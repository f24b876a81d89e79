"""What the tests of all this group's stacks share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from bench.environments import ensure_environment
from bench.progress import Reporter

MODEL = Path(__file__).resolve().parent / "model"
PAIRS = "lib/python*/site-packages/gensim/test/test_data/wordsim353.tsv"
TEXTS = 128  # in one request

Embed = Callable[[list[str]], Sequence[Sequence[float]]]


@pytest.fixture(scope="session")
def spearman() -> Callable[[Embed], float]:
    """spearman(embed): rank correlation of a server's cosines with people's judgement of
    WordSim-353's pairs, which the model's builder brings along. −1 to 1."""
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    (file,) = environment.glob(PAIRS)
    lines = [
        line.split("\t") for line in file.read_text().splitlines() if line[:1] not in ("", "#")
    ]
    words = sorted({word for first, second, _ in lines for word in (first, second)})

    def correlation(embed: Embed) -> float:
        found: list[Sequence[float]] = []
        for start in range(0, len(words), TEXTS):
            found += embed(words[start : start + TEXTS])
        vectors = {word: np.asarray(row) for word, row in zip(words, found, strict=True)}
        cosines = [float(vectors[first] @ vectors[second]) for first, second, _ in lines]
        return float(spearmanr(cosines, [float(said) for _, _, said in lines]).statistic)

    return correlation
