"""The model: the artefact checked and loaded; texts to tokens, batches of tokens to vectors."""

# pyright: reportMissingTypeStubs=false

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import bert
from settings import Settings

Vectors = NDArray[np.float32]


class ModelError(Exception):
    """A model that can't be served: which file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """`max_tokens` counts [CLS] and [SEP], as does everything here that counts tokens."""

    name: str
    weights: str
    max_tokens: int
    dimensions: int
    device: str
    tokenizer: Tokenizer
    network: bert.Bert

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, however many. Releases the interpreter lock."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]

    def cut(self, ids: list[int]) -> list[int]:
        """The first tokens that the model can take, [SEP] at the end."""
        return ids if len(ids) <= self.max_tokens else [*ids[: self.max_tokens - 1], ids[-1]]

    @torch.inference_mode()
    def embed(self, texts: Sequence[list[int]]) -> Vectors:
        """[N, dimensions]: the mean of each text's token embeddings. Thread-safe.

        Padded to the longest; texts of one length are not padded, and need no mask.
        """
        longest = max(map(len, texts))
        if all(len(ids) == longest for ids in texts):
            tokens = self.network(torch.tensor(texts, device=self.device), None).float()
            return tokens.mean(1).cpu().numpy()
        ids = np.zeros((len(texts), longest), np.int64)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = text
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(longest) < lengths[:, None]).to(self.device)
        tokens = self.network(torch.from_numpy(ids).to(self.device), mask).float()
        weight = mask.to(tokens) / lengths.to(tokens)[:, None]
        return (weight[:, None, :] @ tokens).squeeze(1).cpu().numpy()

    def warm_up(self, lengths: Sequence[int]) -> None:
        """Real batches of one and of several texts. Raises ModelError."""
        for length in lengths:
            for texts in ([[101] * length], [[101] * length, [101] * max(1, length // 2)]):
                try:
                    self.embed(texts)
                except Exception as error:
                    raise ModelError(f"the model fails on {length} tokens: {error}") from error


def load(settings: Settings) -> Model:
    """Load MODEL_DIR for the device. Raises ModelError."""
    folder = settings.model_dir
    manifest = _json(folder / "manifest.json")
    if manifest["model"] != settings.model:
        raise ModelError(f"{folder} is {manifest['model']}, but MODEL={settings.model}")
    for name in ("model.safetensors", "config.json", "tokenizer.json", "embedding.json"):
        _check_digest(folder / name, manifest)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("DEVICE=cuda, but PyTorch finds no GPU: check the driver with nvidia-smi")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()  # so that a text that is too long is known as such
    facts = _json(folder / "embedding.json")
    return Model(
        manifest["model"],
        manifest["weights"],
        facts["max_tokens"],
        facts["dimensions"],
        settings.device,
        tokenizer,
        bert.load(folder, settings.device, settings.precision),
    )


def _check_digest(path: Path, manifest: dict[str, Any]) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}. Set MODEL_DIR to the artefact's folder"
        ) from None
    expected = manifest["files"][path.name]["sha256"]
    if found != expected:
        raise ModelError(
            f"{path} has SHA-256 {found}, its manifest says {expected}: build it again"
        )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}. Set MODEL_DIR to the artefact's folder"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}. Build the artefact again") from None
