"""Build the artefact that every stack of this group loads. README says what is in it.

Exit codes: 0 built, 1 a check failed, 2 wrong use, 3 the weights asked for can't be had.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import encoder
import reference
import weights

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "safetensors",
    "scipy",
)
# People's judgement of how related two words are: WordSim-353, as gensim ships it for its tests.
PAIRS = ("gensim", "test/test_data/wordsim353.tsv")


class PayloadWrong(Exception):
    """The manifest of the payloads can't be used."""


@dataclass(frozen=True)
class Text:
    """One payload: its name, its tokens' ids as the model gets them, whether the gate sends it."""

    name: str
    ids: list[int]
    probe: bool


def say(text: str) -> None:
    print(text, flush=True)


def read_texts(folder: Path, tokenize: Callable[[str], list[int]]) -> list[Text]:
    """All payloads in the manifest's order. Raises PayloadWrong."""
    file = folder / "manifest.json"
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PayloadWrong(f"{file}: {error}") from None
    return [Text(e["name"], tokenize(e["text"]), bool(e.get("probe"))) for e in entries]


def choose_weights(model: weights.Model, wanted: str, texts: Sequence[Text]) -> weights.Weights:
    """Raises WeightsUnavailable (`pretrained`, and nothing ships them) or WeightsWrong."""
    if wanted != "random":
        try:
            return weights.pretrained(model)
        except weights.WeightsUnavailable as error:
            if wanted == "pretrained":
                raise
            say(f"pretrained weights can't be had ({error}); using random ones")
    return weights.random(model, [torch.tensor(text.ids) for text in texts if text.probe])


def judged_pairs() -> list[tuple[str, str, float]]:
    """(word, word, people's mean, 0 to 10) of WordSim-353. Raises PayloadWrong."""
    package, name = PAIRS
    spec = find_spec(package)
    file = Path(spec.origin).parent / name if spec and spec.origin else Path(name)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise PayloadWrong(f"{file}: {error.strerror}; install requirements.cpu.lock") from None
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(first, second, float(said)) for first, second, said in rows]


def quality(
    embed: dict[str, Callable[[list[list[int]]], encoder.Vectors]],
    tokenize: Callable[[str], list[int]],
) -> dict[str, Any]:
    """Spearman's correlation with people's judgement, by precision."""
    pairs = judged_pairs()
    words = sorted({word for first, second, _ in pairs for word in (first, second)})
    ids = [tokenize(word) for word in words]
    return {
        "set": "WordSim-353",
        "figure": "Spearman",
        **{
            precision: round(reference.spearman(dict(zip(words, run(ids), strict=True)), pairs), 4)
            for precision, run in embed.items()
        },
    }


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_manifest(
    folder: Path, model: weights.Model, chosen: weights.Weights, **found: Any
) -> str:
    """Digest every file of `folder` into manifest.json and return content_sha256."""
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    lines = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    content = hashlib.sha256(lines.encode()).hexdigest()
    manifest = {
        "model": model.name,
        "weights": chosen.kind,
        "source": chosen.source,
        "licence": chosen.licence,
        "seed": chosen.seed,
        "parameters": model.parameters,
        "files": files,
        "versions": {package: version(package) for package in PACKAGES},
        **found,
        "content_sha256": content,
    }
    write_json(folder / "manifest.json", manifest)
    return content


