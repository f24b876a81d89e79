"""Attention for transformers' models over packed sequences of different lengths.

All tokens of a step, prompts and answers alike, go through the model as ONE row, so that no matrix
product works on padding. Only here are they told apart again.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers import AttentionInterface

from memory import KeyValueMemory

NAME = "packed"


@dataclass(frozen=True, slots=True)
class Row:
    """Some tokens of one sequence: [begin, end) of the step, and where its keys lie in memory."""

    begin: int
    end: int
    first: int  # of the sequence's stretch
    last: int  # end of what is known after this step


@dataclass(frozen=True, slots=True)
class Step:
    """What one forward pass works on. `places`: where each token's key and value are kept."""

    memory: KeyValueMemory
    rows: list[Row]
    places: Tensor


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    step: Step,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Tensors are [1, heads, tokens, size]; the result is [1, tokens, heads, size]."""
    keys = step.memory.keys[module.layer_idx]  # pyright: ignore
    values = step.memory.values[module.layer_idx]  # pyright: ignore
    keys.index_copy_(1, step.places, key[0])
    values.index_copy_(1, step.places, value[0])
    result = torch.empty_like(query[0].transpose(0, 1), memory_format=torch.contiguous_format)
    for row in step.rows:
        new, known = row.end - row.begin, row.last - row.first
        mask = None
        if 1 < new < known:  # a later part of a prompt: it sees all that went before
            mask = torch.ones(new, known, dtype=torch.bool, device=query.device).tril(known - new)
        result[row.begin : row.end] = functional.scaled_dot_product_attention(
            query[:, :, row.begin : row.end],
            keys[None, :, row.first : row.last],
            values[None, :, row.first : row.last],
            attn_mask=mask,
            is_causal=new > 1 and mask is None,
            scale=scaling,
        )[0].transpose(0, 1)
    return result[None], None


def register() -> None:
    """Make `attn_implementation="packed"` known to transformers."""
    AttentionInterface.register(NAME, attend)
