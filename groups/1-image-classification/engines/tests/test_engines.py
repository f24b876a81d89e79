"""Each bare engine answers as the artefact says before it times anything, and refuses otherwise."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from bench.artefact import Artefact, ensure_artefact, read_payloads
from bench.environments import ensure_environment
from bench.group import load_group
from bench.progress import Reporter
from bench.stack import load_engine

ENGINES = Path(__file__).resolve().parent.parent
PAYLOADS = ENGINES.parent / "payloads"
FOLDERS = sorted(file.parent for file in ENGINES.glob("*/engine.toml"))


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    report = Reporter(Console(quiet=True))
    return ensure_artefact(load_group(ENGINES.parent), "resnet50", "random", report)


def run(folder: Path, model: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    given = {"MODEL_DIR": str(model), "PAYLOADS_DIR": str(PAYLOADS), "MODEL": "resnet50"}
    timing = {"DEVICE": "cpu", "THREADS": "1", "SECONDS": "0.5", "BATCH_SIZES": "1,3"}
    return subprocess.run(
        load_engine(folder).command,
        cwd=folder,
        env={"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", **given, **timing, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_times_each_batch_size(folder: Path, threads: str, artefact: Artefact):
    said = run(folder, artefact.folder, THREADS=threads)
    assert said.returncode == 0, said.stderr
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert [row["batch_size"] for row in rows] == [1, 3]
    for row in rows:
        assert row["items"] > 0 and row["items"] % row["batch_size"] == 0
        assert row["seconds"] >= 0.5


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_wrong_answers_are_not_timed(folder: Path, artefact: Artefact, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    name, key = next((n, k) for n, k in artefact.expected.items() if k is not None)
    (model / "expected.json").unlink()
    wrong = artefact.expected | {name: str((int(key) + 1) % 1000)}
    (model / "expected.json").write_text(json.dumps(wrong))
    said = run(folder, model)
    assert said.returncode == 1 and said.stdout == ""
    assert said.stderr.count("\n") == 1 and name in said.stderr


def test_fp16_is_the_fp16_graph(artefact: Artefact, tmp_path: Path):
    """Breaks if ONNX Runtime's ceiling at fp16 were timed on the fp32 graph."""
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    (model / "model.onnx").unlink()
    said = run(ENGINES / "onnxruntime", model, PRECISION="fp16", BATCH_SIZES="2")
    assert said.returncode == 0, said.stderr
    (row,) = map(json.loads, said.stdout.splitlines())
    assert row["items"] > 0


def test_fp16_is_half_precision_in_pytorch(artefact: Artefact):
    """Of what would run on a GPU: on a CPU one picture takes seconds. Breaks if weights, pixels or
    answers were of another type than is asked for, or the answer wrong."""
    folder = ENGINES / "pytorch"
    payload = next(p for p in read_payloads(load_group(ENGINES.parent)) if not p.audit)
    code = (
        "import sys; sys.path.append('.')\n"
        "import engine, torch, pathlib\n"
        "model, picture = map(pathlib.Path, sys.argv[1:])\n"
        "half = engine.load_model(model / 'model.safetensors', 'cpu', torch.float16)\n"
        "classify = engine.classifier(half, 'cpu', torch.float16)\n"
        "print(*{p.dtype for p in half.parameters()}, classify([picture.read_bytes()])[0][0][1])"
    )
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    words = [environment / "bin" / "python", "-P", "-c", code, artefact.folder, payload.path]
    said = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert said.returncode == 0, said.stderr
    dtype, first = said.stdout.split()
    off = abs(float(first) - max(artefact.reference[payload.name]))
    assert dtype == "torch.float16" and 1e-6 < off <= 5e-3


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_another_precision_is_refused(folder: Path, artefact: Artefact):
    """In one line. Breaks if fp32 were timed under whatever name is asked for."""
    said = run(folder, artefact.folder, PRECISION="int4")
    assert said.returncode == 1 and said.stdout == ""
    assert said.stderr == f"engine {folder.name}: PRECISION=int4: must be fp32 or fp16\n"


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_cuda_without_a_gpu_is_refused(folder: Path, artefact: Artefact):
    said = run(folder, artefact.folder, DEVICE="cuda")
    assert said.returncode == 1 and said.stdout == ""
    assert "DEVICE=cuda" in said.stderr.splitlines()[-1]
