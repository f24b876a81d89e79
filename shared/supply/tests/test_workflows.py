"""What runs on GitHub: pinned, with no more rights than it needs, and finding what it names."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses: (\S+)(.*)$", re.M)
MAKE = re.compile(r"\bmake ([a-z-]+)")


def test_there_are_workflows() -> None:
    """The tests below say nothing of an empty folder."""
    names = {file.stem for file in WORKFLOWS}
    assert {"tests", "nix", "images", "smoke", "gpu", "submission", "audit", "pages"} <= names


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_pinned_and_has_no_rights_of_its_own(file: Path) -> None:
    """A tag can be moved to other code; a token's default rights are more than any job needs."""
    text = file.read_text()
    used = USES.findall(text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[\d.]+", comment), f"{action} without its version"
    assert "\npermissions: {}\n" in text
    assert text.count("\n    permissions:\n") == text.count("\n    runs-on: ")
    assert text.count("\n    timeout-minutes: ") == text.count("\n    runs-on: ")
    assert "pull_request_target" not in text


def test_what_a_workflow_makes_is_there() -> None:
    """A target that was renamed would fail on GitHub only, weeks later."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)) | {"tools"}
    named = {target for file in WORKFLOWS for target in MAKE.findall(file.read_text())}
    assert named <= targets and len(named) > 5


def test_renovate_finds_every_lock_and_image() -> None:
    """A lock that no pattern matches is never refreshed. Fixtures aren't pins."""
    settings = json.loads((ROOT / ".github" / "renovate.json").read_text())
    (pattern,) = settings["pip-compile"]["managerFilePatterns"]
    locks = [
        file
        for file in ROOT.glob("[!.]*/**/*.lock")
        if "fixtures" not in file.parts and ".build" not in file.parts
    ]
    assert len(locks) > 30
    for file in locks:
        assert re.search(pattern.strip("/"), file.relative_to(ROOT).as_posix()), file
        # What Renovate's pip-compile manager reads: it skips a lock whose command it can't.
        command = file.read_text().splitlines()[1]
        assert command.startswith("#    uv pip compile "), file
        assert not re.search(r" (-o|-c|--[a-z-]+) (?!-)(?!\S+\.(toml|in)\b)", command), command
    (image,) = settings["customManagers"][0]["matchStrings"]
    digests = [
        line
        for file in ROOT.glob("groups/*/*/stack.toml")
        for line in file.read_text().splitlines()
        if "@sha256:" in line
    ]
    assert len(digests) > 3
    for line in digests:
        assert re.search(image.replace("(?<", "(?P<"), line), line


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (
            "20261122-010203-0a1b",
            ["tools", "submit CHECK=results/20261122-010203-0a1b", "validate"],
        ),
        ("2; touch seen", ["tools"]),
    ],
)
def test_a_submitted_run_is_found_and_checked(tmp_path: Path, run: str, told: list[str]) -> None:
    """The step as it stands, with a `make` that writes down what it is told. Broken by a pattern
    that finds no file: each run would be let through unseen; or by a name that is handed on."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "submission.yml").read_text())
    step = job["jobs"]["check"]["steps"][-1]
    place, home = tmp_path / "checkout", tmp_path / "bin"
    (place / "results" / run / "trials").mkdir(parents=True)
    home.mkdir()
    (home / "make").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/told\n')
    (home / "make").chmod(0o755)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(place)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "base"], check=True)
    (place / "results" / run / "trials" / "one.json").write_text("{}")
    (place / "README.md").write_text("beside it")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a run"], check=True)
    path = f"{home}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=place,
        env={**os.environ, **step["env"], "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "told").read_text().splitlines() == told, ended.stderr
    assert (ended.returncode == 0) == (len(told) > 1), ended.stderr
    assert not (place / "seen").exists()
