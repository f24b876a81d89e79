"""Which texts are executed next, and with which others: orders of their own beside that of their
coming. Nothing here knows of threads or of the model.
"""

import asyncio
import time
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
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
    """Texts in the order of their turns and, for the choice of a batch, of their length.

    A request of one text has its turn `passing_s` seconds a token after it came: a shorter text
    that comes soon after a longer one goes first, one that comes later does not. Texts of larger
    requests, which are answered when their last one is, keep the order of their coming.
    """

    def __init__(self, limits: Limits, passing_s: float) -> None:
        self._limits = limits
        self._passing_s = passing_s
        self._single: list[tuple[float, int, Item]] = []  # a heap: turn, order
        self._bulk: deque[Item] = deque()
        self._by_length: list[Item] = []
        self._turns = 0

    def __len__(self) -> int:
        return len(self._by_length)

    def add(self, item: Item, *, bulk: bool) -> None:
        if bulk:
            self._bulk.append(item)
        else:
            turn = item.arrived + self._passing_s * len(item.ids)
            heappush(self._single, (turn, item.order, item))
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
        single, bulk = self._single, self._bulk
        while single and single[0][2].taken:  # it went along with another one's batch
            heappop(single)
        while bulk and bulk[0].taken:
            bulk.popleft()
        if not self._by_length:
            return None
        self._turns += 1
        if bulk and (not single or self._turns % BULK_SHARE == 0):
            return bulk.popleft()
        return heappop(single)[2]
