"""BERT's encoder in plain PyTorch: what is computed, and nothing around it.

The same function as transformers' BertModel, with query, key and value as one product. A server
that knows its model needs none of that library's machinery: it takes ten seconds to import.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

TYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Affine:
    """Weight and bias, of a product or of a layer norm."""

    weight: Tensor
    bias: Tensor

    def product(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def norm(self, x: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, self.bias.shape, self.weight, self.bias, eps)


@dataclass(frozen=True, slots=True)
class Layer:
    query_key_value: Affine
    attended: Affine
    attended_norm: Affine
    inner: Affine
    outer: Affine
    outer_norm: Affine


@dataclass(frozen=True, slots=True)
class Bert:
    """Token ids to token embeddings."""

    words: Tensor
    places: Tensor  # position embeddings, the one segment's added
    norm: Affine
    layers: tuple[Layer, ...]
    heads: int
    eps: float

    def __call__(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """[batch, tokens] int64 to [batch, tokens, hidden]; where `mask` is False is padding."""
        batch, tokens = ids.shape
        x = self.norm.norm(F.embedding(ids, self.words) + self.places[:tokens], self.eps)
        seen = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            split = layer.query_key_value.product(x).view(batch, tokens, 3, self.heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
            joined = attended.transpose(1, 2).reshape(batch, tokens, -1)
            x = layer.attended_norm.norm(x + layer.attended.product(joined), self.eps)
            inner = F.gelu(layer.inner.product(x))
            x = layer.outer_norm.norm(x + layer.outer.product(inner), self.eps)
        return x


def load(folder: Path, device: str, precision: str) -> Bert:
    """model.safetensors and config.json, as transformers names their parts; fp32 or fp16.

    Raises ValueError for another kind of model.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    for name, wanted in (("model_type", "bert"), ("hidden_act", "gelu")):
        if config[name] != wanted:
            raise ValueError(f"config.json: {name} is {config[name]!r}, not {wanted!r}")
    stored = safetensors.torch.load_file(folder / "model.safetensors", device=device)
    state = {name: tensor.to(TYPES[precision]) for name, tensor in stored.items()}

    def affine(*names: str) -> Affine:
        return Affine(
            torch.cat([state[f"{name}.weight"] for name in names]),
            torch.cat([state[f"{name}.bias"] for name in names]),
        )

    def layer(number: int) -> Layer:
        at = f"encoder.layer.{number}"
        own = f"{at}.attention.self"
        return Layer(
            affine(f"{own}.query", f"{own}.key", f"{own}.value"),
            affine(f"{at}.attention.output.dense"),
            affine(f"{at}.attention.output.LayerNorm"),
            affine(f"{at}.intermediate.dense"),
            affine(f"{at}.output.dense"),
            affine(f"{at}.output.LayerNorm"),
        )

    places = state["embeddings.position_embeddings.weight"]
    return Bert(
        state["embeddings.word_embeddings.weight"],
        places + state["embeddings.token_type_embeddings.weight"][0],
        affine("embeddings.LayerNorm"),
        tuple(layer(number) for number in range(config["num_hidden_layers"])),
        config["num_attention_heads"],
        config["layer_norm_eps"],
    )
