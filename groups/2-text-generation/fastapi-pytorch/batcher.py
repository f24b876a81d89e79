"""Continuous batching: every step takes one token further each sequence that runs, and reads the
prompts of those that just came. Nobody waits for anybody's answer to end.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

import metrics
from attention import Row
from model import Model
from sampling import GREEDY, Sampling, choose
from text import Answer, Text

log = logging.getLogger("batcher")


@dataclass(frozen=True, slots=True)
class Piece:
    """What a step added to an answer. An answer's last one says why it ended, or what broke."""

    text: str
    tokens: list[int]
    finish: str | None = None  # "stop" or "length"
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked: prompt ids, at most `max_tokens` more, and how each is chosen."""

    prompt: list[int]
    max_tokens: int
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


@dataclass(eq=False, slots=True)
class Running:
    """A job on its way. `known`: how many tokens have keys in memory."""

    job: Job
    answer: Answer
    generator: torch.Generator | None
    give: Callable[[Piece], None]  # called on the event loop's thread
    arrived: float = field(default_factory=time.perf_counter)
    began: float = 0.0
    cancelled: bool = False
    first: int = -1
    known: int = 0
    tokens: list[int] = field(default_factory=list[int])

    @property
    def room(self) -> int:
        return len(self.job.prompt) + self.job.max_tokens


Deliver = Callable[[list[tuple["Running", Piece]]], None]


class Batcher:
    """Runs steps in a thread of its own as long as there is anything to do."""

    def __init__(
        self,
        model: Model,
        text: Text,
        threads: int,
        max_batch: int,
        step_tokens: int,
        deliver: Deliver,
    ) -> None:
        self._model = model
        self._text = text
        self._threads = threads
        self._max_batch = max_batch
        self._step_tokens = step_tokens
        self._deliver = deliver  # hands pieces over to the event loop; any thread may call it
        self._arrivals: deque[Running] = deque()
        self._running: list[Running] = []
        self._work = threading.Condition()
        self._ended = False
        self.healthy = True  # the last step succeeded
        self._thread = threading.Thread(target=self._run, name="steps", daemon=True)
        self._thread.start()

    def submit(self, job: Job, give: Callable[[Piece], None]) -> Running:
        """Queue a job. `give` gets its pieces in order, the last with a finish or a fault."""
        answer = Answer(self._text, job.stop)
        sequence = Running(job, answer, job.sampling.generator(), give)
        with self._work:
            self._arrivals.append(sequence)
            self._work.notify()
        return sequence

    def cancel(self, sequence: Running) -> None:
        """Its place and its memory are free before the next step."""
        sequence.cancelled = True
        with self._work:
            self._work.notify()

    def close(self) -> None:
        with self._work:
            self._ended = True
            self._work.notify()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            with self._work:
                while not (self._arrivals or self._running or self._ended):
                    self._work.wait()
                if self._ended:
                    return
            self._drop_cancelled()
            self._admit()
            if not self._running:
                continue
            try:
                self._step()
                self.healthy = True
            except Exception as error:  # of any kind: these answers fail, the thread lives
                log.exception("a step failed")
                self.healthy = False
                self._fail(f"the generation failed: {error}")

    def _drop_cancelled(self) -> None:
        for sequence in [each for each in self._running if each.cancelled]:
            self._leave(sequence)
        with self._work:
            self._arrivals = deque(each for each in self._arrivals if not each.cancelled)

    def _admit(self) -> None:
        """First come, first served: one that does not fit yet is not overtaken."""
        now = time.perf_counter()
        while self._arrivals and len(self._running) < self._max_batch:
            sequence = self._arrivals[0]
            place = self._model.memory.allocate(sequence.room)
            if place is None:
                break
            self._arrivals.popleft()
            sequence.first, sequence.began = place, now
            metrics.QUEUE.observe(now - sequence.arrived)
            self._running.append(sequence)
        self._tell()

    def _leave(self, sequence: Running) -> None:
        self._running.remove(sequence)
        self._model.memory.release(sequence.first, sequence.room)
        metrics.INFERENCE.observe(time.perf_counter() - sequence.began)
        self._tell()

    def _tell(self) -> None:
        memory = self._model.memory
        metrics.RUNNING.set(len(self._running))
        metrics.KV_USAGE.set(memory.used / memory.tokens)

    def _plan(self) -> list[tuple[Running, list[int]]]:
        """Who takes part in a step, with which tokens. Answers go first, as they cost one each."""
        parts: list[tuple[Running, list[int]]] = [
            (each, each.tokens[-1:]) for each in self._running if each.tokens
        ]
        room = max(1, self._step_tokens - len(parts))
        for sequence in self._running:
            if not sequence.tokens and room > 0:
                part = sequence.job.prompt[sequence.known : sequence.known + room]
                parts.append((sequence, part))
                room -= len(part)
        return parts

    def _step(self) -> None:
        parts = self._plan()
        tokens: list[int] = []
        rows: list[Row] = []
        ends: list[int] = []
        speaking: list[Running] = []
        for sequence, part in parts:
            begin = len(tokens)
            tokens += part
            sequence.known += len(part)
            rows.append(Row(begin, len(tokens), sequence.first, sequence.first + sequence.known))
            if sequence.known >= len(sequence.job.prompt):  # else its prompt is not read yet
                ends.append(len(tokens) - 1)
                speaking.append(sequence)
        metrics.BATCH.observe(len(parts))
        logits = self._model.logits(tokens, rows, ends or [0])
        if not speaking:
            return
        chosen = choose(logits, [(each.job.sampling, each.generator) for each in speaking])
        said = zip(speaking, chosen, strict=True)
        self._deliver([(each, self._extend(each, token)) for each, token in said])

    def _extend(self, sequence: Running, token: int) -> Piece:
        job = sequence.job
        sequence.tokens.append(token)
        metrics.TOKENS.inc()
        if token == self._model.end and not job.ignore_eos:
            self._leave(sequence)
            return Piece(sequence.answer.rest(), [token], "stop")
        text, stopped = sequence.answer.push(token)
        if stopped:
            self._leave(sequence)
            return Piece(text, [token], "stop")
        if len(sequence.tokens) == job.max_tokens:
            self._leave(sequence)
            return Piece(text + sequence.answer.rest(), [token], "length")
        return Piece(text, [token])

    def _fail(self, why: str) -> None:
        failed = list(self._running)
        for sequence in failed:
            self._leave(sequence)
        self._deliver([(sequence, Piece("", [], fault=why)) for sequence in failed])


def warm_up(model: Model, lengths: Sequence[int]) -> None:
    """One step of each length, so that no caller pays for the first use of anything."""
    for length in lengths:
        place = model.memory.allocate(length)
        assert place is not None
        model.logits([0] * length, [Row(0, length, place, place + length)], [length - 1])
        model.memory.release(place, length)
