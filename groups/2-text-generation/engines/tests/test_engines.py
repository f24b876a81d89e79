"""Each bare engine answers as the artefact says before it times anything, and refuses otherwise."""

import json
import os
import shutil
import statistics
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from bench.artefact import Artefact, ensure_artefact, read_payloads
from bench.environments import ensure_environment
from bench.group import load_group
from bench.progress import Reporter
from bench.stack import load_engine

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
ENGINES = Path(__file__).resolve().parent.parent
PAYLOADS = ENGINES.parent / "payloads"
FOLDERS = sorted(file.parent for file in ENGINES.glob("*/engine.toml"))


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    report = Reporter(Console(quiet=True))
    return ensure_artefact(load_group(ENGINES.parent), "gpt2", "random", report)


def run(folder: Path, model: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    given = {"MODEL_DIR": str(model), "PAYLOADS_DIR": str(PAYLOADS), "MODEL": "gpt2"}
    timing = {"DEVICE": "cpu", "THREADS": "1", "SECONDS": "0.5", "BATCH_SIZES": "2,4"}
    return subprocess.run(
        load_engine(folder).command,
        cwd=folder,
        env={"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", **given, **timing, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_times_each_batch_size(folder: Path, artefact: Artefact):
    """Tokens, and how many answers of the main set's mean length they are.

    Broken by counting the answers that ended: of a few seconds they are longer or shorter than the
    mean, and every open rate is a share of them.
    """
    said = run(folder, artefact.folder)
    assert said.returncode == 0, said.stderr
    rows = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert [row["batch_size"] for row in rows] == [2, 4]
    mean = statistics.mean(
        json.loads(payload.data())["max_tokens"]
        for payload in read_payloads(load_group(ENGINES.parent))
        if not payload.audit and payload.set is None
    )
    for row in rows:
        assert row["items"] > 0 and row["seconds"] > 0
        assert row["items"] / row["requests"] == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_wrong_answers_are_not_timed(folder: Path, artefact: Artefact, tmp_path: Path):
    """Broken by an engine that times whatever comes out."""
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    name = next(name for name, key in artefact.expected.items() if key is not None)
    (model / "expected.json").unlink()
    wrong = artefact.expected | {name: "1 2 3"}
    (model / "expected.json").write_text(json.dumps(wrong))
    said = run(folder, model)
    assert said.returncode == 1
    assert not [line for line in said.stdout.splitlines() if line.startswith("{")]
    assert name in said.stderr.splitlines()[-1]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused(artefact: Artefact):
    said = run(ENGINES / "pytorch", artefact.folder, DEVICE="cuda")
    assert said.returncode == 1 and said.stdout == ""
    assert "DEVICE=cuda" in said.stderr.splitlines()[-1]
