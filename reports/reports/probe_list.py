"""The front page's list of what a stack must answer right before it is timed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.artefact import read_payloads
from bench.group import load_group
from reports.documents import markdown


def probe_list(groups: Path) -> str:
    """A row a group and precision, from group.toml and the payloads. Raises bench's UserError."""
    lines: list[list[str]] = []
    for file in sorted(groups.glob("*/group.toml")):
        group = load_group(file.parent)
        compared = sum(payload.probe for payload in read_payloads(group))
        title = f"[{group.title}](groups/{group.id}/)"
        for precision in group.parity["tolerance"]:
            asked = f"{title}, {precision}: {demand(group.parity, precision)}"
            lines.append([asked, f"{compared}"])
    return markdown(["of each answer", "answers compared"], lines)


def demand(parity: Mapping[str, Any], precision: str) -> str:
    """What bench/parity.py asks of one answer, in words."""
    tolerance = parity["tolerance"][precision]
    if parity["kind"] == "top_k":
        return f"the same top {parity.get('k', 5)}, each probability within {tolerance:g}"
    if parity["kind"] == "tokens":
        first = parity.get("first_tokens", {}).get(precision)
        which = f"the first {first} greedy tokens" if first else "every greedy token"
        return f"{which}, until one leads by {tolerance:g} or less"
    if parity["kind"] == "cosine":
        return f"a cosine of at least {1 - tolerance:g}"
    return f"{parity['kind']} within {tolerance:g}"
