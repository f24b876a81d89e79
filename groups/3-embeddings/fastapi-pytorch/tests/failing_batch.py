"""A batch whose inference fails, and one whose caller has gone. Run by test_waiting.py in the
stack's own environment, in its folder; prints facts as JSON.
"""

import asyncio
import json
import threading
from collections.abc import Sequence

import numpy as np
from prometheus_client import REGISTRY

from batcher import Batcher
from errors import RequestError
from waiting import Limits, Waiting

BAD, SLOW = 13, 7
COUNTED = (
    "tokens_total",
    "padded_tokens_total",
    "batch_texts_count",
    "queue_seconds_count",
    "inference_seconds_count",
)
release = threading.Event()
seen: list[list[int]] = []


def embed(texts: Sequence[list[int]]) -> np.ndarray:
    seen.extend(texts)
    if any(BAD in ids for ids in texts):
        raise MemoryError("no room")
    if any(SLOW in ids for ids in texts):
        release.wait(30)
    return np.array([[float(sum(ids))] for ids in texts], np.float32)


async def main() -> None:
    batcher = Batcher(embed, 1, Waiting(Limits(9, 99, 99), 0), lambda: None)
    facts: dict[str, object] = {"right": [v.tolist() for v in await batcher.embed([[1, 2], [3]])]}
    facts["counted"] = {name: REGISTRY.get_sample_value(f"embed_{name}") for name in COUNTED}
    together = [batcher.embed([[1]]), batcher.embed([[BAD]])]  # one batch
    failed = await asyncio.gather(*together, return_exceptions=True)
    facts["failed"] = [
        [error.fault.code, error.message] if isinstance(error, RequestError) else repr(error)
        for error in failed
    ]
    facts["healthy after"] = batcher.healthy
    seen.clear()
    length = 50  # two of them exceed a batch's tokens
    (failure,) = await asyncio.gather(
        batcher.embed([[BAD] * length, *([[2] * length] * 5)]), return_exceptions=True
    )
    await batcher.embed([[5], [6]])  # in the order of their coming: after all of those
    # The next batch is begun before its request can know.
    facts["its other texts"] = [isinstance(failure, RequestError), seen.count([2] * length) <= 1]
    abandoned = asyncio.create_task(batcher.embed([[SLOW]]))
    await asyncio.sleep(0.05)  # it is being executed
    abandoned.cancel()
    await asyncio.sleep(0)
    release.set()
    facts["next"] = [v.tolist() for v in await asyncio.wait_for(batcher.embed([[5]]), 30)]
    facts["healthy again"] = batcher.healthy
    batcher.close()
    print(json.dumps(facts))


asyncio.run(main())
