"""The artefact is what its manifest says, fits every server, and exposes wrong work."""

import hashlib
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.artefact import Artefact, ensure_artefact, read_payloads
from bench.environments import ensure_environment
from bench.group import load_group
from bench.parity import check
from bench.progress import Reporter

pytestmark = pytest.mark.slow  # it is built, which takes minutes
MODEL = Path(__file__).resolve().parent.parent
GROUP = load_group(MODEL.parent)
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return ensure_artefact(GROUP, "gpt2", "random", Reporter(Console(quiet=True)))


def build(out: Path, *options: str, payloads: Path) -> subprocess.CompletedProcess[str]:
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    python = str(environment / "bin" / "python")
    return subprocess.run(
        [python, "-P", "build.py", "--payloads", str(payloads), "--out", str(out), *options],
        cwd=MODEL,
        env={"HF_ENDPOINT": NOWHERE, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_files_are_those_of_the_manifest(artefact: Artefact):
    """A file that was changed after the build must be found out by its digest."""
    files: dict[str, Any] = artefact.manifest["files"]
    present = {path.name for path in artefact.folder.iterdir()} - {"manifest.json"}
    assert present == set(files)
    for name, entry in files.items():
        data = (artefact.folder / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name


def test_the_weights_are_of_full_size(artefact: Artefact):
    """Counted in the file itself. Broken by an untied head, which would be 38 million more."""
    with (artefact.folder / "model.safetensors").open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    counts = 0
    for tensor in header.values():
        count = 1
        for side in tensor["shape"]:
            count *= side
        counts += count
        assert tensor["dtype"] == "F32"
    assert counts == artefact.manifest["parameters"] == 124_439_808


def test_generated_text_is_printable_ascii(artefact: Artefact):
    """Every piece is distinct and the vocabulary is of the real size. Broken by a surplus id that
    decodes to nothing, or by half a character that a server would hold back."""
    tokenizer = json.loads((artefact.folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    assert len(vocabulary) == len(set(vocabulary.values())) == 50_257
    pieces = {number: piece for piece, number in vocabulary.items()}
    spoken = {token for answer in artefact.reference.values() for token in answer["tokens"]}
    assert len(spoken) > 500
    for token in spoken:
        piece = pieces[token].replace("Ġ", " ")
        assert piece and piece.isascii() and piece.isprintable(), piece


def test_answers_tell_prompts_apart(artefact: Artefact):
    """Nearly all differ within four tokens, and most have no close step: else the gate is blind."""
    heads = {tuple(answer["tokens"][:4]) for answer in artefact.reference.values()}
    assert len(heads) > 0.98 * len(artefact.reference) > 300
    clear = [key for key in artefact.expected.values() if key is not None]
    assert len(clear) > 0.9 * len(artefact.reference)
    assert len(artefact.expected) == 376


def test_batches_change_no_answer(artefact: Artefact):
    """A payload of each kind, alone and by transformers' own `generate`: the same tokens. Broken by
    a mask or a position that counts the padding, or by keys of a row that has left its batch."""
    names = ["completion-043", "completion-215", "chat-00", "long-00", "prefix-01"]
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    script = MODEL / "tests" / "by_generate.py"
    said = subprocess.run(
        [
            environment / "bin" / "python",
            "-P",
            script,
            artefact.folder,
            MODEL.parent / "payloads",
            *names,
        ],
        env={"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for name, tokens in json.loads(said.stdout).items():
        reference = artefact.reference[name]
        close = [n for n, lead in enumerate(reference["margins"]) if lead <= 1e-3]
        assert tokens[: min(close, default=None)] == reference["tokens"][: min(close, default=None)]
    assert len(json.loads(said.stdout)) == len(names)


def test_the_gate_catches_wrong_work(artefact: Artefact):
    """Swapped answers, one wrong token, an answer cut short, and an echo of the prompt."""
    probes = [payload.name for payload in read_payloads(GROUP) if payload.probe]
    assert len(probes) >= 8

    def passes(change: Any) -> bool:
        answers = [
            {"payload": name, "answer": change(n, list(artefact.reference[name]["tokens"]))}
            for n, name in enumerate(probes)
        ]
        return check(answers, artefact.reference, probes, GROUP.parity, "fp32").passed

    assert passes(lambda n, tokens: tokens)
    other = [artefact.reference[name]["tokens"] for name in probes[1:] + probes[:1]]
    assert not passes(lambda n, tokens: (other[n] * 64)[: len(tokens)])
    assert not passes(lambda n, tokens: tokens[:-1])
    assert not passes(lambda n, tokens: [tokens[0] + 1, *tokens[1:]] if n == 3 else tokens)
    assert not passes(lambda n, tokens: list(range(len(tokens))))


def test_faults_are_said_in_a_line(tmp_path: Path):
    """No hub, no weights (exit 3); a payload that is another one (exit 1)."""
    payloads = MODEL.parent / "payloads"
    said = build(tmp_path / "a", "--weights", "pretrained", payloads=payloads)
    assert said.returncode == 3 and said.stderr.count("\n") == 1 and NOWHERE in said.stderr
    said = build(
        tmp_path / "b", "--model", "opt-125m", "--weights", "pretrained", payloads=payloads
    )
    assert said.returncode == 3 and "facebook/opt-125m is pinned" in said.stderr
    wrong = tmp_path / "payloads"
    wrong.mkdir()
    entry = {"name": "x", "file": "x.json", "sha256": "0" * 64, "bytes": 2}
    (wrong / "manifest.json").write_text(json.dumps([entry]))
    (wrong / "x.json").write_text("{}")
    said = build(tmp_path / "c", "--weights", "random", payloads=wrong)
    assert said.returncode == 1 and "x.json" in said.stderr
    assert not list(tmp_path.glob("[abc]*"))
