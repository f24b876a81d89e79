"""The bare engine: vLLM's offline `LLM` in one process; tokenize, generate, detokenize.

As many requests as the batch size are kept in flight, a new one for each that ends: continuous
batching at its steady state. Prints one JSON line a batch size; `items` are output tokens of the
window. Exits 1 with one line on stderr when the device is not there or an answer is wrong: a
ceiling measured on wrong work would mislead everybody.
"""

import itertools
import json
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
CHECKED = 4  # payloads whose tokens are compared before anything is timed
# As the gate does it (group.toml): how many of their tokens (None: all), and what lead a step's
# best token needs so that rounding can't turn it.
FIRST_TOKENS = {"fp32": None, "bf16": 4}
LEAD = {"fp32": 1e-3, "bf16": 0.1}
WARM_UP_S = 1.0


class EngineWrong(Exception):
    """The engine can't do the work that is to be timed."""


@dataclass(frozen=True)
class Payload:
    """A completion or a chat, and how many tokens it asks for."""

    name: str
    asked: Mapping[str, Any]

    @property
    def max_tokens(self) -> int:
        return int(self.asked["max_tokens"])


def read_payloads(folder: Path) -> list[Payload]:
    """The main set: what is marked is held back from every load, or a load of its own."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [
        Payload(entry["name"], json.loads((folder / entry["file"]).read_text(encoding="utf-8")))
        for entry in entries
        if not entry.get("audit") and not entry.get("set")
    ]


def environment(device: str, threads: int) -> dict[str, str]:
    """What vLLM must find in the environment of its process, else as in the stack's launch.py."""
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CACHE_ROOT": str(Path(sys.prefix) / "cache" / "vllm"),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, where the server has three
    }
    if device == "cuda":
        return quiet
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    openmp = Path(sysconfig.get_path("data")) / "lib" / "libiomp5.so"
    return {
        **quiet,
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        # What vLLM sets for its worker's process, when it has one.
        "OMP_NUM_THREADS": f"{threads}",
        "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{cpus}]",
        "KMP_BLOCKTIME": "5",
        **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
    }


class Engine:
    """vLLM's LLM with requests that can be added while others run."""

    def __init__(self, model: Path, device: str, precision: str, sequences: int) -> None:
        """Raises EngineWrong if there is no such device."""
        import torch

        from vllm import LLM

        if device == "cuda" and not torch.cuda.is_available():
            raise EngineWrong("DEVICE=cuda, but PyTorch sees no CUDA device: see nvidia-smi")
        self.llm = LLM(
            model=str(model),
            load_format="safetensors",
            dtype=DTYPES[precision],
            max_num_seqs=sequences,
            # torch.compile on a CPU takes a C++ compiler.
            enforce_eager=device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")),
        )
        self.tokenizer: Any = self.llm.get_tokenizer()
        self.numbers = itertools.count()
        self.precision = precision

    def add(self, payload: Payload) -> str:
        """Tokenize and enqueue; the id that step() will name it by."""
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        from vllm import SamplingParams

        asked = payload.asked
        if "messages" in asked:
            text = self.tokenizer.apply_chat_template(
                asked["messages"], add_generation_prompt=True, tokenize=False
            )
        else:
            text = asked["prompt"]
        ids = self.tokenizer(text, add_special_tokens="prompt" in asked)["input_ids"]
        params = SamplingParams(
            temperature=0,
            max_tokens=payload.max_tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.DELTA,
        )
        name = f"{next(self.numbers)}"
        self.llm.llm_engine.add_request(name, tokens_input(ids, prompt=text), params)
        return name

    def step(self) -> Iterator[tuple[str, list[int], bool]]:
        """One iteration: (request, its new token ids, whether it has ended) of each that moved."""
        for output in self.llm.llm_engine.step():
            yield output.request_id, list(output.outputs[0].token_ids), output.finished

    def finish(self, running: Sequence[str]) -> None:
        """Give up what is still running."""
        self.llm.llm_engine.abort_request(list(running))
        while self.llm.llm_engine.has_unfinished_requests():
            self.llm.llm_engine.step()


def check(engine: Engine, payloads: Sequence[Payload], model: Path) -> None:
    """Raises EngineWrong unless the first clear answers are those of the artefact."""
    reference = json.loads((model / "reference.json").read_text(encoding="utf-8"))
    first, lead = FIRST_TOKENS[engine.precision], LEAD[engine.precision]
    clear = [each for each in payloads if min(reference[each.name]["margins"][:first]) > lead]
    names = {engine.add(payload): payload.name for payload in clear[:CHECKED]}
    said: dict[str, list[int]] = {name: [] for name in names}
    while engine.llm.llm_engine.has_unfinished_requests():
        for name, ids, _ in engine.step():
            said[name] += ids
    for name, payload in names.items():
        wanted = reference[payload]["tokens"][:first]
        if (tokens := said[name][:first]) != wanted:
            raise EngineWrong(f"{payload}: tokens {tokens}, reference.json says {wanted}")


def measure(
    engine: Engine, payloads: Sequence[Payload], batch_size: int, seconds: float
) -> dict[str, Any]:
    """Output tokens, `batch_size` requests always in flight.

    For `seconds` and as many ended requests as are in flight, at least. `requests`: what the tokens
    are in answers of the set's mean length; those that began together end later than their tokens.
    """
    order = itertools.cycle(payloads)
    running = {engine.add(next(order)) for _ in range(batch_size)}

    def run(duration: float, requests: int) -> tuple[int, float]:
        tokens = ended = 0
        start = time.perf_counter()
        while (took := time.perf_counter() - start) < duration or ended < requests:
            for name, ids, finished in engine.step():
                tokens += len(ids)
                if finished:
                    ended += 1
                    running.remove(name)
                    running.add(engine.add(next(order)))
        return tokens, took

    run(WARM_UP_S, 0)
    tokens, took = run(seconds, batch_size)
    engine.finish(tuple(running))
    mean = sum(payload.max_tokens for payload in payloads) / len(payloads)
    return {
        "batch_size": batch_size,
        "items": tokens,
        "seconds": round(took, 4),
        "requests": round(tokens / mean, 2),
    }


def main() -> int:
    model = Path(os.environ["MODEL_DIR"])
    device = os.environ.get("DEVICE", "cpu")
    precision = os.environ.get("PRECISION", "fp32")
    if precision not in DTYPES:
        print(f"engine vllm: PRECISION={precision}: must be {' or '.join(DTYPES)}", file=sys.stderr)
        return 1
    wanted = environment(device, int(os.environ.get("THREADS", "1")))
    if not wanted.items() <= os.environ.items():  # some of it is read when a process starts
        os.execve(sys.executable, [sys.executable, "-P", __file__], {**os.environ, **wanted})
    seconds = float(os.environ.get("SECONDS", "5"))
    sizes = [int(size) for size in os.environ.get("BATCH_SIZES", "32").split(",")]
    payloads = read_payloads(Path(os.environ["PAYLOADS_DIR"]))
    try:
        engine = Engine(model, device, precision, max(sizes))
        check(engine, payloads, model)
    except EngineWrong as error:
        print(f"engine vllm: {error}", file=sys.stderr)
        return 1
    for size in sizes:
        print(json.dumps(measure(engine, payloads, size, seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
