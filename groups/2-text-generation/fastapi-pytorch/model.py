"""The artefact, checked and loaded: a transformers model that takes packed steps."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

import attention
from attention import Row, Step
from linear import halve, pack
from memory import KeyValueMemory
from settings import Settings

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHECKED = ("model.safetensors", "tokenizer.json", "config.json")


class ModelError(Exception):
    """The artefact can't be served: which file, and what to do."""


class Model:
    """A language model and its memory. Not thread-safe: one thread calls `logits`."""

    def __init__(self, settings: Settings) -> None:
        manifest = _manifest(settings)
        transformers_logging.disable_progress_bar()  # pyright: ignore[reportUnknownMemberType]
        attention.register()
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means all of its bits
        network: Any = AutoModelForCausalLM.from_pretrained(
            settings.model_dir, dtype=torch.float32, attn_implementation=attention.NAME
        )
        self._network = network.eval().to(settings.device)
        if settings.precision == "bf16":
            halve(self._network)
        elif settings.device == "cpu":
            pack(self._network)
        config = self._network.config
        self.name: str = manifest["model"]
        self.weights: str = manifest["weights"]
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self.end: int = config.eos_token_id
        self.device = settings.device
        heads: int = config.num_attention_heads
        self.memory = KeyValueMemory(
            layers=config.num_hidden_layers,
            heads=heads,
            head_size=config.hidden_size // heads,
            tokens=settings.kv_tokens,
            device=settings.device,
            dtype=DTYPES[settings.precision],
        )

    @torch.inference_mode()
    def logits(self, tokens: Sequence[int], rows: list[Row], wanted: Sequence[int]) -> Tensor:
        """Logits [wanted, vocabulary] in float32 after the tokens at the step's places `wanted`.

        `tokens`: of all rows, one after the other; each row's go on where its last step ended.
        """
        positions: list[int] = []
        places: list[int] = []
        for row in rows:
            after = row.last - row.first
            positions += range(after - (row.end - row.begin), after)
            places += range(row.last - (row.end - row.begin), row.last)
        ids, at, where = torch.tensor([tokens, positions, places], device=self.device)
        step = Step(self.memory, rows, where)
        hidden: Tensor = self._network.base_model(
            input_ids=ids[None], position_ids=at[None], use_cache=False, step=step
        ).last_hidden_state
        picked = hidden[0] if len(wanted) == len(tokens) else hidden[0, list(wanted)]
        return self._network.lm_head(picked).float()


def _manifest(settings: Settings) -> dict[str, Any]:
    """Raises ModelError unless the artefact is whole and the one that was asked for."""
    path = settings.model_dir / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}. Set MODEL_DIR to the artefact's folder"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}. Build the artefact again") from None
    if manifest["model"] != settings.model:
        raise ModelError(f"{path} is of {manifest['model']}, but MODEL={settings.model}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("DEVICE=cuda, but PyTorch sees no CUDA device: check it with nvidia-smi")
    for name in CHECKED:
        _check_digest(settings.model_dir / name, manifest["files"][name]["sha256"])
    return manifest


def _check_digest(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}. Build the artefact again") from None
    if found != expected:
        raise ModelError(f"{path} has SHA-256 {found}, its manifest says {expected}: build again")
