"""Dynamic batching by back-pressure: an idle worker starts at once with what is there, and what
arrives while it works is its next batch. Nothing ever waits for a batch to fill.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import metrics
from errors import INFERENCE_FAILED, RequestError
from model import Prediction

Predict = Callable[[NDArray[np.float32]], list[list[Prediction]]]
# Of this many places in batches one goes to bulk requests while both kinds wait: neither starves.
BULK_SHARE = 4


@dataclass(slots=True)
class _Item:
    pixels: NDArray[np.float32]  # [3, 224, 224]
    waited_s: float  # before it came here
    answer: asyncio.Future[list[Prediction]]
    arrived: float = field(default_factory=time.perf_counter)


class Batcher:
    """Runs `predict` on up to `max_batch` items at a time in `workers` threads."""

    def __init__(self, predict: Predict, workers: int, max_batch: int) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._single: deque[_Item] = deque()
        self._bulk: deque[_Item] = deque()
        self._places = 0  # handed out so far
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(workers, "inference")
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]
        self.healthy = True  # the last execution succeeded

    async def predict(
        self, pixels: NDArray[np.float32], *, bulk: bool = False, waited_s: float = 0.0
    ) -> list[Prediction]:
        """One tensor [3, 224, 224] to its predictions. `waited_s` adds to the measured queue time.

        A cancelled call takes no place in a batch. Raises RequestError when the inference fails.
        """
        item = _Item(pixels, waited_s, asyncio.get_running_loop().create_future())
        (self._bulk if bulk else self._single).append(item)
        self._arrived.set()
        return await item.answer

    def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        self._threads.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not (batch := self._take()):
                self._arrived.clear()
                await self._arrived.wait()
            started = time.perf_counter()
            for item in batch:
                metrics.QUEUE.observe(started - item.arrived + item.waited_s)
            try:
                answers = await loop.run_in_executor(self._threads, self._execute, batch)
            except Exception as error:  # of any kind: this batch fails, the worker lives
                self.healthy = False
                failure = RequestError(INFERENCE_FAILED, f"the inference failed: {error}")
                for item in batch:
                    if not item.answer.done():
                        item.answer.set_exception(failure)
                continue
            self.healthy = True
            elapsed = time.perf_counter() - started
            for _ in batch:
                metrics.INFERENCE.observe(elapsed)
            metrics.BATCH.observe(len(batch))
            for item, answer in zip(batch, answers, strict=True):
                if not item.answer.done():
                    item.answer.set_result(answer)

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        while len(batch) < self._max_batch and (self._single or self._bulk):
            self._places += 1
            bulk = self._bulk and (not self._single or self._places % BULK_SHARE == 0)
            item = (self._bulk if bulk else self._single).popleft()
            if not item.answer.done():  # done before its turn: cancelled
                batch.append(item)
        return batch

    def _execute(self, batch: list[_Item]) -> list[list[Prediction]]:
        if len(batch) == 1:
            return self._predict(batch[0].pixels[None])  # no copy
        return self._predict(np.stack([item.pixels for item in batch]))
