"""Each bare engine answers as the artefact says before it times anything, and refuses otherwise."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from bench.artefact import Artefact, ensure_artefact
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
    return ensure_artefact(load_group(ENGINES.parent), "minilm", "auto", report)


def run(folder: Path, model: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    given = {"MODEL_DIR": str(model), "PAYLOADS_DIR": str(PAYLOADS), "MODEL": "minilm"}
    timing = {"DEVICE": "cpu", "THREADS": "1", "SECONDS": "0.3", "BATCH_SIZES": "1,3"}
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
def test_times_each_batch_size_of_each_precision(folder: Path, artefact: Artefact):
    """Also of the other set of texts, whose answers it checks before; and at what is for GPUs."""
    main, *others = load_engine(folder, "cuda").precisions
    assert "fp16" in others
    for variables in (
        {"PRECISION": main, "PAYLOADS_SET": "uniform"},
        *({"PRECISION": each} for each in others),
    ):
        said = run(folder, artefact.folder, **variables)
        assert said.returncode == 0, said.stderr
        rows = [json.loads(line) for line in said.stdout.splitlines()]
        assert [row["batch_size"] for row in rows] == [1, 3]
        assert all(row["items"] > 0 and row["seconds"] >= 0.3 for row in rows)


def test_fp16_is_the_fp16_graph(artefact: Artefact, tmp_path: Path):
    """Breaks if ONNX Runtime's ceiling at fp16 were timed on the fp32 graph."""
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    (model / "encoder.onnx").unlink()
    said = run(ENGINES / "onnxruntime", model, PRECISION="fp16", BATCH_SIZES="2")
    assert said.returncode == 0, said.stderr
    (row,) = map(json.loads, said.stdout.splitlines())
    assert row["items"] > 0


def test_fp16_is_half_precision_in_pytorch(artefact: Artefact):
    """Weights and what comes of them. Breaks if the ceiling at fp16 were timed in fp32."""
    folder = ENGINES / "pytorch"
    code = (
        "import pathlib, sys, bert, torch\n"
        "network = bert.load(pathlib.Path(sys.argv[1]), 'cpu', 'fp16')\n"
        "print(network.words.dtype, network(torch.tensor([[101, 102]]), None).dtype)"
    )
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    words = [str(environment / "bin" / "python"), "-c", code, str(artefact.folder)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch.float16"] * 2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_wrong_answers_are_not_timed(folder: Path, artefact: Artefact, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    name, key = next((n, k) for n, k in artefact.expected.items() if k is not None)
    (model / "expected.json").unlink()
    wrong = artefact.expected | {name: str(int(key) + 1)}
    (model / "expected.json").write_text(json.dumps(wrong))
    said = run(folder, model)
    assert said.returncode == 1 and said.stdout == ""
    assert said.stderr.strip().splitlines()[-1].startswith(f"engine {folder.name}: {name}")


def test_every_text_is_in_a_batch_and_any_start_of_them_is_fair():
    """Broken by a remainder that is dropped (the longest texts, so the ceiling is too high), or by
    batches in the order of length, of which a short run sees only the short ones."""
    environment = ensure_environment(FOLDERS[0], "cpu", Reporter(Console(quiet=True)))
    code = (
        "import json, bare; texts = [f'{n:03}' for n in range(103)];"
        "print(json.dumps(bare.batches(texts, range(103), 4)))"
    )
    python = str(environment / "bin" / "python")
    done = subprocess.run([python, "-c", code], cwd=FOLDERS[0], capture_output=True, check=True)
    made = json.loads(done.stdout)
    assert sorted(text for batch in made for text in batch) == [f"{n:03}" for n in range(103)]
    for count in (5, 10, 20):
        mean = sum(int(batch[0]) for batch in made[:count]) / count
        assert 35 < mean < 65


def test_both_engines_work_alike():
    """What is said of one ceiling holds for the other. Broken by a change to one copy."""
    assert len({(folder / "bare.py").read_text() for folder in FOLDERS}) == 1
