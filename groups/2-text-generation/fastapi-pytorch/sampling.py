"""From logits to the next token of each sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# As in vLLM. Divided by less, logits may overflow: one caller's error would end the step of all.
GREEDY_BELOW = 1e-5


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` below GREEDY_BELOW is greedy; `top_p` keeps the fewest tokens that hold that
    probability."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None

    def generator(self) -> torch.Generator | None:
        """A generator of the request's own: its answer doesn't depend on who else is served."""
        if self.temperature < GREEDY_BELOW:
            return None
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


GREEDY = Sampling(temperature=0.0)


def choose(logits: Tensor, how: Sequence[tuple[Sampling, torch.Generator | None]]) -> list[int]:
    """One token for each row of `logits` [rows, vocabulary]."""
    chosen: list[int] = logits.argmax(-1).tolist()
    for row, (sampling, generator) in enumerate(how):
        if generator is not None:
            chosen[row] = _draw(logits[row].cpu(), sampling, generator)
    return chosen


def _draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    probabilities = (logits / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, ids = probabilities.sort(descending=True)
        # The token that passes the limit is kept: at least one always is.
        keep = int((ordered.cumsum(-1) < sampling.top_p).sum()) + 1
        drawn = torch.multinomial(ordered[:keep], 1, generator=generator)
        return int(ids[drawn])
    return int(torch.multinomial(probabilities, 1, generator=generator))
