"""What a right answer is: probabilities from PyTorch, and how well they tell pictures apart."""

import torch
from torch import Tensor, nn

PARITY_TOLERANCE = 1e-3  # of a probability; group.toml's fp32 tolerance
PARITY_TOLERANCE_FP16 = 5e-3  # group.toml's fp16 tolerance
# Random weights: any two pictures' answers are this far apart in some class, or parity is blind.
MIN_DIFFERENCE = 10 * PARITY_TOLERANCE
# Under load only the first label is compared: where it leads by so much that it stays first, even
# if it and the second are both off by all that fp16 may be.
MIN_MARGIN = 2 * PARITY_TOLERANCE_FP16


class Fp16TooFar(Exception):
    """Half precision changes a probability by more than the gate allows it."""


class ReferenceBlind(Exception):
    """Two pictures have answers that parity could not tell apart."""


@torch.inference_mode()
def probabilities(model: nn.Module, pixels: Tensor) -> Tensor:
    """[N, 1000] softmax in float64 of logits computed one picture at a time."""
    logits = torch.cat([model(picture[None]) for picture in pixels])
    return logits.double().softmax(1)


def drift(answers: Tensor, logits16: Tensor, names: list[str]) -> float:
    """Largest change of a class probability by fp16. Raises Fp16TooFar above its tolerance."""
    worst = (logits16.double().softmax(1) - answers).abs().amax(1)
    if not float(worst.max()) <= PARITY_TOLERANCE_FP16:
        name = names[int(worst.argmax())]
        raise Fp16TooFar(
            f"fp16 changes a probability of {name} by {float(worst.max()):.1e} "
            f"> {PARITY_TOLERANCE_FP16:.0e}"
        )
    return float(worst.max())


def least_difference(answers: Tensor) -> tuple[float, int, int]:
    """Over pairs, the smallest of the largest difference of a class; and which pair it is."""
    distance = torch.cdist(answers, answers, p=float("inf"))
    distance.fill_diagonal_(float("inf"))
    pair = int(distance.argmin())
    return float(distance.min()), pair // len(answers), pair % len(answers)


def require_distinct(answers: Tensor, names: list[str]) -> float:
    """The least difference; ReferenceBlind names the pair that is closer than MIN_DIFFERENCE."""
    least, first, second = least_difference(answers)
    if not least >= MIN_DIFFERENCE:
        pair = f"{names[first]} and {names[second]}"
        raise ReferenceBlind(f"answers for {pair} differ by {least:.1e} < {MIN_DIFFERENCE:.0e}")
    return least


def expected(answers: Tensor) -> list[str | None]:
    """Top-1 class index as a string for each picture, None where the lead is below MIN_MARGIN."""
    top = answers.topk(2)
    return [
        str(int(classes[0])) if float(values[0] - values[1]) >= MIN_MARGIN else None
        for values, classes in zip(top.values, top.indices, strict=True)
    ]
