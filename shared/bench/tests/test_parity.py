"""The gate compares what must be equal and lets nothing else through."""

import math

import pytest

from bench.parity import check, cosine, load_keys, tokens, top_k

REFERENCE = [0.5, 0.2, 0.1, 0.08, 0.06, 0.0595, 0.0005]
TOP = [[0, 0.5], [1, 0.2], [2, 0.1], [3, 0.08], [4, 0.06]]
SETTINGS = {"kind": "top_k", "k": 5, "tolerance": {"fp32": 1e-3}}


def test_the_reference_itself_passes() -> None:
    assert top_k(TOP, REFERENCE, 1e-3, SETTINGS) == (0.0, None)


def test_a_swap_within_the_tolerance_is_no_fault() -> None:
    """Classes 4 and 5 differ by less than the tolerance: either may be named fifth."""
    drift, fault = top_k([*TOP[:4], [5, 0.0595]], REFERENCE, 1e-3, SETTINGS)
    assert fault is None and drift == 0


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([*TOP[:4], [6, 0.0005]], "missing|not of the top"),
        ([[0, 0.498], *TOP[1:]], "off by"),
        (TOP[:4], "4 classes"),
        ([*TOP[:4], [3, 0.08]], "repeat"),
        ([*TOP[:4], [99, 0.06]], "don't exist"),
        ([[0, math.nan], *TOP[1:]], "off by"),
    ],
)
def test_wrong_answers_are_faults(answer: list[list[float]], says: str) -> None:
    import re

    _, fault = top_k(answer, REFERENCE, 1e-3, SETTINGS)
    assert fault is not None and re.search(says, fault)


def test_tokens_must_be_the_same_and_as_many() -> None:
    reference = {"tokens": [1, 2, 3], "margins": [0.5, 0.2, 0.4]}
    assert tokens([1, 2, 3], reference, 1e-3, {}) == (0.0, None)
    assert tokens([1, 9, 3], reference, 1e-3, {})[1] == "token 1 is 9, not 2"
    assert tokens([1, 2], reference, 1e-3, {})[1] == "2 tokens instead of 3"


def test_tokens_after_a_tie_are_not_compared() -> None:
    """Rounding may turn a tie, never a clear lead; a comparison that went on would fail a right
    server, one that ended at any difference would pass a wrong one."""
    reference = {"tokens": [1, 2, 3], "margins": [0.5, 5e-4, 0.4]}
    assert tokens([1, 9, 7], reference, 1e-3, {}) == (0.0, None)
    assert tokens([9, 2, 3], reference, 1e-3, {})[1] == "token 0 is 9, not 1"
    # The tie was not turned, so what follows was not changed by it.
    assert tokens([1, 2, 7], reference, 1e-3, {})[1] == "token 2 is 7, not 3"


def test_a_precision_may_be_held_to_its_first_tokens_only() -> None:
    reference = {"a": {"tokens": [1, 2, 3], "margins": [0.5, 0.5, 0.4]}}
    settings = {"tolerance": {"fp32": 1e-3, "bf16": 0.05}, "first_tokens": {"bf16": 2}}
    answers = [{"payload": "a", "answer": [1, 2, 9], "error": None}]
    settings["kind"] = "tokens"
    assert check(answers, reference, ["a"], settings, "bf16").passed
    assert not check(answers, reference, ["a"], settings, "fp32").passed


def test_a_key_holds_only_where_whole_answers_are_compared() -> None:
    """Broken by keys at every precision: bf16 answers differ after some tokens, and all would be
    wrong under load; or by none at all: then nothing is checked under load."""
    settings = {"first_tokens": {"bf16": 4}}
    keys = {"a": "1 2 3", "b": None}
    assert load_keys(keys, ["b", "a", "c"], settings, "fp32") == [None, "1 2 3", None]
    assert load_keys(keys, ["a", "b"], settings, "bf16") == [None, None]
    assert load_keys(keys, ["a"], {}, "int8") == ["1 2 3"]


def test_cosine_is_blind_to_length_only() -> None:
    assert cosine([2.0, 0.0], [1.0, 0.0], 1e-6, {})[1] is None
    assert cosine([0.0, 1.0], [1.0, 0.0], 1e-6, {})[1] is not None
    assert cosine([0.0, 0.0], [1.0, 0.0], 1e-6, {})[1] is not None


def test_an_unanswered_probe_fails_the_gate() -> None:
    """A stack that answers only what it likes must not pass."""
    answers = [{"payload": "a", "answer": TOP, "error": None}]
    reference = {"a": REFERENCE, "b": REFERENCE}
    assert check(answers, reference, ["a"], SETTINGS, "fp32").passed
    parity = check(answers, reference, ["a", "b"], SETTINGS, "fp32")
    assert not parity.passed and "b: not answered" in parity.faults[0]
    assert not check([], reference, [], SETTINGS, "fp32").passed
    assert not check(answers, reference, ["a"], SETTINGS, "fp16").passed


def test_swapped_payloads_are_caught() -> None:
    """Answers to the wrong payload are the fault of a server that mixes up its batch."""
    other = [*REFERENCE[::-1]]
    other_top = sorted(enumerate(other), key=lambda pair: -pair[1])[:5]
    answers = [
        {"payload": "a", "answer": [list(pair) for pair in other_top], "error": None},
        {"payload": "b", "answer": TOP, "error": None},
    ]
    parity = check(answers, {"a": REFERENCE, "b": other}, ["a", "b"], SETTINGS, "fp32")
    assert len(parity.faults) == 2
