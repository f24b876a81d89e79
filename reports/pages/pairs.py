"""Sentences within one stack: what another interface costs, and what another precision buys."""

from itertools import combinations
from typing import Any

from pages.answers import SETUP, and_, span

Row = dict[str, Any]


def between_interfaces(rows: list[Row], workloads: list[Row], titles: dict[str, str]) -> list[Row]:
    """A sentence a pair of interfaces of a stack under a load; pairs that tie share one."""
    loads = {row["load"]: row["load_title"] for row in workloads}
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        place = (row["stack"], row["load"], *(row[name] for name in SETUP))
        found.setdefault(place, []).append(row)
    said: list[Row] = []
    for (stack, load, *setup), pairs in found.items():
        told = [(_slower(row), True) for row in pairs if row["distinguishable"]]
        ties = [row for row in pairs if not row["distinguishable"] and row["ratio_low"] is not None]
        few = [row for row in pairs if row["ratio_low"] is None]
        told += [(f"{_joined(ties)} are not distinguishable", False)] if ties else []
        told += [(f"{_joined(few)}: too few blocks to tell", False)] if few else []
        said += [
            {
                "text": f"{titles.get(stack, stack)}, {loads[load]}: {text}.",
                "answered": answered,
                "setup": setup,
                "load": load,
            }
            for text, answered in told
        ]
    return said


def _slower(row: Row) -> str:
    a, b, low, high = (row[n] for n in ("interface_a", "interface_b", "ratio_low", "ratio_high"))
    if row["ratio"] < 1:
        a, b, low, high = b, a, 1 / high, 1 / low
    return f"the median request takes {span(low, high)} as long over {a} as over {b}"


def _joined(pairs: list[Row]) -> str:
    """The interfaces, where each is paired with each other; else the pairs."""
    sides = [sorted((row["interface_a"], row["interface_b"])) for row in pairs]
    named = sorted({one for pair in sides for one in pair})
    if len(pairs) == len(list(combinations(named, 2))):
        return and_(named)
    return "; ".join(sorted(" and ".join(pair) for pair in sides))


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
