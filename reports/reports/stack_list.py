"""The front page's list of groups and stacks, found in their folders, with what became of each."""

import tomllib
from pathlib import Path
from typing import Any

from reports.documents import selected
from reports.files import Folder

MEASURED = """
select group_id, stack, any_value(device) as device, max(started_at)::date as day
from trials join runs using (run_id, device)
where verdict <> 'INVALID'
group by group_id, stack, device order by all
"""


def stacks(folder: Folder, groups: Path) -> str:
    """A row a stack: its question, its interfaces, and whether and where it was measured."""
    days: dict[tuple[str, str], list[str]] = {}
    for row in selected(folder, MEASURED):
        on = {"cpu": "CPU", "cuda": "GPU"}[row["device"]]
        days.setdefault((row["group_id"], row["stack"]), []).append(f"{on} {row['day']:%Y-%m-%d}")
    lines = ["| question | stack | interfaces | measured |", "| --- | --- | --- | --- |"]
    for file in sorted(groups.glob("*/group.toml")):
        group = tomllib.loads(file.read_text("utf-8"))
        at = f"groups/{file.parent.name}"
        asked = f"[{group['title']}]({at}/): {group['question']}"
        for stack_file in sorted(file.parent.glob("*/stack.toml")):
            stack: dict[str, Any] = tomllib.loads(stack_file.read_text("utf-8"))
            name = stack_file.parent.name
            measured = days.get((file.parent.name, name))
            status = f"yes: {', '.join(measured)}" if measured else unmeasured(stack_file.parent)
            interfaces = ", ".join(stack["interfaces"])
            link = f"[{stack['title']}]({at}/{name}/)"
            lines.append(f"| {asked} | {link} | {interfaces} | {status} |")
            asked = ""
    return "\n".join(lines)


def unmeasured(folder: Path) -> str:
    """Why there are no figures of a stack: what it needs that was not there, or nobody did it."""
    stack = tomllib.loads((folder / "stack.toml").read_text("utf-8"))
    if stack.get("container_only"):
        base = stack.get("container", {}).get("base", "")
        gpu = isinstance(base, dict) and "cpu" not in base
        return f"container only{', needs a GPU' if gpu else ''}: not yet"
    if not (folder / "requirements.cpu.lock").exists():
        return "needs a GPU: not yet"
    return "not yet"
