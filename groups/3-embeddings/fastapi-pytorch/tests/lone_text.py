"""A text that comes alone, and what the event loop does while it is tokenized. Run by
test_waiting.py in the stack's own environment, in its folder; prints facts as JSON.
"""

import asyncio
import json
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from batcher import Batcher
from embedder import Embedder, Options
from waiting import Limits, Waiting

turned = threading.Event()


class Model:
    """As much of one as comes before the encoder: a text is 1 if the loop went on meanwhile."""

    name, dimensions, max_tokens = "minilm", 1, 9

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[1 if turned.wait(10) else 2] for _ in texts]

    def cut(self, ids: list[int]) -> list[int]:
        return ids


def embed(texts: Sequence[list[int]]) -> np.ndarray:
    return np.array([[float(sum(ids))] for ids in texts], np.float32)


async def main() -> None:
    loop: Any = asyncio.get_running_loop()
    knobs: Any = SimpleNamespace(
        threads=1, queue_texts=9, bulk_queue_texts=9, max_texts=9, max_chars=9
    )
    model: Any = Model()
    batcher = Batcher(embed, 1, Waiting(Limits(9, 99, 99), 0), lambda: None)
    embedder = Embedder(knobs, model, batcher)
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *rest, **more)

    loop.call_at = counted
    asked = asyncio.create_task(embedder.embed(["rain"], Options(normalize=False)))
    loop.call_soon(turned.set)
    answer = await asked
    print(json.dumps({"answer": answer.vectors.tolist(), "timers": len(timers)}))
    embedder.close()


asyncio.run(main())
