"""The artefact is what its manifest says, and its parity check sees wrong work."""

import hashlib
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.artefact import Artefact, ensure_artefact, read_payloads
from bench.environments import ensure_environment
from bench.group import load_group
from bench.progress import Reporter

MODEL = Path(__file__).resolve().parent.parent
PAYLOADS = MODEL.parent / "payloads"
GROUP = load_group(MODEL.parent)
TOLERANCE = GROUP.parity["tolerance"]


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the builder's environment."""
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    return str(environment / "bin" / "python")


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return ensure_artefact(GROUP, "minilm", "auto", Reporter(Console(quiet=True)))


@pytest.fixture(scope="module")
def drifts(python: str, artefact: Artefact) -> dict[str, dict[str, float]]:
    """{mutation: {probe: 1 − cosine}} of answers that probe.py made wrong on purpose."""
    script = str(MODEL / "tests" / "probe.py")
    done = subprocess.run(
        [python, "-P", script, str(artefact.folder), str(PAYLOADS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_manifest_lists_every_file_and_its_digest(artefact: Artefact):
    files = artefact.manifest["files"]
    assert set(files) == {path.name for path in artefact.folder.iterdir()} - {"manifest.json"}
    for name, entry in files.items():
        data = (artefact.folder / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name


def test_the_weights_are_the_real_ones(artefact: Artefact):
    """The package ships them, so `auto` has no excuse; and they rank words as people do."""
    assert artefact.weights == "pretrained"
    quality = artefact.manifest["quality"]
    assert quality["fp32"] > 0.5 and abs(quality["fp32"] - quality["int8"]) < 0.03
    assert abs(quality["fp32"] - quality["fp16"]) < 0.001


def test_the_texts_are_what_the_group_says():
    """A thousand at least, no two alike; in the main set a tenth is ten times as long as most, in
    `uniform` none is twice as long. Broken by a selection that padding can't hurt, and by one
    without the texts that tokenizers disagree on."""
    entries = json.loads((PAYLOADS / "manifest.json").read_text())
    texts = [entry["text"] for entry in entries]
    assert len(set(texts)) == len(texts) >= 1_000
    sent = [entry for entry in entries if not entry.get("audit")]
    main, uniform = (
        sorted(len(entry["text"].split()) for entry in sent if entry.get("set") == each)
        for each in (None, "uniform")
    )
    assert main[-len(main) // 10] >= 10 * main[len(main) // 2]
    assert uniform[-1] < 2 * uniform[0]
    odd = {"one-space", "one-token", "over-long", "emoji", "arabic", "hebrew", "chinese"}
    assert odd <= {entry["name"] for entry in entries if entry.get("probe")}


def test_the_limit_is_the_one_that_the_group_states(artefact: Artefact):
    """Where people read it. Broken by a change in one place only."""
    told = tomllib.loads((MODEL.parent / "group.toml").read_text())["models"]["minilm"]["title"]
    limit = json.loads((artefact.folder / "embedding.json").read_text())["max_tokens"]
    assert f"{limit} tokens at most" in told


def test_every_payload_has_a_reference_and_many_a_key(artefact: Artefact):
    names = [payload.name for payload in read_payloads(GROUP)]
    assert list(artefact.reference) == list(artefact.expected) == names
    keys = [key for key in artefact.expected.values() if key is not None]
    assert len(keys) > len(names) / 10 and len(set(keys)) > 20


def test_the_gate_sees(drifts: dict[str, dict[str, float]], artefact: Artefact):
    """Each mistake that a stack may make moves some probe beyond the tolerance; a right answer in
    any precision moves none. Broken by a probe set in which nothing is padded, cut or cased."""
    assert max(drifts["nothing"].values()) <= TOLERANCE["fp32"] / 10
    assert 1e-7 < max(drifts["fp16"].values()) <= TOLERANCE["fp16"] / 10
    assert max(drifts["int8"].values()) <= TOLERANCE["int8"]
    mistakes = set(drifts) - {"nothing", "fp16", "int8"}
    assert mistakes >= {"padding in the mean", "no mask", "first token", "limit 128", "cased"}
    for mistake in mistakes:
        far = {name for name, drift in drifts[mistake].items() if drift > TOLERANCE["fp32"]}
        assert far, mistake


def test_every_text_is_within_the_tolerance_of_its_precision(artefact: Artefact):
    """Not the probes alone; and fp16 is half the size. Broken by int8 weights whose products
    saturate on some processors: one text was 0.022 off there."""
    checks, files = artefact.manifest["checks"], artefact.manifest["files"]
    assert 0 < checks["fp16_drift"] <= TOLERANCE["fp16"] / 10
    assert TOLERANCE["fp32"] < checks["int8_drift"] <= TOLERANCE["int8"]
    assert files["encoder.fp16.onnx"]["bytes"] < 0.51 * files["encoder.onnx"]["bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "parameters"), [("minilm", 22_565_376), ("sbert", 108_891_648)])
def test_random_weights_tell_texts_apart(python: str, tmp_path: Path, model: str, parameters: int):
    """Full size, and no two probes alike: the builder itself refuses a blind reference."""
    out = tmp_path / "out"
    command = [python, "-P", "build.py", "--model", model, "--weights", "random"]
    subprocess.run(
        [*command, "--payloads", str(PAYLOADS), "--out", str(out)], cwd=MODEL, check=True
    )
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    assert manifest["weights"] == "random" and manifest["parameters"] == parameters
    assert "quality" not in manifest
    assert manifest["checks"]["least_pairwise_difference"] >= 10 * TOLERANCE["fp32"]
    assert 0 < manifest["checks"]["fp16_drift"] <= TOLERANCE["fp16"]
