"""Known vulnerabilities in what the locks pin: pip-audit a lock, govulncheck for the generator.

A database that can't be asked is no answer: what was not checked is said, and never taken as clean.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from supply.licences import files

PIP_AUDIT = (sys.executable, "-P", "-m", "pip_audit")
# govulncheck's own exit code for: checked, and something was found.
FOUND = 3
ACCEPTED = "shared/supply/accepted.toml"


@dataclass(frozen=True)
class Answer:
    """What is known of one thing: vulnerabilities, and of what nobody knows, why (`unchecked`).

    `nothing`: not a single pin of it was checked.
    """

    thing: str
    found: tuple[str, ...] = ()
    unchecked: str | None = None
    nothing: bool = False


def locks(root: Path) -> list[Path]:
    """Every lock of the checkout that pins something."""
    return [file for file in files(root, "*.lock") if " --hash=" in file.read_text()]


def accepted(root: Path, today: date | None = None) -> list[str]:
    """The ids in ACCEPTED that still hold. Raises ValueError for one without reason or date.

    One whose date has passed is found again.
    """
    table: dict[str, dict[str, Any]] = tomllib.loads((root / ACCEPTED).read_text())
    for id, entry in table.items():
        if not (isinstance(entry.get("until"), date) and entry.get("reason")):
            raise ValueError(f'{ACCEPTED}: {id}: it needs reason = "…" and until = 2027-01-31')
    now = today or datetime.now(UTC).date()
    return [id for id, entry in table.items() if entry["until"] >= now]


def last_line(*outputs: str) -> str:
    """The last thing a tool said."""
    lines = [line.strip() for output in outputs for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def unconditional(lock: str) -> list[str]:
    """A lock's pins without their markers, as texts in which no package is pinned twice.

    pip-audit leaves out, without a word, what a marker keeps from the Python that it runs on.
    """
    texts: list[list[str]] = []
    times: Counter[str] = Counter()
    for pin in re.findall(r"^[^\s#].*(?:\n[ \t].*)*", lock, re.M):
        name = re.split(r"[=\[ ;@]", pin, maxsplit=1)[0].lower()
        if times[name] == len(texts):
            texts.append([])
        texts[times[name]].append(re.sub(r"\s*;[^\\\n]*", " ", pin, count=1))
        times[name] += 1
    return ["\n".join(pins) + "\n" for pins in texts]


def audit_lock(
    lock: Path, root: Path, tool: Sequence[str] = PIP_AUDIT, ignored: Sequence[str] = ()
) -> Answer:
    """Ask for every pin of one lock, `ignored` being ids not to tell."""
    thing = str(lock.relative_to(root))
    packages: list[dict[str, Any]] = []
    for text in unconditional(lock.read_text()):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
            pins.write(text)
            pins.flush()
            done = subprocess.run(
                [
                    *(*tool, "--requirement", pins.name, "--require-hashes", "--disable-pip"),
                    *("--format", "json", "--progress-spinner", "off", "--timeout", "20"),
                    *("--cache-dir", str(root / ".build" / "cache" / "pip-audit")),
                    *(word for id in ignored for word in ("--ignore-vuln", id)),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
        try:
            packages += json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError, TypeError):
            return Answer(thing, unchecked=last_line(done.stdout, done.stderr), nothing=True)
    skipped = [each for each in packages if "skip_reason" in each]
    return Answer(
        thing,
        tuple(
            f"{each['name']} {each['version']}: {one['id']}"
            f", fixed in {', '.join(one['fix_versions']) or 'no version'}"
            for each in packages
            for one in each.get("vulns", ())
        ),
        f"{len(skipped)} of {len(packages)}: {skipped[0]['skip_reason']}" if skipped else None,
        nothing=len(skipped) == len(packages),
    )


def audit_locks(
    root: Path, tool: Sequence[str] = PIP_AUDIT, ignored: Sequence[str] = ()
) -> list[Answer]:
    """Every lock, until one shows that the database is out of reach: no more are asked for."""
    answers: list[Answer] = []
    silent: Answer | None = None
    for lock in locks(root):
        if silent:
            why = f"not asked for: there was no answer on {silent.thing}"
            answers.append(Answer(str(lock.relative_to(root)), unchecked=why, nothing=True))
        else:
            answers.append(audit_lock(lock, root, tool, ignored))
            silent = answers[-1] if answers[-1].nothing else None
    return answers


def go(root: Path) -> str | None:
    """The Go to use: the packaged one where it had to build the generator, else PATH's, or None."""
    packaged = root / ".build" / "tools" / "go" / "bin" / "go"
    return str(packaged) if packaged.exists() else shutil.which("go")


def audit_go(root: Path, tool: Sequence[str] | None = None) -> Answer:
    """Ask for what the generator's code really calls."""
    thing = "shared/k6"
    if tool is None:
        found = go(root)
        if found is None:
            return Answer(thing, unchecked="no Go here: install it, or run `make bench` once")
        tool = (found, "tool", f"-modfile={root}/shared/supply/go.mod", "govulncheck")
    done = subprocess.run(
        [*tool, "./..."],
        cwd=root / thing,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return Answer(thing)
    if done.returncode != FOUND:
        return Answer(thing, unchecked=last_line(done.stdout, done.stderr))
    named = [line.strip() for line in done.stdout.splitlines() if line.startswith("Vulnerability")]
    return Answer(thing, tuple(named) or ("see `govulncheck ./...`",))
