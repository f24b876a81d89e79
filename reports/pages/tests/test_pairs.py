"""Sentences within one stack."""

from typing import Any

from pages.answers import SETUP
from pages.pairs import between_interfaces


def pair(a: str, b: str, ratio: float, low: float | None, high: float | None) -> dict[str, Any]:
    told = None if low is None or high is None else not low <= 1 <= high
    return dict.fromkeys(SETUP, "x") | {
        "stack": "alpha",
        "load": "closed-4",
        "interface_a": a,
        "interface_b": b,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "distinguishable": told,
    }


def texts(*rows: dict[str, Any]) -> list[str]:
    workloads = [{"load": "closed-4", "load_title": "4 callers"}]
    found = between_interfaces(list(rows), workloads, {"alpha": "Alpha"})
    assert all(row["answered"] == ("as long" in row["text"]) for row in found)
    return [row["text"] for row in found]


def test_ties_share_a_sentence() -> None:
    """Six pairs of four interfaces are one line, not six; where a pair is missing, the pairs are
    named. Broken by calling interfaces alike that no pair has compared."""
    ties = [pair("rest", "grpc", 1, 0.9, 1.1), pair("sse", "grpc", 1, 0.9, 1.1)]
    whole = pair("sse", "rest", 1, 0.9, 1.1)
    assert texts(*ties, whole) == ["Alpha, 4 callers: grpc, rest and sse are not distinguishable."]
    assert texts(*ties) == [
        "Alpha, 4 callers: grpc and rest; grpc and sse are not distinguishable."
    ]


def test_a_difference_stands_by_itself() -> None:
    """The slower one first, with its interval; what too few blocks say is said apart."""
    assert texts(pair("rest", "grpc", 0.5, 0.4, 0.8), pair("sse", "rest", 2, None, None)) == [
        "Alpha, 4 callers: the median request takes 1.25–2.50× as long over grpc as over rest.",
        "Alpha, 4 callers: rest and sse: too few blocks to tell.",
    ]
