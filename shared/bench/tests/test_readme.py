"""What the README promises a newcomer, done as written.

Every `sh` block is run, in order, in this checkout; the smoke run is the end-to-end test. Results
go to RESULTS if that is set, so that whoever set it can ask them afterwards. What would fetch a
nixpkgs is only parsed, and listed as skipped; the flake has tests of its own.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from bench.paths import ROOT
from bench.settings import VARIABLES

COMMAND = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
# Named in a sentence, and not run here: of a reader's own run, a folder, a container engine.
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*make [^`]+)`")
# This is what runs the tests.
NOT_HERE = {"make test"}
# Where the README puts a folder of the reader's own, beside the checkout.
BESIDE = "../my-service"


def commands() -> list[str]:
    """The README's commands, a line each."""
    text = (ROOT / "README.md").read_text()
    lines = [line for block in COMMAND.findall(text) for line in block.splitlines() if line]
    assert "make test" in lines and len(lines) > 4, "the README's commands were not found"
    return [line for line in lines if line not in NOT_HERE]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("RESULTS") or tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme(command: str, results: Path, tmp_path: Path) -> None:
    """A command that a reader copies and that fails costs us the reader."""
    if command.startswith("nix "):
        subprocess.run(["bash", "-n", "-c", command], check=True)
        pytest.skip(f"needs a nixpkgs: {command}")
    command = command.replace(BESIDE, str(tmp_path / "my-service"))
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "RESULTS": str(results), "MAKEFLAGS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), f"{command} says nothing"
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted(set(INLINE.findall((ROOT / "README.md").read_text()))))
def test_a_command_in_a_sentence_is_one(command: str) -> None:
    """Its target is there, in the checkout or in a stack's folder, and its variables are read by
    something. Broken by a target that was renamed, or a variable nobody knows any more."""
    words = [word for word in re.sub("<[^>]+>", "x", command).split() if word != "make"]
    (target,) = (word for word in words if "=" not in word)
    folders = (ROOT, ROOT / "groups" / "1-image-classification" / "fastapi-onnxruntime")
    found = [
        subprocess.run(["make", "-n", target], cwd=folder, capture_output=True, check=False)
        for folder in folders
    ]
    assert any(b"No rule" not in done.stderr for done in found), found
    ports = {"HTTP_PORT"}
    makefile = (ROOT / "Makefile").read_text()
    for name in (word.partition("=")[0] for word in words if "=" in word):
        assert name in {*VARIABLES, *ports} or f"$({name})" in makefile, name


def test_the_smoke_run_measured_what_can_run_here(results: Path) -> None:
    """A run that exits 0 but leaves a stack out would hide it: each is measured or says why not."""
    runs = sorted(results.glob("*/run.json"))
    assert runs, "the smoke run left no results"
    import json

    stacks = [json.loads(f.read_text()) for f in runs[-1].parent.glob("stacks/*.json")]
    trials = [json.loads(f.read_text()) for f in runs[-1].parent.glob("trials/*.json")]
    assert {row["stack"] for row in stacks} == {
        stack.parent.name for stack in (ROOT / "groups").glob("1-*/*/stack.toml")
    }
    for row in stacks:
        if row["status"] == "skipped":
            assert row["reason"] and row["fix"], row
            continue
        mine = [
            t for t in trials if (t["stack"], t["interface"]) == (row["stack"], row["interface"])
        ]
        assert any(t["throughput_per_s"] for t in mine), f"{row['stack']} {row['interface']}"
        assert row["parity_drift"] < 1e-3 and row["ready_s"] > 0 and row["first_request_ms"] > 0
