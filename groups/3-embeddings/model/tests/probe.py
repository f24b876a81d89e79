"""Answers that are wrong on purpose, in the builder's environment: {mistake: {probe: 1 − cosine}}.

Usage: python -P probe.py ARTEFACT PAYLOADS
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

sys.path.append(str(Path(__file__).resolve().parent.parent))

import encoder

artefact, payloads = Path(sys.argv[1]), Path(sys.argv[2])
entries = json.loads((payloads / "manifest.json").read_text(encoding="utf-8"))
probes = {e["name"]: e["text"] for e in entries if e.get("probe")}
reference = json.loads((artefact / "reference.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(artefact / "tokenizer.json"))
fp32 = encoder.session(artefact / "encoder.onnx").run
fp16 = encoder.session(artefact / "encoder.fp16.onnx").run
int8 = encoder.session(artefact / "encoder.int8.onnx").run

Ids = list[int]


def tokens(text: str) -> Ids:
    return tokenizer.encode(text).ids


def vector(ids: Ids, run: Callable[..., list[np.ndarray]] = fp32, **wrong: bool) -> np.ndarray:
    """One text's vector, 8 tokens of padding after it."""
    batch = encoder.padded([ids, [0] * (len(ids) + 8)])
    batch["attention_mask"][1] = batch["attention_mask"][0]
    mask = batch["attention_mask"].copy()
    if wrong.get("no_mask"):
        batch["attention_mask"][:] = 1
    out = np.asarray(run(["token_embeddings"], batch)[0])
    if wrong.get("first"):
        return out[0, 0]
    if wrong.get("mean_of_all"):
        mask[:] = 1
    return encoder.pool(out, mask)[0]


def drift(a: np.ndarray, b: np.ndarray) -> float:
    return float(1 - np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def cased(text: str) -> Ids:
    """As a tokenizer that does not lower-case would: capital words are unknown."""
    words = text.split(" ")
    return tokens(" ".join("[UNK]" if w[:1].isupper() else w for w in words))


others = dict(zip(probes, list(probes)[1:] + list(probes)[:1], strict=True))
mistakes: dict[str, Callable[[str, str], np.ndarray]] = {
    "nothing": lambda name, text: vector(tokens(text)),
    "fp16": lambda name, text: vector(tokens(text), fp16),
    "int8": lambda name, text: vector(tokens(text), int8),
    "padding in the mean": lambda name, text: vector(tokens(text), mean_of_all=True),
    "no mask": lambda name, text: vector(tokens(text), no_mask=True),
    "first token": lambda name, text: vector(tokens(text), first=True),
    "no special tokens": lambda name, text: vector(tokens(text)[1:-1] or [0]),
    "limit 128": lambda name, text: vector(
        tokens(text) if len(tokens(text)) <= 128 else [*tokens(text)[:127], 102]
    ),
    "cased": lambda name, text: vector(cased(text)),
    "another text's": lambda name, text: vector(tokens(probes[others[name]])),
}
print(
    json.dumps(
        {
            mistake: {
                name: drift(answer(name, text), np.asarray(reference[name]))
                for name, text in probes.items()
            }
            for mistake, answer in mistakes.items()
        }
    )
)
