"""This server's steps against transformers' own continuous batching, with no network around either.

Run by hand: MODEL_DIR=… PAYLOADS_DIR=../payloads THREADS=1 python -P tests/compare_batching.py
Prints a JSON line a block and way: output tokens per second over 32 prompts of the main set, at
most 16 at a time, and how many answers are the artefact's. Each block has another order.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))  # `python -P` leaves it out

from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from batcher import Batcher, Job, Piece, Running
from linear import pack
from model import Model
from settings import Settings, from_environment
from text import Text

AT_A_TIME = 16
PROMPTS = 32
BLOCKS = 3
PAGE = 256  # tokens; transformers' own choice
Answers = list[list[int]]
Way = Callable[[Sequence[Job]], tuple[Answers, float]]  # jobs to answers, and seconds


def read_jobs(folder: Path, text: Text) -> tuple[list[str], list[Job]]:
    """Names and jobs of the first prompts of the main set."""
    names: list[str] = []
    jobs: list[Job] = []
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        if not entry.get("set") and not entry.get("audit"):
            asked = json.loads((folder / entry["file"]).read_text(encoding="utf-8"))
            names.append(entry["name"])
            jobs.append(Job(text.encode(asked["prompt"]), asked["max_tokens"], ignore_eos=True))
    return names[:PROMPTS], jobs[:PROMPTS]


def by_this_server(settings: Settings, model: Model, text: Text) -> Way:
    """This server's own batcher."""
    done = threading.Semaphore(0)

    def deliver(pieces: Sequence[tuple[Running, Piece]]) -> None:
        for _, piece in pieces:
            if piece.finish or piece.fault:
                done.release()

    batcher = Batcher(model, text, settings.threads, AT_A_TIME, settings.step_tokens, deliver)

    def answer(jobs: Sequence[Job]) -> tuple[Answers, float]:
        started = time.perf_counter()
        going = [batcher.submit(job, lambda piece: None) for job in jobs]
        for _ in going:
            done.acquire()
        return [each.tokens for each in going], time.perf_counter() - started

    return answer


def by_transformers(settings: Settings, packed: bool) -> Way:
    """transformers' ContinuousBatchingManager, with as much memory and as large steps."""
    network: Any = AutoModelForCausalLM.from_pretrained(
        settings.model_dir, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    if packed:
        pack(network)
    config = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    batching = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=settings.kv_tokens // PAGE,
        max_batch_tokens=settings.step_tokens,
        max_requests_per_batch=AT_A_TIME,
        auto_switch_to_flash=False,
    )

    def answer(jobs: Sequence[Job]) -> tuple[Answers, float]:
        said: dict[str, list[int]] = {}
        with network.continuous_batching_context_manager(
            generation_config=config, continuous_batching_config=batching, timeout=5
        ) as manager:
            started = time.perf_counter()
            asked = [manager.add_request(job.prompt, max_new_tokens=job.max_tokens) for job in jobs]
            while len(said) < len(jobs):
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    said[result.request_id] = result.generated_tokens
                elif not manager.is_running():
                    sys.exit("transformers' loop ended by itself")
            return [said[each] for each in asked], time.perf_counter() - started

    return answer


def rate(way: Way, jobs: list[Job], right: list[str | None]) -> tuple[float, str]:
    """Output tokens per second, and how many of the answers that can be told are right."""
    said, seconds = way(jobs)
    known = [(" ".join(map(str, a)), b) for a, b in zip(said, right, strict=True) if b]
    same = f"{sum(a == b for a, b in known)} of {len(known)}"
    return sum(map(len, said)) / seconds, same


def main() -> None:
    settings = replace(from_environment(), max_batch=AT_A_TIME)
    torch.set_num_threads(settings.threads)
    model = Model(settings)
    text = Text(settings.model_dir, model.context)
    names, jobs = read_jobs(Path(os.environ["PAYLOADS_DIR"]), text)
    expected = json.loads((settings.model_dir / "expected.json").read_text())
    right = [expected[name] for name in names]
    ways = {
        "this server's steps": by_this_server(settings, model, text),
        "transformers": by_transformers(settings, packed=False),
        "transformers, packed weights": by_transformers(settings, packed=True),
    }
    for way in ways.values():
        way(jobs[:4])  # warm-up
    for block in range(BLOCKS):
        order = [*ways][block % len(ways) :] + [*ways][: block % len(ways)]
        for name in order:
            tokens_per_s, same = rate(ways[name], jobs, right)
            row = {"block": block + 1, "way": name, "tokens_per_s": round(tokens_per_s, 1)}
            print(json.dumps({**row, "right": same}), flush=True)


if __name__ == "__main__":
    main()
