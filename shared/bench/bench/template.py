"""`make template`: one stack as a service of its own, with all it needs and no path back.

What the stack reaches at a path of this checkout is copied to where the copy reaches it: its
group's model, payloads and loads, its bare engine, and of shared/ what runs and measures it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from rich.console import Console

from bench.digests import folder_digest
from bench.errors import UserError
from bench.folders import find_groups, find_stacks
from bench.machine import git_state
from bench.paths import ROOT
from bench.settings import Settings
from bench.stack import Stack, load_stack

# Paths in the checkout that every service gets, at the same paths.
VENDORED = (
    "LICENSE",
    "results/schema",
    "shared/bench/bench",
    "shared/bench/requirements.go.lock",
    "shared/bench/requirements.lock",
    "shared/bench/requirements.uv.lock",
    "shared/client",
    "shared/k6",
    "shared/k6/tests/k6.js",  # calibration sends with it
    "shared/metrics/metrics",
    "shared/metrics/sql",
    "shared/README.md",
    "shared/tools.mk",
)
OF_THE_GROUP = ("group.toml", "model", "payloads")
# Tests that hold this checkout's own promises. The service's are its own.
LEFT_OUT = {"__pycache__", ".pytest_cache", "node_modules", "tests"}
NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
LINK = re.compile(r"\[([^\]]+)\]\(((?!https?:|#)[^)]+)\)")


def template(settings: Settings, console: Console) -> int:
    """Make the service that STACK and TO ask for. Raises UserError."""
    folders = find_stacks(find_groups(settings.group), settings.stack)
    if len(folders) != 1:
        names = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders)
        raise UserError(f"say which one with STACK=<group>/<stack>: {names}")
    asked = os.environ.get("TO")
    if not asked:
        raise UserError("say where to: make template STACK=<group>/<stack> TO=../my-service")
    to = Path(asked).resolve()
    if not NAME.fullmatch(to.name):
        raise UserError(
            f"TO={asked}: its image will have this name: lower case letters, digits and - only"
        )
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"TO={asked}: is there already; name a folder that isn't")
    make_service(folders[0], to)
    console.print(f"{asked}: a service made from {folders[0].parent.name}/{folders[0].name}")
    console.print(f"Next: cd {asked} && make run   (make help lists the rest)", soft_wrap=True)
    return 0


def make_service(folder: Path, to: Path) -> None:
    """Write the service made from a stack's folder. Raises UserError where nothing can be written.

    Whatever stops it leaves no half of it: all is written beside `to` and renamed.
    """
    stack = load_stack(folder)
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        copy_parts(stack, partial)
        write_own(stack, to.name, partial)
        mend_paths(partial / "service", folder)
        mend_links(partial)
        if shutil.which("git"):
            start_history(partial)
        if to.exists():
            to.rmdir()
        partial.rename(to)
    except OSError as error:
        raise UserError(f"TO={to} can't be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def copy_parts(stack: Stack, home: Path) -> None:
    """The stack as `service/`, its group's parts beside it, and what every service gets."""
    group = stack.folder.parent
    copy(stack.folder, home / "service", keep_tests=True)
    (home / "service" / "Makefile").unlink(missing_ok=True)
    for name in OF_THE_GROUP:
        copy(group / name, home / name)
    if stack.engine:
        copy(group / "engines" / stack.engine, home / "engines" / stack.engine)
    for name in VENDORED:
        copy(ROOT / name, home / name)
    copy(ROOT / "groups" / "conftest.py", home / "conftest.py")


def copy(source: Path, target: Path, *, keep_tests: bool = False) -> None:
    """A file, or of a folder what git would keep (all of it where there is no git)."""
    left_out = LEFT_OUT - {"tests"} if keep_tests else LEFT_OUT
    for file in kept_files(source):
        inside = file.relative_to(source)
        if left_out & set(inside.parts):
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target / inside)


def kept_files(source: Path) -> Iterator[Path]:
    """The files at a path that git doesn't ignore; all of them where it can't be asked, or knows
    none: in a folder that the repository around it ignores."""
    if source.is_file():
        yield source
        return
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = []
    kept = [source / name for name in listed if name and (source / name).is_file()]
    yield from kept or (file for file in source.rglob("*") if file.is_file())


def write_own(stack: Stack, name: str, home: Path) -> None:
    """The service's Makefile, README and settings, and the version of what was copied."""
    own = ROOT / "shared" / "template"
    for source, target in (
        ("Makefile", "Makefile"),
        ("pyproject.toml", "pyproject.toml"),
        ("gitignore", ".gitignore"),
    ):
        shutil.copy(own / source, home / target)
    of = f"{stack.folder.parent.name}/{stack.folder.name}"
    text = Template((own / "README.md").read_text())
    (home / "README.md").write_text(text.substitute(name=name, summary=stack.summary, source=of))
    commit, dirty = git_state()
    lines = [
        f"from    AI Inference Study, {of}",
        f"commit  {commit or 'unknown'}{', with changes' if dirty else ''}",
        f"made    {datetime.now(UTC):%Y-%m-%d}",
        *(
            f"sha256  {folder_digest(home / part)}  {part}"
            for part in VENDORED
            if part.startswith("shared/") and (home / part).is_dir()
        ),
    ]
    (home / "shared" / "VERSION").write_text("\n".join(lines) + "\n")


def mend_paths(service: Path, folder: Path) -> None:
    """k6.js imports shared/ by a relative path; it is nearer now."""
    there = f"{os.path.relpath(ROOT / 'shared', folder)}/"
    for script in service.rglob("*.js"):
        script.write_text(script.read_text().replace(there, "../shared/"))


def mend_links(home: Path) -> None:
    """Links of the copied pages that lead nowhere now keep their words only."""
    for page in home.rglob("*.md"):
        text = page.read_text()

        def mended(found: re.Match[str], page: Path = page) -> str:
            target = page.parent / found[2].split("#")[0]
            return found[0] if target.exists() else found[1]

        if (now := LINK.sub(mended, text)) != text:
            page.write_text(now)


def start_history(home: Path) -> None:
    """An own git repository with everything staged: the first commit is its owner's."""
    for words in (("init", "--quiet", "--initial-branch=main"), ("add", "--all")):
        subprocess.run(["git", *words], cwd=home, check=True, capture_output=True)
