"""What a right answer is: greedy tokens by transformers' own model, and how clear each one was."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers import DynamicCache

TOLERANCE = 1e-3  # of a log-probability; group.toml's fp32 tolerance
BATCH = 128
PADDED = 8192  # tokens in a batch of prompts, padding included


class ReferenceBlind(Exception):
    """Two prompts have answers that parity could not tell apart."""


@dataclass(frozen=True)
class Prompt:
    """A payload as the model sees it."""

    name: str
    ids: list[int]
    max_tokens: int


def batches(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Prompts of nearly one length together, so that little is padded; long answers first."""
    found: list[list[Prompt]] = [[]]
    for prompt in sorted(prompts, key=lambda prompt: len(prompt.ids)):
        if len(found[-1]) == BATCH or len(prompt.ids) * (len(found[-1]) + 1) > PADDED:
            found.append([])
        found[-1].append(prompt)
    return [sorted(batch, key=lambda prompt: -prompt.max_tokens) for batch in found]


def padded(batch: Sequence[Prompt], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask of a batch, both [prompts, longest], padded on the left."""
    width = max(len(prompt.ids) for prompt in batch)
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(batch):
        ids[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[row, width - len(prompt.ids) :] = 1
    return ids, mask


@torch.inference_mode()
def greedy(network: nn.Module, batch: Sequence[Prompt], pad: int) -> list[dict[str, list[Any]]]:
    """An answer each; of a batch whose longest answers come first, as those done leave its end."""
    found: list[dict[str, list[Any]]] = [{"tokens": [], "margins": []} for _ in batch]
    ids, mask = padded(batch, pad)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache()
    for step in itertools.count(1):
        logits: Tensor = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            logits_to_keep=1,
        ).logits[:, -1]
        best = logits.topk(2)
        leads = (best.values[:, 0] - best.values[:, 1]).tolist()
        for answer, token, lead in zip(found, best.indices[:, 0].tolist(), leads, strict=False):
            answer["tokens"].append(token)
            answer["margins"].append(round(lead, 4))
        going = sum(prompt.max_tokens > step for prompt in batch)
        if not going:
            break
        if going < len(ids):
            cache.batch_select_indices(torch.arange(going))
        ids = best.indices[:going, :1]
        mask = functional.pad(mask[:going], (0, 1), value=1)
        positions = positions[:going, -1:] + 1
    return found


def answers(
    network: nn.Module, prompts: Sequence[Prompt], pad: int, tell: Callable[[str], None]
) -> dict[str, dict[str, list[Any]]]:
    """{name: {"tokens": ids, "margins": log-probability lead of the best over the second}}.

    transformers' own model, cache and padding, and no server's code. An end token ends nothing.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for batch in batches(prompts):
        answered = greedy(network, batch, pad)
        found |= {prompt.name: answer for prompt, answer in zip(batch, answered, strict=True)}
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
