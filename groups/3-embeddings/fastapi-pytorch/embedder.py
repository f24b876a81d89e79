"""What both interfaces ask: texts in; vectors, or a RequestError saying why not."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

import metrics
from batcher import Batcher
from errors import (
    BAD_DIMENSIONS,
    EMPTY_INPUT,
    MODEL_NOT_FOUND,
    QUEUE_FULL,
    TEXT_TOO_LONG,
    TOO_MANY_TEXTS,
    RequestError,
)
from model import Model, Vectors
from settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How the vectors are wanted. `dimensions`: only the first so many, None for all."""

    model: str | None = None
    dimensions: int | None = None
    normalize: bool = True
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """[N, dimensions] float32, and the tokens that were embedded."""

    vectors: Vectors
    tokens: int


class Embedder:
    """Admission, tokenizing and batching, for one event loop."""

    def __init__(self, settings: Settings, model: Model, batcher: Batcher) -> None:
        self.draining = False
        self._settings = settings
        self._model = model
        self._batcher = batcher
        # As many as CPUs: more would only take time from the inference of earlier texts. What comes
        # in bulk has a thread of its own: some seconds of it would stand before a single text.
        self._tokenizers = {
            False: ThreadPoolExecutor(settings.threads, "tokenize"),
            True: ThreadPoolExecutor(1, "tokenize-bulk"),
        }
        self._limits = {False: settings.queue_texts, True: settings.bulk_queue_texts}
        self._pending = {False: 0, True: 0}

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    async def embed(self, texts: Sequence[str], options: Options) -> Answer:
        """A vector for each text, in their order; one bad text fails the request.

        Raises RequestError.
        """
        self._check(texts, options)
        bulk = len(texts) > 1
        self._check_room(len(texts), bulk=bulk)
        pending = metrics.PENDING.labels("bulk" if bulk else "single")
        self._pending[bulk] += len(texts)
        pending.inc(len(texts))
        try:
            loop = asyncio.get_running_loop()
            tokenizers = self._tokenizers[bulk]
            tokens = await loop.run_in_executor(tokenizers, self._tokenize, texts, options)
            vectors = np.stack(await self._batcher.embed(tokens))
        finally:
            self._pending[bulk] -= len(texts)
            pending.dec(len(texts))
        return Answer(finish(vectors, options), sum(map(len, tokens)))

    def close(self) -> None:
        for tokenizers in self._tokenizers.values():
            tokenizers.shutdown(cancel_futures=True)
        self._batcher.close()

    def _check(self, texts: Sequence[str], options: Options) -> None:
        settings, model = self._settings, self._model
        if options.model is not None and options.model != model.name:
            raise RequestError(
                MODEL_NOT_FOUND, f"there is no model {options.model!r} here, only {model.name!r}"
            )
        if options.dimensions is not None and not 1 <= options.dimensions <= model.dimensions:
            raise RequestError(
                BAD_DIMENSIONS, f"dimensions must be from 1 to {model.dimensions}, the model's own"
            )
        if not texts:
            raise RequestError(EMPTY_INPUT, "input holds no text")
        if len(texts) > settings.max_texts:
            raise RequestError(
                TOO_MANY_TEXTS, f"{len(texts)} texts: at most {settings.max_texts} in a request"
            )
        for number, text in enumerate(texts):
            if not text:
                raise RequestError(EMPTY_INPUT, f"text {number} is empty")
            if len(text) > settings.max_chars:
                raise RequestError(
                    TEXT_TOO_LONG,
                    f"text {number} has {len(text)} characters, at most {settings.max_chars}: "
                    f"the model reads {model.max_tokens} tokens of it anyway",
                )

    def _check_room(self, texts: int, *, bulk: bool) -> None:
        """Counted is everything admitted and not yet answered, so that the limit bounds latency."""
        if self._pending[bulk] + texts > self._limits[bulk]:
            kind = "requests of several texts" if bulk else "single texts"
            raise RequestError(
                QUEUE_FULL,
                f"the queue for {kind} is full ({self._limits[bulk]} texts): try again later",
            )

    def _tokenize(self, texts: Sequence[str], options: Options) -> list[list[int]]:
        with metrics.TOKENIZE.time():
            found = self._model.tokenize(texts)
        if options.truncate:
            return [self._model.cut(ids) for ids in found]
        for number, ids in enumerate(found):
            if len(ids) > self._model.max_tokens:
                raise RequestError(
                    TEXT_TOO_LONG,
                    f"text {number} has {len(ids)} tokens, the model takes "
                    f"{self._model.max_tokens}: shorten it, or leave truncate on",
                )
        return found


def finish(vectors: Vectors, options: Options) -> Vectors:
    """Mean vectors as the options want them: cut first, then brought to length 1."""
    if options.dimensions is not None:
        vectors = vectors[:, : options.dimensions]
    if options.normalize:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors, dtype=np.float32)
