"""Where groups, stacks and engines lie, and which of them GROUP and STACK mean."""

from pathlib import Path

from bench.errors import UserError
from bench.paths import GROUPS
from bench.toml_files import did_you_mean, where


def all_groups() -> list[Path]:
    """Group folders in the order of their numbers."""
    return sorted(
        (file.parent for file in GROUPS.glob("*/group.toml")),
        key=lambda folder: (
            (int(folder.name.split("-")[0]), folder.name)
            if folder.name.split("-")[0].isdigit()
            else (10**6, folder.name)
        ),
    )


def stack_folders(group: Path) -> list[Path]:
    """Every folder of a group that holds a stack.toml."""
    return sorted(file.parent for file in group.glob("*/stack.toml"))


def engine_folders(group: Path) -> list[Path]:
    """Every bare engine of a group."""
    return sorted(file.parent for file in group.glob("engines/*/engine.toml"))


def find_groups(selected: str | None) -> list[Path]:
    """The groups meant by GROUP: all, a number, or a folder name. Raises UserError."""
    groups = all_groups()
    if not selected:
        return groups
    # A name goes before a number: services side by side may be called `embed` and `embed-fast`.
    found = [g for g in groups if g.name == selected]
    found = found or [g for g in groups if g.name.split("-")[0] == selected]
    if not found:
        hint = did_you_mean(selected, [group.name for group in groups])
        raise UserError(f"GROUP={selected}: no such group below {where(GROUPS)}/, {hint}")
    return found


def find_stacks(groups: list[Path], selected: str | None) -> list[Path]:
    """The stacks meant by STACK: all, a name, or <group>/<stack>. Raises UserError."""
    folders = [stack for group in groups for stack in stack_folders(group)]
    if not selected:
        return folders
    found: list[Path] = []
    for wanted in selected.split(","):
        name = wanted.strip()
        mine = [folder for folder in folders if name in names_of(folder)]
        if not mine:
            raise UserError(f"STACK={name}: {no_such_stack(name, folders)}")
        found += mine
    return [folder for folder in folders if folder in found]


def names_of(stack: Path) -> tuple[str, str, str]:
    """What a stack may be called: its folder's name, alone or after its group's or its number."""
    group = stack.parent.name
    return stack.name, f"{group}/{stack.name}", f"{group.split('-')[0]}/{stack.name}"


def no_such_stack(name: str, folders: list[Path]) -> str:
    """Why a name means none of these stacks: another group has it, or nobody."""
    elsewhere = [
        group.name
        for group in all_groups()
        for stack in stack_folders(group)
        if name in names_of(stack)
    ]
    if elsewhere:
        groups = " or ".join(f"GROUP={group}" for group in elsewhere)
        return f"not in the selected group: leave GROUP out or set {groups}"
    known = [names_of(folder)[1 if "/" in name else 0] for folder in folders]
    return f"no such stack, {did_you_mean(name, known)}"
