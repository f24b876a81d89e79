"""The order in which texts are executed, and what becomes of a batch, without a server."""

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.environments import ensure_environment
from bench.progress import Reporter

STACK = Path(__file__).resolve().parents[1]
FILE = STACK / "waiting.py"


class Answer:
    """As much of a future as the queue looks at."""

    def __init__(self) -> None:
        self.gone = False

    def done(self) -> bool:
        return self.gone


@pytest.fixture(scope="module")
def code() -> Any:
    """The stack's own file, loaded by path: its folder stays off sys.path."""
    spec = importlib.util.spec_from_file_location("embeddings_waiting", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def lengths(batch: list[Any]) -> list[int]:
    return [len(item.ids) for item in batch]


def filled(
    code: Any, limits: Any, texts: list[tuple[int, bool]], *, passing_s: float = 0, gap_s: float = 1
) -> tuple[Any, list[Any]]:
    """A queue to which texts of these lengths came, `gap_s` apart, and they: (tokens, bulk)."""
    waiting = code.Waiting(limits, passing_s)
    items = [
        code.Item([0] * tokens, at, Answer(), arrived=gap_s * at)
        for at, (tokens, _) in enumerate(texts)
    ]
    for item, (_, bulk) in zip(items, texts, strict=True):
        waiting.add(item, bulk=bulk)
    return waiting, items


TEXTS = st.lists(st.tuples(st.integers(2, 256), st.booleans()), max_size=80)
LIMITS = st.tuples(st.integers(1, 40), st.integers(2, 3000), st.integers(0, 300))


@given(texts=TEXTS, limits=LIMITS, passing=st.integers(0, 8))
def test_each_text_is_executed_once_within_the_limits(
    code: Any, texts: list[tuple[int, bool]], limits: tuple[int, int, int], passing: int
):
    """In batches that hold the text of one kind whose turn it is and no more padding than allowed.

    Breaks with a text that is lost, doubled or passed over for ever, and with a limit that counts
    tokens without their padding.
    """
    waiting, items = filled(code, code.Limits(*limits), texts, passing_s=passing, gap_s=16)
    most_texts, most_tokens, most_padding = limits
    kinds = {item.order: bulk for item, (_, bulk) in zip(items, texts, strict=True)}
    turns = [16 * at + (0 if bulk else passing * tokens) for at, (tokens, bulk) in enumerate(texts)]
    left = set(kinds)
    seen: Counter[int] = Counter()
    while batch := waiting.take():
        orders = [item.order for item in batch]
        due = [
            min(
                (at for at in left if kinds[at] is kind),
                key=lambda at: (turns[at], at),
                default=None,
            )
            for kind in (False, True)
        ]
        assert set(orders) & set(due), "neither kind's text whose turn it was has been taken"
        seen.update(orders)
        left -= set(orders)
        assert len(waiting) == len(left)
        sizes = lengths(batch)
        assert sizes == sorted(sizes)
        if len(batch) > 1:
            assert len(batch) <= most_texts
            assert len(batch) * max(sizes) <= most_tokens
            assert max(sizes) - min(sizes) <= most_padding
    assert seen == Counter(kinds.keys())


@pytest.mark.parametrize(
    ("limits", "sizes", "taken"),
    [
        ((9, 999, 4), [20, 18, 22, 25, 40, 16], [16, 18, 20]),  # 22 would pad 16 by 6
        ((9, 999, 0), [20, 18, 20, 22, 20], [20, 20, 20]),
        ((3, 999, 99), [20, 10, 19, 22, 40], [19, 20, 22]),  # the nearest two
        ((9, 66, 99), [20, 18, 22, 5], [18, 20, 22]),  # 3 × 22 fit, 4 × 22 don't
        ((9, 999, 4), [20, 22, 17], [20, 22]),  # 17 would be padded by 5, now that 22 is in
        ((9, 65, 99), [20, 22, 17], [20, 22]),  # and 3 × 22 don't fit
        ((9, 10, 99), [20, 20], [20]),  # over the budget by itself: alone
    ],
)
def test_neighbours_by_length(
    code: Any, limits: tuple[int, int, int], sizes: list[int], taken: list[int]
):
    """By hand: who goes along with the first of these texts."""
    waiting, _ = filled(code, code.Limits(*limits), [(size, False) for size in sizes])
    assert lengths(waiting.take()) == taken


def test_of_one_length_the_oldest_go_first(code: Any):
    """Breaks if equal lengths are taken from the newest: then one of them can starve."""
    waiting, _ = filled(code, code.Limits(2, 999, 0), [(7, False)] * 6)
    assert [[item.order for item in waiting.take()] for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_a_long_text_is_passed_for_so_long_and_no_longer(code: Any):
    """By hand: 1 s a token, so a text of 100 tokens has its turn 100 s after it came. Shorter ones
    that come before pass it, also when it waits already; the one whose turn is later does not.

    Breaks if a long one can starve, if nothing passes, and if the longest goes first.
    """
    sizes = [100, 10, 100, 10, 10, 10]  # with turns at 100, 40, 160, 100, 130 and 160
    waiting, items = filled(
        code, code.Limits(1, 999, 0), [(size, False) for size in sizes], passing_s=1, gap_s=30
    )
    assert [waiting.take()[0].order for _ in items] == [1, 0, 3, 4, 2, 5]
    waiting, items = filled(code, code.Limits(1, 999, 0), [(9, False), (2, False)], gap_s=0)
    assert [waiting.take()[0].order for _ in items] == [0, 1], "0 is the order of their coming"


def test_texts_of_larger_requests_pass_nobody(code: Any):
    """An upload's long text is not put behind a later upload's short ones: it is answered when its
    last text is. Breaks if they have turns as single texts do."""
    texts = [(90, True), (10, True), (50, True)]
    waiting, items = filled(code, code.Limits(1, 999, 0), texts, passing_s=9, gap_s=0)
    assert [waiting.take()[0].order for _ in items] == [0, 1, 2]


def test_one_batch_in_four_is_begun_for_bulk(code: Any):
    """While both wait. Breaks if texts that went along with others count as turns, or if either
    kind starves."""
    texts = [(10, False), (10, False), (30, True), (30, True)] * 8
    waiting, _ = filled(code, code.Limits(2, 999, 0), texts)
    begun = [len(waiting.take()[0].ids) for _ in range(16)]
    assert begun == [10, 10, 10, 30] * 2 + [10, 10] + [30] * 6
    assert waiting.take() == []


def test_what_nobody_waits_for_is_left_out(code: Any):
    """An abandoned text is not executed, and does not stop those that came with it."""
    waiting, items = filled(code, code.Limits(9, 999, 0), [(7, True), (7, True), (7, True)])
    items[1].answer.gone = True
    assert [item.order for item in waiting.take()] == [0, 2]
    assert len(waiting) == 0 and waiting.take() == []


def seen_by(script: str) -> Any:
    """What one of the scripts beside this file prints, in the stack's own environment."""
    environment = ensure_environment(STACK, "cpu", Reporter(Console(quiet=True)))
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-P", str(STACK / "tests" / script)],
        env={**os.environ, "PYTHONPATH": str(STACK)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_text_alone_waits_for_nothing_and_nothing_waits_for_it():
    """No timer is set between its coming and its answer, and the event loop goes on while it is
    tokenized.

    Breaks if an idle worker waits for a batch to fill, and if texts are tokenized on the loop: then
    one long text holds up every connection.
    """
    assert seen_by("lone_text.py") == {"answer": [[1.0]], "timers": 0}


def test_a_batch_that_fails_and_one_that_nobody_waits_for():
    """The texts of a failed batch are told so, all of them, and the worker goes on. Before that: by
    hand, what a batch of two texts, of 2 tokens and of 1, counts as.

    Breaks if padding is left out of the padded tokens or a text out of what it waited, and if an
    exception, or an answer that nobody takes any more, ends the worker: then the server accepts
    requests and answers none. And if a request that failed goes on taking the model's time.
    """
    assert seen_by("failing_batch.py") == {
        "right": [[3.0], [3.0]],
        "counted": {
            "tokens_total": 3.0,
            "padded_tokens_total": 4.0,
            "batch_texts_count": 1.0,
            "queue_seconds_count": 2.0,
            "inference_seconds_count": 2.0,
        },
        "failed": [["inference_failed", "the inference failed: no room"]] * 2,
        "healthy after": False,
        "its other texts": [True, True],
        "next": [[5.0]],
        "healthy again": True,
    }
