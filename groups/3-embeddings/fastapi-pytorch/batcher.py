"""Micro-batching by tokens: an idle worker starts at once with what is there, and what arrives
while it works is sorted by length for its next batch. Nothing ever waits for a batch to fill.
"""

import asyncio
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import metrics
from errors import INFERENCE_FAILED, RequestError

Vector = NDArray[np.float32]
Embed = Callable[[Sequence[list[int]]], NDArray[np.float32]]
# While both kinds wait, one batch in four is begun for a request of several texts: neither starves.
BULK_SHARE = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one batch: texts, tokens with padding, and the padding that one text may take."""

    texts: int
    tokens: int
    padding: int


@dataclass(slots=True, eq=False)
class Item:
    """One text that waits. `order` breaks ties between lengths, the oldest first."""

    ids: list[int]
    order: int
    answer: asyncio.Future[Vector]
    arrived: float = field(default_factory=time.perf_counter)
    taken: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return len(self.ids), self.order


class Waiting:
    """Texts in the order of their coming and, for the choice of a batch, of their length."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._single: deque[Item] = deque()
        self._bulk: deque[Item] = deque()
        self._by_length: list[Item] = []
        self._turns = 0

    def __len__(self) -> int:
        return len(self._by_length)

    def add(self, item: Item, *, bulk: bool) -> None:
        (self._bulk if bulk else self._single).append(item)
        insort(self._by_length, item, key=lambda each: each.key)

    def take(self) -> list[Item]:
        """The text whose turn it is, and its neighbours by length while the limits allow them.

        It is always among them, so none waits for ever; empty if nothing waits.
        """
        first = self._next()
        if first is None:
            return []
        line, limits = self._by_length, self._limits
        low = bisect_left(line, first.key, key=lambda each: each.key)
        high = low + 1
        shortest = longest = len(first.ids)
        while high - low < limits.texts:
            # The nearer neighbour: a shorter text is padded itself, a longer one pads the others.
            below = longest - len(line[low - 1].ids) if low else None
            above = len(line[high].ids) - shortest if high < len(line) else None
            down = above is None or (below is not None and below <= above)
            padding = below if down else above
            new_longest = longest if down else len(line[high].ids)
            fits = new_longest * (high - low + 1) <= limits.tokens
            if padding is None or padding > limits.padding or not fits:
                break
            if down:
                low -= 1
                shortest = len(line[low].ids)
            else:
                high += 1
                longest = new_longest
        batch = line[low:high]
        del line[low:high]
        for item in batch:
            item.taken = True
        return [item for item in batch if not item.answer.done()]  # done before its turn: cancelled

    def _next(self) -> Item | None:
        while self._by_length:
            self._turns += 1
            bulk = self._bulk and (not self._single or self._turns % BULK_SHARE == 0)
            item = (self._bulk if bulk else self._single).popleft()
            if not item.taken:
                return item
        return None


class Batcher:
    """Runs `embed` on batches in `workers` threads."""

    def __init__(
        self, embed: Embed, workers: int, limits: Limits, prepare_thread: Callable[[], None]
    ) -> None:
        self._embed = embed
        self._waiting = Waiting(limits)
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
        if len(items) == 1:
            return [await items[0].answer]
        return await asyncio.gather(*(item.answer for item in items))

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
