"""Build the artefact that every stack of this group loads. README says what is in it.

Exit codes: 0 built, 1 a check failed, 2 wrong use, 3 the weights asked for can't be had.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A thread that spins until the other is done takes CPU time from it where others use the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import reference
import vocabulary
import weights

LONG = 128  # tokens of a prompt
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")


class PayloadWrong(Exception):
    """A payload is missing or is not the one that the manifest lists."""


def say(text: str) -> None:
    print(text, flush=True)


def load_payloads(folder: Path) -> dict[str, dict[str, Any]]:
    """{name: payload} in the manifest's order. Raises PayloadWrong."""
    found: dict[str, dict[str, Any]] = {}
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        path = folder / entry["file"]
        if not path.is_file():
            raise PayloadWrong(f"{path} is missing")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise PayloadWrong(f"{path} is not the file that manifest.json lists (SHA-256 differs)")
        found[entry["name"]] = json.loads(data)
    return found


def probes_of(folder: Path) -> set[str]:
    """Names of the payloads that the parity gate compares."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {entry["name"] for entry in entries if entry.get("probe")}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def make_random(
    model: weights.Model, payloads: dict[str, dict[str, Any]], folder: Path
) -> nn.Module:
    """Tokenizer, configuration and weights from the seed, saved into `folder`."""
    texts = vocabulary.texts_of(list(payloads.values()))
    tokenizer = vocabulary.train(texts, model.first, model.last, model.vocabulary)
    vocabulary.save(tokenizer, folder, model.end, model.context)
    silent = vocabulary.never_generated(tokenizer, [*model.first, *model.last])
    say(f"tokenizer: {model.vocabulary:,} pieces, {len(silent)} of them never generated")
    network = weights.random(model, tokenizer.token_to_id(model.end), silent)
    network.save_pretrained(folder)  # pyright: ignore
    return network


def make_pretrained(model: weights.Model, folder: Path) -> nn.Module:
    """The hub's pinned weights and tokenizer, with the study's chat template, saved."""
    files = weights.pretrained(model)
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    vocabulary.save(tokenizer, folder, model.end, model.context)
    end = tokenizer.token_to_id(model.end)
    fetched = folder / "fetched"
    fetched.mkdir()
    (fetched / "model.safetensors").write_bytes(files["model.safetensors"])
    weights.architecture(model, end).config.save_pretrained(fetched)  # pyright: ignore
    network: Any = AutoModelForCausalLM.from_pretrained(fetched, dtype=torch.float32).eval()
    shutil.rmtree(fetched)
    weights.checked(network, model).save_pretrained(folder)
    return network


def make_model(
    model: weights.Model, wanted: str, payloads: dict[str, dict[str, Any]], folder: Path
) -> tuple[nn.Module, str]:
    """Save tokenizer and weights; returns the network and what the weights are.

    Raises WeightsUnavailable (`pretrained` and no hub) or WeightsWrong (not the pinned file).
    """
    if wanted != "random":
        try:
            return make_pretrained(model, folder), "pretrained"
        except weights.WeightsUnavailable as error:
            if wanted == "pretrained":
                raise
            say(f"pretrained weights can't be had ({error}); using random ones")
    return make_random(model, payloads, folder), "random"


def encoded(folder: Path, payloads: dict[str, dict[str, Any]]) -> list[reference.Prompt]:
    """Each payload as ids, through the tokenizer and the chat template as they were saved."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    prompts: list[reference.Prompt] = []
    for name, payload in payloads.items():
        text = payload.get("prompt")
        if text is None:
            text = tokenizer.apply_chat_template(
                payload["messages"], tokenize=False, add_generation_prompt=True
            )
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokenizer.decode(ids) != text:
            raise PayloadWrong(f"{name} is not the same text after the tokenizer")
        prompts.append(reference.Prompt(name, ids, payload["max_tokens"]))
    return prompts


def write_manifest(folder: Path, model: weights.Model, kind: str, checks: dict[str, Any]) -> str:
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
    random = kind == "random"
    manifest = {
        "model": model.name,
        "weights": kind,
        "source": f"seed {weights.SEED}" if random else f"{model.repository}@{model.commit}",
        "licence": "CC0-1.0" if random else model.licence,
        "seed": weights.SEED if random else None,
        "parameters": model.parameters,
        "files": files,
        "versions": {package: version(package) for package in PACKAGES},
        "checks": checks,
        "content_sha256": content,
    }
    write_json(folder / "manifest.json", manifest)
    return content


def build(model: weights.Model, wanted: str, payloads: Path, folder: Path) -> str:
    """Write the artefact into the empty `folder`; returns content_sha256."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()

    texts = load_payloads(payloads)
    network, kind = make_model(model, wanted, texts, folder)
    say(f"weights: {kind}, {model.parameters:,} parameters")
    prompts = encoded(folder, texts)
    pad: int = network.config.pad_token_id  # pyright: ignore
    probes = probes_of(payloads)
    # A long prompt costs as much as ten others: those that are no probes have no reference.
    asked = [each for each in prompts if len(each.ids) < LONG or each.name in probes]
    found = reference.answers(network, asked, pad, say)
    keys = dict.fromkeys(texts) | reference.expected(found)
    checks = {
        "prompt_tokens": sum(len(prompt.ids) for prompt in prompts),
        "longest_prompt_tokens": max(len(prompt.ids) for prompt in prompts),
        "clear_answers": sum(key is not None for key in keys.values()),
        "answers": len(found),
    }
    if kind == "random":
        reference.require_distinct(found)
    say(f"reference: {checks['clear_answers']} of {len(found)} answers have no close step")
    text = json.dumps(found, separators=(",", ":"))
    (folder / "reference.json").write_text(text + "\n", encoding="utf-8")
    write_json(folder / "expected.json", keys)
    return write_manifest(folder, model, kind, checks)


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
    parser = argparse.ArgumentParser(description="Build the artefact of a model.")
    parser.add_argument("--model", choices=list(weights.MODELS), default="gpt2")
    parser.add_argument("--weights", choices=["auto", "pretrained", "random"], default="auto")
    parser.add_argument("--payloads", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--out", type=Path, required=True, help="the artefact folder, replaced")
    arguments = parser.parse_args()
    model = weights.MODELS[arguments.model]
    try:
        digest = replace(
            arguments.out,
            lambda folder: build(model, arguments.weights, arguments.payloads, folder),
        )
    except (weights.WeightsUnavailable, weights.WeightsWrong) as error:
        print(f"model: {arguments.weights} weights can't be had: {error}", file=sys.stderr)
        return 3
    except (PayloadWrong, reference.ReferenceBlind, OSError) as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    say(f"artefact: {arguments.out} ({digest[:12]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
