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
EACH = [
    pytest.param(folder, precision, id=f"{folder.name}-{precision}")
    for folder in FOLDERS
    for precision in load_engine(folder).precisions
]


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    report = Reporter(Console(quiet=True))
    return ensure_artefact(load_group(ENGINES.parent), "gpt2", "random", report)


def run(
    folder: Path, model: Path, script: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The engine at work, or a script in its place."""
    environment = ensure_environment(folder, "cpu", Reporter(Console(quiet=True)))
    given = {"MODEL_DIR": str(model), "PAYLOADS_DIR": str(PAYLOADS), "MODEL": "gpt2"}
    timing = {"DEVICE": "cpu", "THREADS": "1", "SECONDS": "0.5", "BATCH_SIZES": "2,4"}
    return subprocess.run(
        ["python", "-c", script] if script else load_engine(folder).command,
        cwd=folder,
        env={"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", **given, **timing, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.mark.parametrize(("folder", "precision"), EACH)
def test_times_each_batch_size(folder: Path, precision: str, artefact: Artefact):
    """Tokens, and how many answers of the main set's mean length they are.

    Broken by counting the answers that ended: of a few seconds they are longer or shorter than the
    mean, and every open rate is a share of them.
    """
    said = run(folder, artefact.folder, PRECISION=precision)
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


@pytest.mark.parametrize(("folder", "precision"), EACH)
def test_wrong_answers_are_not_timed(
    folder: Path, precision: str, artefact: Artefact, tmp_path: Path
):
    """Wrong is what the gate would call so. Broken by an engine that times whatever comes out, and
    at bf16 by one that compares other tokens than the gate's first few."""
    gate = load_group(ENGINES.parent).parity
    first = gate.get("first_tokens", {}).get(precision)
    lead = gate["tolerance"][precision]
    model = tmp_path / "model"
    shutil.copytree(artefact.folder, model, copy_function=os.symlink)
    clear = {n: a for n, a in artefact.reference.items() if min(a["margins"][:first]) > lead}
    name, right = next(iter(clear.items()))
    last = len(right["tokens"][:first]) - 1
    tokens = [token + (n == last) for n, token in enumerate(right["tokens"])]
    (model / "reference.json").unlink()
    wrong = artefact.reference | {name: right | {"tokens": tokens}}
    (model / "reference.json").write_text(json.dumps(wrong))
    said = run(folder, model, PRECISION=precision)
    assert said.returncode == 1
    assert not [line for line in said.stdout.splitlines() if line.startswith("{")]
    assert name in said.stderr.splitlines()[-1]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_unknown_precision_is_refused(folder: Path, artefact: Artefact):
    """In one line. Broken by an engine that computes in fp32 whatever was asked for."""
    said = run(folder, artefact.folder, PRECISION="int8")
    assert said.returncode == 1 and said.stdout == ""
    assert "PRECISION=int8: must be fp32 or bf16" in said.stderr.splitlines()[-1]


ANSWERS = """
import os
from engine import *
precision, places = os.environ["PRECISION"], 4096
decoder = Decoder(Path(os.environ["MODEL_DIR"]), "cpu", precision, places)
prompts = load_prompts(Path(os.environ["PAYLOADS_DIR"]))[:16]
said = decoder.generate(prompts)
print(json.dumps({prompt.name: ids for prompt, (ids, _) in zip(prompts, said, strict=True)}))
"""


def test_pytorch_at_bf16_is_not_fp32(artefact: Artefact):
    """Of sixteen whole answers some go on otherwise than the reference, where fp32's repeat it.
    Broken by an engine that times fp32 under bf16's name."""
    different: dict[str, int] = {}
    for precision in ("fp32", "bf16"):
        said = run(ENGINES / "pytorch", artefact.folder, script=ANSWERS, PRECISION=precision)
        assert said.returncode == 0, said.stderr
        answers = json.loads(said.stdout.splitlines()[-1])
        clear = {name: ids for name, ids in answers.items() if artefact.expected[name]}
        different[precision] = sum(
            ids != artefact.reference[name]["tokens"] for name, ids in clear.items()
        )
    assert different["fp32"] == 0 < different["bf16"]


ASKED = """
import sys, types
from engine import Engine, Path
class LLM:
    def __init__(self, **asked):
        print(asked["dtype"])
    def get_tokenizer(self):
        pass
sys.modules["vllm"] = types.SimpleNamespace(LLM=LLM)
Engine(Path("model"), "cpu", "bf16", 4)
"""


def test_vllm_is_asked_for_bf16(artefact: Artefact):
    """Broken by an engine that asks vLLM for fp32 under bf16's name."""
    said = run(ENGINES / "vllm", artefact.folder, script=ASKED)
    assert said.stdout.split() == ["bfloat16"], said.stderr


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused(artefact: Artefact):
    said = run(ENGINES / "pytorch", artefact.folder, DEVICE="cuda")
    assert said.returncode == 1 and said.stdout == ""
    assert "DEVICE=cuda" in said.stderr.splitlines()[-1]
