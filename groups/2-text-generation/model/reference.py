"""What a right answer is: greedy tokens by transformers' own `generate`, and how clear each was."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

TOLERANCE = 1e-3  # of a log-probability; group.toml's fp32 tolerance
BATCH = 64
PADDED = 8192  # tokens in a batch of prompts, padding included


class ReferenceBlind(Exception):
    """Two prompts have answers that parity could not tell apart."""


@dataclass(frozen=True)
class Prompt:
    """A payload as the model sees it."""

    name: str
    ids: list[int]
    max_tokens: int


class Leads(LogitsProcessor):
    """Changes nothing; notes at each step how far the best token leads the second, [batch]."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best = scores.topk(2).values
        self.steps.append(best[:, 0] - best[:, 1])
        return scores


def batches(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Answers of nearly one length together, and among them prompts of nearly one length."""
    lengths = sorted(prompt.max_tokens for prompt in prompts)
    thirds = [lengths[len(lengths) * n // 3] for n in (1, 2)]

    def kin(prompt: Prompt) -> tuple[bool, int, int]:
        third = sum(prompt.max_tokens > limit for limit in thirds)
        return len(prompt.ids) > PADDED // BATCH, third, len(prompt.ids)

    found: list[list[Prompt]] = [[]]
    for prompt in sorted(prompts, key=kin):
        width = max(len(each.ids) for each in [*found[-1], prompt])
        if len(found[-1]) == BATCH or width * (len(found[-1]) + 1) > PADDED:
            found.append([])
        found[-1].append(prompt)
    return found


@torch.inference_mode()
def answers(
    network: nn.Module, prompts: Sequence[Prompt], pad: int, tell: Callable[[str], None]
) -> dict[str, dict[str, list[Any]]]:
    """{name: {"tokens": ids, "margins": log-probability lead of the best over the second}}.

    Batches of answers and prompts of nearly one length, padded on the left; each is cut to its own
    length, and an end token ends nothing.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for batch in batches(prompts):
        width = max(len(prompt.ids) for prompt in batch)
        ids = torch.full((len(batch), width), pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, width - len(prompt.ids) :] = 1
        leads = Leads()
        said: Tensor = network.generate(  # pyright: ignore
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(prompt.max_tokens for prompt in batch),
            do_sample=False,
            eos_token_id=None,
            pad_token_id=pad,
            logits_processor=LogitsProcessorList([leads]),
        )
        tokens = said[:, width:]
        margins = torch.stack(leads.steps, dim=1).double()
        for row, prompt in enumerate(batch):
            length = prompt.max_tokens
            found[prompt.name] = {
                "tokens": tokens[row, :length].tolist(),
                "margins": [round(margin, 4) for margin in margins[row, :length].tolist()],
            }
        tell(f"reference: {len(found)} of {len(prompts)} prompts answered")
    return {prompt.name: found[prompt.name] for prompt in prompts}


def expected(found: Mapping[str, Any]) -> dict[str, str | None]:
    """All ids as one string, None where a step is so close that rounding may turn it."""
    return {
        name: None if min(answer["margins"]) <= TOLERANCE else " ".join(map(str, answer["tokens"]))
        for name, answer in found.items()
    }


def require_distinct(found: Mapping[str, Any]) -> None:
    """Raises ReferenceBlind if an answer is the beginning of another, or equal to it."""
    tokens = {name: answer["tokens"] for name, answer in found.items()}
    for (one, first), (other, second) in itertools.combinations(tokens.items(), 2):
        common = min(len(first), len(second))
        if first[:common] == second[:common]:
            raise ReferenceBlind(f"{one} and {other} have the same {common} tokens")
