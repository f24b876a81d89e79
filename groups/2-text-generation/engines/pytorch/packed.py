"""Attention over sequences of different lengths that lie one after the other in one row.

A static batch padded to its longest prompt would work on padding; this is the same batch without.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "packed"


@dataclass(frozen=True)
class Row:
    """Tokens [begin, end) of a step are one sequence's, whose keys lie in [first, last)."""

    begin: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Step:
    """`keys`, `values`: [layers, heads, places, size]; `places`: of this step's tokens."""

    keys: Tensor
    values: Tensor
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
    keys, values = step.keys[module.layer_idx], step.values[module.layer_idx]  # pyright: ignore
    keys.index_copy_(1, step.places, key[0])
    values.index_copy_(1, step.places, value[0])
    result = torch.empty_like(query[0].transpose(0, 1), memory_format=torch.contiguous_format)
    for row in step.rows:  # a whole prompt, or one token
        result[row.begin : row.end] = functional.scaled_dot_product_attention(
            query[:, :, row.begin : row.end],
            keys[None, :, row.first : row.last],
            values[None, :, row.first : row.last],
            is_causal=row.end - row.begin > 1,
            scale=scaling,
        )[0].transpose(0, 1)
    return result[None], None


def register() -> None:
    """Make `attn_implementation="packed"` known to transformers."""
    AttentionInterface.register(NAME, attend)
