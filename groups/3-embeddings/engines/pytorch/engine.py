"""The bare engine: texts in memory; tokenize, infer, pool in one process, no server.

Prints one JSON line a batch size. Exits 1 with one line on stderr when the device is not there
or an answer is wrong: a ceiling measured on wrong work would mislead everybody.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves it out

import bare
import bert
from bare import Asked, Embed, EngineWrong, Vectors


def make(asked: Asked, tokenizer: Tokenizer) -> Sequence[Embed]:
    """One embedder a thread. Raises EngineWrong."""
    if asked.precision not in bert.TYPES:
        raise EngineWrong(f"PRECISION={asked.precision}: must be {' or '.join(bert.TYPES)}")
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise EngineWrong("DEVICE=cuda, but PyTorch finds no GPU: check with nvidia-smi")
    # Each worker infers on its own thread, so that no core ever waits for another.
    torch.set_num_threads(1)
    network = bert.load(asked.model, asked.device, asked.precision)

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> Vectors:
        torch.set_num_threads(1)  # of this thread
        ids, mask = bare.padded(tokenizer, texts)
        alike = bool(mask.all())  # then there is nothing to mask
        tokens = network(
            torch.from_numpy(ids).to(asked.device),
            None if alike else torch.from_numpy(mask == 1).to(asked.device),
        )
        return bare.pool(np.asarray(tokens.float().cpu()), mask)

    return [embed] * asked.threads


if __name__ == "__main__":
    sys.exit(bare.main("pytorch", make))
