"""What both bare engines do around their runtime: which texts, in which batches, timed how."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Vectors = NDArray[np.float32]
# Texts of one batch to their vectors, [N, dims]
Embed = Callable[[Sequence[str]], Vectors]
GOLDEN = 0.6180339887498949


class EngineWrong(Exception):
    """The engine can't do the work that is to be timed."""


@dataclass(frozen=True)
class Asked:
    """What the runner asks for, from the environment."""

    model: Path
    payloads: Path
    payload_set: str | None
    device: str
    precision: str
    threads: int
    seconds: float
    batch_sizes: list[int]


def asked() -> Asked:
    sizes = os.environ.get("BATCH_SIZES", "1,4,16")
    return Asked(
        Path(os.environ["MODEL_DIR"]),
        Path(os.environ["PAYLOADS_DIR"]),
        os.environ.get("PAYLOADS_SET") or None,
        os.environ.get("DEVICE", "cpu"),
        os.environ.get("PRECISION", "fp32"),
        int(os.environ.get("THREADS", "1")),
        float(os.environ.get("SECONDS", "5")),
        [int(size) for size in sizes.split(",")],
    )


def read_texts(folder: Path, payload_set: str | None) -> dict[str, str]:
    """{name: text} of one set, those left out that are held back from every load."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        entry["name"]: entry["text"]
        for entry in entries
        if entry.get("set") == payload_set and not entry.get("audit")
    }


def batches(texts: Sequence[str], lengths: Sequence[int], size: int) -> list[list[str]]:
    """All texts sorted by length and cut into batches, so that next to nothing is padded.

    In the order of the golden ratio: whenever the time is over, short and long ones were done in
    the proportion in which they come.
    """
    line = [text for _, text in sorted(zip(lengths, texts, strict=True))]
    first = len(line) % size  # the shortest: they make the one batch that is not full
    cut = [line[:first]] if first else []
    cut += [line[start : start + size] for start in range(first, len(line), size)]
    order = sorted(range(len(cut)), key=lambda place: place * GOLDEN % 1)
    return [cut[place] for place in order]


def pool(tokens: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """[batch, tokens, dims] to [batch, dims]: the mean over unpadded tokens, at length 1."""
    weight = mask[:, None, :].astype(np.float32)
    mean = (weight @ tokens)[:, 0]
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def padded(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[NDArray[np.int64], ...]:
    """Token ids and mask, [batch, tokens], padded with 0 to the longest."""
    found = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    ids = np.zeros((len(found), max(map(len, found))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(found):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return ids, mask


def check(embed: Embed, texts: dict[str, str], model: Path) -> None:
    """Raises EngineWrong unless the largest component is where expected.json says."""
    expected = json.loads((model / "expected.json").read_text(encoding="utf-8"))
    for name, text in itertools.islice(texts.items(), 40):
        place = str(int(np.abs(embed([text])[0]).argmax()))
        if expected[name] is not None and place != expected[name]:
            raise EngineWrong(f"{name}: component {place}, expected.json says {expected[name]}")


def measure(
    workers: Sequence[Embed], work: Sequence[Sequence[str]], seconds: float
) -> tuple[int, float]:
    """Texts embedded and seconds taken, all workers at once."""
    order = itertools.cycle(work)
    deadline = 0.0

    def run(embed: Embed) -> int:
        items = 0
        while time.perf_counter() < deadline:
            # next() on a cycle is one step under the interpreter lock: workers share it safely.
            items += len(embed(next(order)))
        return items

    with ThreadPoolExecutor(len(workers)) as pool_of_threads:
        list(pool_of_threads.map(lambda embed: embed(work[0]), workers))  # warm-up
        start = time.perf_counter()
        deadline = start + seconds
        items = sum(pool_of_threads.map(run, workers))
        return items, time.perf_counter() - start


def main(name: str, make: Callable[[Asked, Tokenizer], Sequence[Embed]]) -> int:
    """Check, then time each batch size; one JSON line each. Exits 1 with one line on stderr."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker tokenizes its own
    what = asked()
    try:
        texts = read_texts(what.payloads, what.payload_set)
        if not texts:
            raise EngineWrong(f"PAYLOADS_SET={what.payload_set}: no payload is of this set")
        tokenizer = Tokenizer.from_file(str(what.model / "tokenizer.json"))
        workers = make(what, tokenizer)
        check(workers[0], texts, what.model)
    except EngineWrong as error:
        print(f"engine {name}: {error}", file=sys.stderr)
        return 1
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts.values()))]
    for size in what.batch_sizes:
        work = batches(list(texts.values()), lengths, size)
        items, took = measure(workers, work, what.seconds)
        row = {"batch_size": size, "items": items, "seconds": round(took, 4)}
        print(json.dumps(row), flush=True)
    return 0
