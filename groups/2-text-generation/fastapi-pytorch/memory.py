"""Keys and values of all running sequences: one bounded piece of memory, cut into stretches."""

import torch
from torch import Tensor


class KeyValueMemory:
    """Room for `tokens` tokens. A sequence gets one stretch, for its prompt and its whole answer,
    when it begins: it can never run out of room half-way, and nothing is ever moved or padded.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        head_size: int,
        tokens: int,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        shape = (layers, heads, tokens, head_size)
        # Pages of it are taken from the system when they are first written to.
        self.keys: Tensor = torch.empty(shape, device=device, dtype=dtype)
        self.values: Tensor = torch.empty(shape, device=device, dtype=dtype)
        self.tokens = tokens
        self.dtype = dtype  # what attention keeps here must be in it already
        self.used = 0
        self._free = [(0, tokens)]  # (start, length), by start; neighbours are joined

    def allocate(self, length: int) -> int | None:
        """The first stretch that is long enough, or None: not now."""
        for place, (start, free) in enumerate(self._free):
            if free >= length:
                rest = [(start + length, free - length)] if free > length else []
                self._free[place : place + 1] = rest
                self.used += length
                return start
        return None

    def release(self, start: int, length: int) -> None:
        self.used -= length
        joined: list[tuple[int, int]] = []
        for stretch in sorted([*self._free, (start, length)]):
            if joined and sum(joined[-1]) == stretch[0]:
                joined[-1] = (joined[-1][0], joined[-1][1] + stretch[1])
            else:
                joined.append(stretch)
        self._free = joined
