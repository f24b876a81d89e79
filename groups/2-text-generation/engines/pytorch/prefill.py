"""How long it takes to read a prompt and say one token, nobody else there: the floor of a TTFT.

Prints one JSON line: over the main set's prompts, each read once, milliseconds.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

from engine import Decoder, load_prompts


def main() -> None:
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    prompts = [replace(p, max_tokens=1) for p in load_prompts(Path(os.environ["PAYLOADS_DIR"]))]
    precision = os.environ.get("PRECISION", "fp32")
    decoder = Decoder(Path(os.environ["MODEL_DIR"]), "cpu", precision, places=1024)
    decoder.generate(prompts[:1])  # warm-up
    took: list[float] = []
    for prompt in prompts:
        started = time.perf_counter()
        decoder.generate([prompt])
        took.append(1000 * (time.perf_counter() - started))
    took.sort()
    ranks = {f"p{share}_ms": round(took[len(took) * share // 100], 1) for share in (50, 95)}
    print(json.dumps({"prompts": len(took), **ranks}))


if __name__ == "__main__":
    main()
