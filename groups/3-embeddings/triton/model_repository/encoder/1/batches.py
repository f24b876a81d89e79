"""Which rows are executed together: those of like length, within a budget of tokens."""

from collections.abc import Sequence


def batches(lengths: Sequence[int], max_texts: int, max_padded_tokens: int) -> list[list[int]]:
    """Row numbers, grouped for execution. `lengths`: each row's own tokens, padding left out.

    Sorted by length, so that a group is padded to little more than its shortest row. A group holds
    at most `max_texts` rows and, padding included, `max_padded_tokens` tokens; a longer single row
    is a group of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups: list[list[int]] = []
    for row in order:
        group = groups[-1] if groups else []
        padded = (len(group) + 1) * lengths[row]  # this row is the longest so far
        if group and len(group) < max_texts and padded <= max_padded_tokens:
            group.append(row)
        else:
            groups.append([row])
    return groups
