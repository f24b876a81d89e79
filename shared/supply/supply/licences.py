"""The licence of each direct dependency, held against licences.toml and what is installed."""

import re
import tomllib
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, cast

TABLE = "shared/supply/licences.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LEFT_OUT = {".build", ".git", "fixtures", "node_modules"}


def normal(name: str) -> str:
    """A distribution's name as indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def files(root: Path, pattern: str) -> Iterator[Path]:
    """A checkout's own files of that name."""
    for file in sorted(root.rglob(pattern)):
        if not LEFT_OUT & set(file.relative_to(root).parts):
            yield file


def python_dependencies(root: Path) -> dict[str, str]:
    """{distribution: the file that asks for it} over all projects, their extras included."""
    found: dict[str, str] = {}
    for file in files(root, "pyproject.toml"):
        project: dict[str, Any] = tomllib.loads(file.read_text()).get("project", {})
        wanted = list(cast(list[str], project.get("dependencies", [])))
        for extra in cast(dict[str, list[str]], project.get("optional-dependencies", {})).values():
            wanted += extra
        for line in wanted:
            add(found, line, file, root)
    for file in files(root, "*.in"):
        for line in file.read_text().splitlines():
            add(found, line, file, root)
    return found


def add(found: dict[str, str], line: str, file: Path, root: Path) -> None:
    """Note one requirement line."""
    if name := NAME.match(line):
        found.setdefault(normal(name[0]), str(file.relative_to(root)))


def go_dependencies(root: Path) -> dict[str, str]:
    """{module: the go.mod that asks for it} of what the generator is built from."""
    file = root / "shared" / "k6" / "go.mod"
    direct = re.findall(r"^\t(\S+) v\S+$", file.read_text(), re.M)
    return dict.fromkeys(direct, str(file.relative_to(root)))


def installed_licences(root: Path) -> dict[str, str]:
    """{distribution: SPDX expression} of what is installed in .build and says it in that form."""
    found: dict[str, str] = {}
    for file in root.glob(".build/envs/*/lib/python3.*/site-packages/*.dist-info/METADATA"):
        said = HeaderParser().parsestr(file.read_text(errors="replace"), headersonly=True)
        if (name := said["Name"]) and (licence := said["License-Expression"]):
            found[normal(name)] = licence
    return found


def terms(expression: str) -> list[list[str]]:
    """An SPDX expression of ANDs, each a list of the licences one may choose from."""
    return [
        [one.strip() for one in part.strip(" ()").split(" OR ")]
        for part in expression.split(" AND ")
    ]


def faults(root: Path, installed: dict[str, str]) -> list[str]:
    """One line a fault: what is asked for without a known licence, or with one not allowed."""
    table = tomllib.loads((root / TABLE).read_text())
    allowed, exceptions = set(table["allowed"]), table["exceptions"]
    found: list[str] = []
    for kind, wanted in (("python", python_dependencies(root)), ("go", go_dependencies(root))):
        known: dict[str, str] = table[kind]
        for name, file in sorted(wanted.items()):
            if name not in known:
                found.append(f"{file}: {name}: read its licence and enter it in {TABLE}")
            elif name not in exceptions:
                found += [
                    f"{file}: {name}: {known[name]}: none of {', '.join(choice)} is allowed"
                    for choice in terms(known[name])
                    if not allowed & set(choice)
                ]
        found += [
            f"{TABLE}: {name}: nothing asks for it" for name in sorted(set(known) - {*wanted})
        ]
        if kind == "python":
            found += [
                f"{TABLE}: {name}: says {known[name]}, its own metadata say {installed[name]}"
                for name in sorted(set(known) & set(installed))
                if sorted(map(sorted, terms(known[name])))
                != sorted(map(sorted, terms(installed[name])))
            ]
    return found
