"""What all interfaces ask: a job in; a stream of pieces out, or a RequestError saying why not."""

import asyncio
from collections import deque
from collections.abc import Callable

import metrics
from batcher import Batcher, Job, Piece, Running, warm_up
from errors import (
    BAD_REQUEST,
    DRAINING,
    GENERATION_FAILED,
    QUEUE_FULL,
    SLOW_READER,
    TOO_LONG,
    RequestError,
)
from model import Model
from settings import Settings
from text import Text


class Stream:
    """One answer as it comes. Whoever reads it must close it, read to the end or not."""

    def __init__(self, limit: int, close: Callable[["Stream"], None]) -> None:
        self.sequence: Running | None = None
        self._pieces: deque[Piece] = deque()
        self._limit = limit
        self._close = close
        self._more = asyncio.Event()
        self._overrun = False
        self._closed = False

    def put(self, piece: Piece) -> None:
        """From the batcher. A reader that leaves too much unread is served no further."""
        if self._overrun or self._closed:
            return
        if len(self._pieces) >= self._limit:
            self._overrun = True
            self._pieces.clear()
            self.close()
        self._pieces.append(piece)
        self._more.set()

    async def read(self) -> list[Piece]:
        """All pieces that are there, at least one. Raises RequestError if the answer broke off."""
        while not self._pieces:
            self._more.clear()
            await self._more.wait()
        if self._overrun:
            raise RequestError(
                SLOW_READER, f"more than {self._limit} tokens were not taken in time: read faster"
            )
        pieces = list(self._pieces)
        self._pieces.clear()
        if fault := pieces[-1].fault:
            raise RequestError(GENERATION_FAILED, fault)
        return pieces

    def close(self) -> None:
        """Ends the answer if it has not ended: within a step its memory is free."""
        if not self._closed:
            self._closed = True
            self._close(self)


class Generator:
    """Admission in front of the batcher, for one event loop."""

    def __init__(self, settings: Settings, model: Model, text: Text) -> None:
        self.draining = False
        self.model = model
        self.text = text
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._batcher = Batcher(
            model,
            text,
            threads=settings.threads,
            max_batch=settings.max_batch,
            step_tokens=settings.step_tokens,
            deliver=self._deliver,
        )

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    def check_room(self) -> None:
        """Raise RequestError if one more would wait too long.

        Counted is everything admitted and not yet ended: MAX_BATCH that run, QUEUE_REQUESTS that
        wait for a place.
        """
        if self.draining:
            raise RequestError(DRAINING, "the server is stopping: ask another one")
        limit = self._settings.max_batch + self._settings.queue_requests
        if self._in_flight >= limit:
            raise RequestError(QUEUE_FULL, f"{limit} requests are on their way: try again later")

    def start(self, job: Job) -> Stream:
        """Begin an answer. Raises RequestError: too long, full, or stopping."""
        self.check_room()
        self._check_length(job)
        stream = Stream(self._settings.send_buffer_tokens, self._ended)
        self._in_flight += 1
        self._idle.clear()
        metrics.IN_FLIGHT.set(self._in_flight)
        stream.sequence = self._batcher.submit(job, stream.put)
        return stream

    async def drained(self) -> None:
        """Returns when nothing is in flight."""
        await self._idle.wait()

    async def probe(self) -> bool:
        """One real token."""
        stream = Stream(1, lambda _: None)
        self._batcher.submit(Job([0], 1), stream.put)
        try:
            await stream.read()
        except RequestError:
            return False
        return True

    def close(self) -> None:
        self._batcher.close()

    def _check_length(self, job: Job) -> None:
        asked = len(job.prompt) + job.max_tokens
        if asked > self.model.context:
            raise RequestError(
                TOO_LONG,
                f"the prompt has {len(job.prompt)} tokens and max_tokens is {job.max_tokens}: "
                f"together at most {self.model.context}",
                "prompt" if len(job.prompt) >= self.model.context else "max_tokens",
            )
        if asked > self.model.memory.tokens:
            raise RequestError(
                BAD_REQUEST, f"{asked} tokens never fit into KV_TOKENS={self.model.memory.tokens}"
            )

    def _deliver(self, pieces: list[tuple[Running, Piece]]) -> None:
        """On the batcher's thread: one hand-over a step, whatever the number of answers."""
        self._loop.call_soon_threadsafe(_give, pieces)

    def _ended(self, stream: Stream) -> None:
        assert stream.sequence is not None
        self._batcher.cancel(stream.sequence)  # of one that has ended: nothing happens
        self._in_flight -= 1
        metrics.IN_FLIGHT.set(self._in_flight)
        if not self._in_flight:
            self._idle.set()


def _give(pieces: list[tuple[Running, Piece]]) -> None:
    for sequence, piece in pieces:
        sequence.give(piece)


def load(settings: Settings) -> tuple[Model, Text]:
    """The model, warmed up, and its text. Raises ModelError."""
    model = Model(settings)
    text = Text(settings.model_dir, model.context)
    most = min(settings.step_tokens, settings.kv_tokens, model.context)
    warm_up(model, (1, min(16, most), most))
    return model, text
