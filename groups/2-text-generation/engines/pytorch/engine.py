"""The bare engine: prompts in memory; tokenize, prefill, decode a static batch, in one process.

Prints one JSON line a batch size, `items` in output tokens. Exits 1 with one line on stderr when
the device is not there or an answer is wrong: a ceiling of wrong work would mislead everybody.
"""

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import packed
from linear import halve, pack
from packed import Row, Step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHECKED = 4  # prompts whose answers are compared before anything is timed
# As the gate does it (group.toml): how many of their tokens (None: all), and what lead a step's
# best token needs so that rounding can't turn it.
FIRST_TOKENS = {"fp32": None, "bf16": 4}
LEAD = {"fp32": 1e-3, "bf16": 0.1}


class EngineWrong(Exception):
    """The engine can't do the work that is to be timed."""


@dataclass(frozen=True)
class Prompt:
    """A payload: its text, and how many tokens its answer has."""

    name: str
    text: str
    max_tokens: int


class Decoder:
    """A model and room for the keys and values of one batch."""

    def __init__(self, folder: Path, device: str, precision: str, places: int) -> None:
        """Raises EngineWrong if there is no such device or precision."""
        if precision not in DTYPES:
            raise EngineWrong(f"PRECISION={precision}: must be {' or '.join(DTYPES)}")
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineWrong("DEVICE=cuda, but PyTorch sees no CUDA device: see nvidia-smi")
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means all of its bits
        packed.register()
        network: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=packed.NAME
        )
        self._network = network.eval().to(device)
        if precision == "bf16":
            halve(self._network)
        elif device == "cpu":
            pack(self._network)
        self._device = device
        self.precision = precision
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = self._network.config
        heads: int = config.num_attention_heads
        shape = (config.num_hidden_layers, heads, places, config.hidden_size // heads)
        self._keys = torch.empty(shape, device=device, dtype=DTYPES[precision])
        self._values = torch.empty_like(self._keys)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> list[tuple[list[int], str]]:
        """Greedy answers, all of the length asked for, as ids and as text.

        One prefill, then one step a token; a sequence leaves the batch when its answer is complete.
        """
        ids = [self._tokenizer.encode(p.text, add_special_tokens=False).ids for p in prompts]
        rooms = [len(one) + p.max_tokens for one, p in zip(ids, prompts, strict=True)]
        firsts = [sum(rooms[:n]) for n in range(len(rooms))]
        known = [0] * len(prompts)
        said: list[list[int]] = [[] for _ in prompts]
        going = list(range(len(prompts)))
        while going:
            parts = [said[n][-1:] or ids[n] for n in going]
            rows: list[Row] = []
            positions: list[int] = []
            for n, part in zip(going, parts, strict=True):
                begin = rows[-1].end if rows else 0
                positions += range(known[n], known[n] + len(part))
                known[n] += len(part)
                rows.append(Row(begin, begin + len(part), firsts[n], firsts[n] + known[n]))
            best = self._step([token for part in parts for token in part], positions, rows)
            for n, token in zip(going, best, strict=True):
                said[n].append(token)
            going = [n for n in going if len(said[n]) < prompts[n].max_tokens]
        return [(tokens, self._tokenizer.decode(tokens)) for tokens in said]

    def _step(self, tokens: list[int], positions: list[int], rows: list[Row]) -> list[int]:
        places: list[int] = []
        for row in rows:
            places += range(row.last - row.end + row.begin, row.last)
        ids, at, where = torch.tensor([tokens, positions, places], device=self._device)
        step = Step(self._keys, self._values, rows, where)
        hidden: Tensor = self._network.base_model(
            input_ids=ids[None], position_ids=at[None], use_cache=False, step=step
        ).last_hidden_state[0]
        ends = hidden if len(rows) == len(tokens) else hidden[[row.end - 1 for row in rows]]
        return self._network.lm_head(ends).argmax(-1).tolist()


def load_prompts(folder: Path) -> list[Prompt]:
    """The main set, without what is held back: the ceiling is of the same work."""
    prompts: list[Prompt] = []
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        if entry.get("audit") or entry.get("set"):
            continue
        payload = json.loads((folder / entry["file"]).read_text(encoding="utf-8"))
        prompts.append(Prompt(entry["name"], payload["prompt"], payload["max_tokens"]))
    return prompts


def check(decoder: Decoder, prompts: Sequence[Prompt], model: Path) -> None:
    """Raises EngineWrong unless the first clear answers are those of the artefact."""
    reference = json.loads((model / "reference.json").read_text(encoding="utf-8"))
    first, lead = FIRST_TOKENS[decoder.precision], LEAD[decoder.precision]
    clear = [each for each in prompts if min(reference[each.name]["margins"][:first]) > lead]
    clear = clear[:CHECKED]
    for prompt, (tokens, _) in zip(clear, decoder.generate(clear), strict=True):
        if tokens[:first] != reference[prompt.name]["tokens"][:first]:
            raise EngineWrong(f"{prompt.name}: other tokens than reference.json says")


def batches(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Batches of answers of nearly one length, each full, spread over all lengths."""
    ordered = sorted(prompts, key=lambda prompt: prompt.max_tokens)
    cut = [list(ordered[n : n + size]) for n in range(0, len(ordered) - size + 1, size)]
    # From the middle on by about the golden section: however many are run, they are spread evenly.
    golden = len(cut) * (math.sqrt(5) - 1) / 2
    coprime = [step for step in range(1, len(cut) + 1) if math.gcd(step, len(cut)) == 1]
    step = min(coprime, key=lambda step: abs(step - golden))
    return [cut[(len(cut) // 2 + n * step) % len(cut)] for n in range(len(cut))]


def measure(
    decoder: Decoder, prompts: Sequence[Prompt], size: int, seconds: float
) -> dict[str, Any]:
    """One row: whole batches, for so many seconds at least.

    `requests`: what its tokens are in answers of the set's mean length. The answers that ended in
    a few seconds would be longer or shorter than that.
    """
    ready = batches(prompts, size)
    decoder.generate(min(ready, key=lambda batch: batch[-1].max_tokens))  # warm-up
    items = 0
    started = time.perf_counter()
    for batch in itertools.cycle(ready):
        if time.perf_counter() - started >= seconds:
            break
        items += sum(len(tokens) for tokens, _ in decoder.generate(batch))
    took = time.perf_counter() - started
    mean = sum(prompt.max_tokens for prompt in prompts) / len(prompts)
    requests = round(items / mean, 2)
    return {"batch_size": size, "items": items, "seconds": round(took, 4), "requests": requests}


def main() -> int:
    model = Path(os.environ["MODEL_DIR"])
    device = os.environ.get("DEVICE", "cpu")
    seconds = float(os.environ.get("SECONDS", "5"))
    sizes = [int(size) for size in os.environ.get("BATCH_SIZES", "16,32").split(",")]
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    prompts = load_prompts(Path(os.environ["PAYLOADS_DIR"]))
    try:
        precision = os.environ.get("PRECISION", "fp32")
        decoder = Decoder(model, device, precision, places=256 * max(*sizes, CHECKED))
        check(decoder, prompts, model)
    except EngineWrong as error:
        print(f"engine pytorch: {error}", file=sys.stderr)
        return 1
    for size in sizes:
        print(json.dumps(measure(decoder, prompts, size, seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
