"""Sentences within one stack: what another interface costs, and what another precision buys."""

from typing import Any

from pages.answers import SETUP, span

Row = dict[str, Any]


def between_interfaces(rows: list[Row], workloads: list[Row], titles: dict[str, str]) -> list[Row]:
    """A sentence a pair of interfaces of a stack."""
    loads = {row["load"]: row["load_title"] for row in workloads}
    found: list[Row] = []
    for row in rows:
        # As the question gives them, a is the later in the alphabet.
        a, b = row["interface_a"], row["interface_b"]
        low, high = row["ratio_low"], row["ratio_high"]
        place = f"{titles.get(row['stack'], row['stack'])}, {loads[row['load']]}"
        if row["ratio"] < 1:
            a, b = b, a
            low, high = (1 / high, 1 / low) if low else (None, None)
        if row["distinguishable"]:
            longer = span(low or 0, high or 0)
            text = f"{place}: the median request takes {longer} as long over {a} as over {b}."
        elif low is None:
            text = f"{place}: {a} against {b}: too few blocks to tell."
        else:
            text = f"{place}: {' and '.join(sorted((a, b)))} are not distinguishable."
        setup = [row[name] for name in SETUP]
        answered = bool(row["distinguishable"])
        found.append({"text": text, "answered": answered, "setup": setup, "load": row["load"]})
    return found


def between_precisions(rows: list[Row], unit: str, titles: dict[str, str]) -> list[Row]:
    """A sentence a pair of precisions of a stack under a load."""
    found: list[Row] = []
    for row in rows:
        a, b = row["precision_a"], row["precision_b"]
        low, high = row["ratio_low"], row["ratio_high"]
        if row["ratio"] < 1:
            a, b = b, a
            low, high = (1 / high, 1 / low) if low else (None, None)
        place = f"{titles.get(row['stack'], row['stack'])}, {row['interface']}, {row['load_title']}"
        if row["distinguishable"]:
            text = f"{place}: {a} serves {span(low or 0, high or 0)} {b}'s {unit} per second."
        elif low is None:
            text = f"{place}: {a} against {b}: too few blocks to tell."
        else:
            text = f"{place}: {' and '.join(sorted((a, b)))} are not distinguishable."
        # Of any precision: these sentences stand whichever one is chosen.
        setup = [row.get(name) for name in SETUP]
        answered = bool(row["distinguishable"])
        found.append({"text": text, "answered": answered, "setup": setup, "load": row["load"]})
    return found


def quality(rows: list[Row]) -> list[str]:
    """A line a model: its answers' quality at each precision."""
    found: dict[str, list[str]] = {}
    for row in rows:
        of = f"{row['model']}, {row['figure']} on {row['quality_set']}"
        found.setdefault(of, []).append(f"{row['precision']} {row['value']:.3f}")
    return [f"{of}: {', '.join(values)}" for of, values in found.items()]
