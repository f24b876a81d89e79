"""What a right answer is: greedy tokens by transformers' own `generate`, and how clear each was."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

TOLERANCE = 1e-3  # of a log-probability; group.toml's fp32 tolerance
BATCH = 32


class ReferenceBlind(Exception):
    """Two prompts have answers that parity could not tell apart."""


@dataclass(frozen=True)
class Prompt:
    """A payload as the model sees it."""

    name: str
    ids: list[int]
    max_tokens: int


@torch.inference_mode()
def answers(
    network: nn.Module, prompts: Sequence[Prompt], pad: int, tell: Callable[[str], None]
) -> dict[str, dict[str, list[Any]]]:
    """{name: {"tokens": ids, "margins": log-probability lead of the best over the second}}.

    Batches of answers and prompts of nearly one length, padded on the left; each is cut to its own
    length, and an end token ends nothing.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    lengths = sorted(prompt.max_tokens for prompt in prompts)
    thirds = [lengths[len(lengths) * n // 3] for n in (1, 2)]

    def kin(prompt: Prompt) -> tuple[int, int]:
        return sum(prompt.max_tokens > third for third in thirds), len(prompt.ids)

    order = sorted(prompts, key=kin)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        width = max(len(prompt.ids) for prompt in batch)
        ids = torch.full((len(batch), width), pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, width - len(prompt.ids) :] = 1
        said: Any = network.generate(  # pyright: ignore
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(prompt.max_tokens for prompt in batch),
            do_sample=False,
            eos_token_id=None,
            pad_token_id=pad,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = said.sequences[:, width:]
        best = torch.stack([step.topk(2).values for step in said.logits], dim=1)
        margins = (best[..., 0] - best[..., 1]).double()
        for row, prompt in enumerate(batch):
            length = prompt.max_tokens
            found[prompt.name] = {
                "tokens": tokens[row, :length].tolist(),
                "margins": [round(margin, 4) for margin in margins[row, :length].tolist()],
            }
        tell(f"reference: {min(start + BATCH, len(order))} of {len(order)} prompts answered")
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
