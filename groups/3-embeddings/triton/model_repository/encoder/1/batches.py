"""Which rows are executed together: those of like length, as far as that is worth its padding."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one execution may hold."""

    texts: int
    tokens: int  # padding included
    padding: (
        int  # tokens of padding that one more text may cost: what an execution of its own costs
    )


def batches(lengths: Sequence[int], limits: Limits) -> list[list[int]]:
    """Row numbers, grouped for execution, shorter ones first; a group's last row is its longest.

    `lengths`: each row's own tokens, padding left out. A row that is over the limit of tokens by
    itself is a group of its own.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        group = groups[-1] if groups else []
        if group and fits(len(group), lengths[group[-1]], lengths[row], limits):
            group.append(row)
        else:
            groups.append([row])
    return groups


def fits(texts: int, longest: int, added: int, limits: Limits) -> bool:
    """Whether one more row of `added` tokens, no shorter than the others, belongs to a group."""
    return (
        texts < limits.texts
        and (texts + 1) * added <= limits.tokens
        and texts * (added - longest) <= limits.padding
    )
