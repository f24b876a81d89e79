"""Micro-batching by tokens: an idle worker starts at once with what is there, and what arrives
while it works is sorted by length for its next batch. Nothing ever waits for a batch to fill.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

import metrics
from errors import INFERENCE_FAILED, RequestError
from waiting import Item, Vector, Waiting

Embed = Callable[[Sequence[list[int]]], NDArray[np.float32]]


class Batcher:
    """Runs `embed` on batches in `workers` threads."""

    def __init__(
        self, embed: Embed, workers: int, waiting: Waiting, prepare_thread: Callable[[], None]
    ) -> None:
        self._embed = embed
        self._waiting = waiting
        self._count = 0
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(workers, "inference", initializer=prepare_thread)
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]
        self.healthy = True  # the last execution succeeded

    async def embed(self, texts: Sequence[list[int]]) -> list[Vector]:
        """The mean vector of each text, given as token ids. Cancelled texts take no place.

        Raises RequestError when an inference fails.
        """
        loop = asyncio.get_running_loop()
        items: list[Item] = []
        for ids in texts:
            self._count += 1
            item = Item(ids, self._count, loop.create_future())
            self._waiting.add(item, bulk=len(texts) > 1)
            items.append(item)
        self._arrived.set()
        try:
            return await asyncio.gather(*(item.answer for item in items))
        finally:
            for item in items:
                item.answer.cancel()  # of a request that failed, nobody wants the rest

    def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        self._threads.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not (batch := self._waiting.take()):
                if not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
            started = time.perf_counter()
            for item in batch:
                metrics.QUEUE.observe(started - item.arrived)
            texts = [item.ids for item in batch]
            try:
                vectors = await loop.run_in_executor(self._threads, self._embed, texts)
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
            lengths = [len(ids) for ids in texts]
            metrics.BATCH.observe(len(batch))
            metrics.TOKENS.inc(sum(lengths))
            metrics.PADDED.inc(max(lengths) * len(lengths))
            for item, vector in zip(batch, vectors, strict=True):
                if not item.answer.done():
                    item.answer.set_result(vector)