def build(name: str, wanted: str, payloads: Path, folder: Path) -> str:
    """Write the artefact into the empty `folder`; returns content_sha256."""
    torch.set_num_threads(1)  # the order of additions, and so every digest, depends on it
    torch.use_deterministic_algorithms(True)

    model = weights.MODELS[name]
    tokenizer = weights.tokenizer(model)

    def tokenize(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    texts = read_texts(payloads, tokenize)
    lengths = [len(text.ids) for text in texts]
    say(f"payloads: {len(texts)} texts of {min(lengths)} to {max(lengths)} tokens")

    chosen = choose_weights(model, wanted, texts)
    say(f"weights: {chosen.kind}, {chosen.source}")
    network = chosen.model
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
    weights.write_config(model, folder)
    tokenizer.save(str(folder / "tokenizer.json"))

    fp32, fp16, int8 = (folder / f"encoder{each}.onnx" for each in ("", ".fp16", ".int8"))
    encoder.export_onnx(network, fp32)
    probes = [text for text in texts if text.probe]
    difference = encoder.compare(fp32, network, [text.ids for text in probes])
    say(f"onnx: exported, token embeddings differ from PyTorch's by {difference:.1e} at most")
    encoder.halve(fp32, fp16)
    encoder.quantise(fp32, int8, model.config.intermediate_size)

    ids = [text.ids for text in texts]
    answers, answers8 = encoder.embed(network, ids), encoder.embed_onnx(int8, ids)
    drift8 = reference.drift(answers, answers8)
    drift16 = reference.drift(answers, encoder.embed_onnx(fp16, ids))
    chosen_rows = [row for row, text in enumerate(texts) if text.probe]
    least = reference.require_distinct(
        answers[chosen_rows], [text.ids for text in probes], [text.name for text in probes]
    )
    keys = reference.expected(answers, answers8)
    decided = [key for key in keys if key is not None]
    say(
        f"reference: probes differ by {least:.1e} at least, fp16 differs from fp32 by "
        f"{drift16:.1e} at most, int8 by {drift8:.1e} (1 − cosine); "
        f"{len(decided)} of {len(texts)} have a clear largest component"
    )
    found: dict[str, Any] = {
        "checks": {
            "onnx_max_difference": difference,
            "least_pairwise_difference": least,
            "fp16_drift": drift16,
            "int8_drift": drift8,
        }
    }
    if chosen.kind == "pretrained":
        runs = {
            "fp32": lambda texts: encoder.embed(network, texts),
            "fp16": lambda texts: encoder.embed_onnx(fp16, texts),
            "int8": lambda texts: encoder.embed_onnx(int8, texts),
        }
        found["quality"] = quality(runs, tokenize)
        say(f"quality: {found['quality']}")

    rounded = np.round(answers.astype(np.float64), 7).tolist()
    names = [text.name for text in texts]
    lines = json.dumps(dict(zip(names, rounded, strict=True)), separators=(",", ":"))
    (folder / "reference.json").write_text(lines + "\n", encoding="utf-8")
    write_json(folder / "expected.json", dict(zip(names, keys, strict=True)))
    embedding = {
        "max_tokens": model.max_tokens,
        "dimensions": model.config.hidden_size,
        "pad_id": 0,
        "pooling": "mean",
        "normalise": True,
    }
    write_json(folder / "embedding.json", embedding)
    return write_manifest(folder, model, chosen, **found)


def replace(target: Path, write: Callable[[Path], str]) -> str:
    """Let `write` fill TARGET.partial, then put it in TARGET's place."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        result = write(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # Servers in containers run as another user; safetensors writes 0600, a umask may say 0700.
    partial.chmod(0o755)
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Build the artefact of one of this group's models."
    )
    parser.add_argument("--model", choices=list(weights.MODELS), default="minilm")
    parser.add_argument("--weights", choices=["auto", "pretrained", "random"], default="auto")
    parser.add_argument("--payloads", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--out", type=Path, required=True, help="the artefact folder, replaced")
    arguments = parser.parse_args()
    try:
        digest = replace(
            arguments.out,
            lambda folder: build(arguments.model, arguments.weights, arguments.payloads, folder),
        )
    except (weights.WeightsUnavailable, weights.WeightsWrong) as error:
        print(f"model: {arguments.weights} weights can't be had: {error}", file=sys.stderr)
        return 3
    except (PayloadWrong, encoder.ExportWrong, reference.ReferenceBlind, OSError) as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    say(f"artefact: {arguments.out} ({digest[:12]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
