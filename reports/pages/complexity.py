"""How much there is to run a stack, counted in its folder: each component by itself, no score."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

# Not written by hand, or not needed to run it.
LEFT_OUT = re.compile(
    r".*(\.lock|\.md|_pb2\.pyi?|_pb2_grpc\.py|\.pyc|/\.[^/]*|/k6\.js)|.*/tests/.*"
)
CONFIGURATION = {
    ".properties",
    ".pbtxt",
    ".yaml",
    ".yml",
    ".xml",
    ".toml",
    ".json",
    ".conf",
    ".ini",
}
COMMENT = re.compile(r"\s*(#|//|--|<!--|\"\"\"|$)")
SETTING = re.compile(r"\s*[\w.\"-]+\s*[=:]\s*\S|\s*<\w+ .*=")
VARIABLE = re.compile(
    r"(?:environ(?:\.get\(|\[)|getenv\()\s*[\"']([A-Z][A-Z0-9_]+)[\"']|\$\{?([A-Z][A-Z0-9_]+)"
)
# Given to every stack alike by the runner: not knobs of the stack.
GIVEN = re.compile(r"HOST|\w+_PORT|MODEL|MODEL_DIR|PREPARED_DIR|STATE_DIR|DEVICE|THREADS|PATH")


def complexity(groups: Path) -> Iterable[tuple[str, str, str, float]]:
    """(group, stack, component, value) for each stack folder under `groups`."""
    for folder in sorted(file.parent for file in groups.glob("*/*/stack.toml")):
        for component, value in _of(folder).items():
            yield folder.parent.name, folder.name, component, float(value)


def _of(folder: Path) -> dict[str, int]:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not LEFT_OUT.fullmatch(f"/{file.relative_to(folder).as_posix()}")
    ]
    texts = {file: _lines(file) for file in files}
    configuration = [f for f in files if f.suffix in CONFIGURATION and f.name != "pyproject.toml"]
    named: set[str] = set()
    for lines in texts.values():
        for one, other in VARIABLE.findall("\n".join(lines)):
            named.add(one or other)
    found = {
        "files": len(files),
        "lines of code": sum(len(texts[f]) for f in files if f not in configuration),
        "lines of configuration": sum(len(texts[f]) for f in configuration),
        "settings": sum(bool(SETTING.match(line)) for f in configuration for line in texts[f])
        + sum(not GIVEN.fullmatch(name) for name in named),
    }
    if (project := folder / "pyproject.toml").exists():
        facts = tomllib.loads(project.read_text("utf-8")).get("project", {})
        extras = facts.get("optional-dependencies", {}).get("cpu", [])
        found["direct dependencies"] = len(facts.get("dependencies", [])) + len(extras)
    if (lock := folder / "requirements.cpu.lock").exists():
        found["all dependencies"] = len(
            re.findall(r"^[\w.-]+(?:\[.*\])?==", lock.read_text(), re.M)
        )
    return found


def _lines(file: Path) -> list[str]:
    """The lines that say something: no blank ones, no comments."""
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        return []
    return [line for line in text.splitlines() if not COMMENT.match(line)]
