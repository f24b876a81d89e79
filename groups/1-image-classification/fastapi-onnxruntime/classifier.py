"""What both interfaces ask: picture files in; predictions, or a RequestError saying why not."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

import metrics
from batcher import Batcher
from decode import decode
from errors import EMPTY_BODY, QUEUE_FULL, TOO_MANY_IMAGES, RequestError
from model import Prediction
from settings import Settings


class Classifier:
    """Admission, decoding and batching, for one event loop."""

    def __init__(self, settings: Settings, batcher: Batcher) -> None:
        self.draining = False
        self._settings = settings
        self._batcher = batcher
        # As many decoders as CPUs: more would only take time from the inference of earlier images.
        self._decoders = ThreadPoolExecutor(settings.threads, "decode")
        self._limits = {False: settings.queue_images, True: settings.bulk_queue_images}
        self._pending = {False: 0, True: 0}

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    def check_room(self, images: int = 1, *, bulk: bool = False) -> None:
        """Raise RequestError if the queue has no place for `images` more.

        Counted is everything admitted and not yet answered, so that the limit bounds the latency of
        what is served: limit × seconds per image / workers.
        """
        if self._pending[bulk] + images > self._limits[bulk]:
            kind = "requests of several images" if bulk else "single images"
            raise RequestError(
                QUEUE_FULL,
                f"the queue for {kind} is full ({self._limits[bulk]} images): try again later",
            )

    async def classify(self, images: Sequence[bytes]) -> list[list[Prediction]]:
        """Predictions for each image, in their order; one bad image fails the request.

        Raises RequestError.
        """
        if not images:
            raise RequestError(EMPTY_BODY, "the request holds no image")
        limit = self._settings.max_client_batch
        if len(images) > limit:
            raise RequestError(
                TOO_MANY_IMAGES, f"{len(images)} images: at most {limit} in a request"
            )
        bulk = len(images) > 1
        self.check_room(len(images), bulk=bulk)
        pending = metrics.PENDING.labels("bulk" if bulk else "single")
        self._pending[bulk] += len(images)
        pending.inc(len(images))
        try:
            if not bulk:
                return [await self._one(images[0], time.perf_counter(), bulk=False)]
            return await self._several(images)
        finally:
            self._pending[bulk] -= len(images)
            pending.dec(len(images))

    def close(self) -> None:
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()

    async def _several(self, images: Sequence[bytes]) -> list[list[Prediction]]:
        """Decoded a few at a time: 32 decodings must not stand before somebody's single image."""
        turns = asyncio.Semaphore(self._settings.threads)
        admitted = time.perf_counter()

        async def one(number: int, data: bytes) -> list[Prediction]:
            try:
                return await self._one(data, admitted, bulk=True, turns=turns)
            except RequestError as error:
                raise RequestError(error.fault, f"image {number}: {error.message}") from None

        failures: list[RequestError] = []
        tasks: list[asyncio.Task[list[Prediction]]] = []
        try:
            async with asyncio.TaskGroup() as group:  # the first failure cancels the others
                tasks = [group.create_task(one(i, data)) for i, data in enumerate(images)]
        except* RequestError as errors:
            failures = [each for each in errors.exceptions if isinstance(each, RequestError)]
        if failures:  # raised in `except*` itself, some Pythons would wrap it in a group again
            raise RequestError(failures[0].fault, failures[0].message)
        return [task.result() for task in tasks]

    async def _one(
        self, data: bytes, admitted: float, *, bulk: bool, turns: asyncio.Semaphore | None = None
    ) -> list[Prediction]:
        loop = asyncio.get_running_loop()
        if turns is None:
            started, pixels = await loop.run_in_executor(self._decoders, _timed_decode, data)
        else:
            async with turns:
                started, pixels = await loop.run_in_executor(self._decoders, _timed_decode, data)
        return await self._batcher.predict(pixels, bulk=bulk, waited_s=started - admitted)


def _timed_decode(data: bytes) -> tuple[float, NDArray[np.float32]]:
    """When the decoding started, and the tensor."""
    started = time.perf_counter()
    pixels = decode(data)
    metrics.DECODE.observe(time.perf_counter() - started)
    return started, pixels
