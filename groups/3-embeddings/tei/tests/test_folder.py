"""The stack is skipped where it can't run, with the reason; its model folder is what TEI loads."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from bench.errors import StackSkipped
from bench.install import install
from bench.progress import Reporter
from bench.settings import read_settings
from bench.stack import load_stack

FOLDER = Path(__file__).resolve().parents[1]
FILES = ("config.json", "tokenizer.json", "model.safetensors", "encoder.onnx")


def prepare(model: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "prepare.py"],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "MODEL_DIR": str(model), "PREPARED_DIR": str(out)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    """An artefact in miniature: prepare.py copies the files and reads embedding.json only."""
    folder = tmp_path / "artefact"
    folder.mkdir()
    for file in FILES:
        (folder / file).write_text(f"this is {file}")
    # As model/weights.py writes it, in miniature: transformers knows no architecture yet.
    config = {"architectures": None, "model_type": "bert", "hidden_size": 384}
    (folder / "config.json").write_text(json.dumps(config))
    told = {"max_tokens": 256, "dimensions": 384, "pad_id": 0, "pooling": "mean"}
    (folder / "embedding.json").write_text(json.dumps(told))
    return folder


def test_it_is_skipped_natively_with_the_reason() -> None:
    """The bug this would catch: a stand-in, or a failure, where nothing can run."""
    with pytest.raises(StackSkipped, match="container only") as skipped:
        install(load_stack(FOLDER), "cpu", read_settings({}), Reporter(Console(quiet=True)))
    assert "tei/README.md" in (skipped.value.fix or "")


def test_the_images_are_pinned_and_the_readme_names_the_same() -> None:
    docker = (FOLDER / "Dockerfile").read_text()
    digests = set(re.findall(r"@sha256:([0-9a-f]{64})", docker))
    assert len(digests) == 2, "one a device"
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", (FOLDER / "README.md").read_text()))


def test_the_layout_is_what_tei_reads(artefact: Path, tmp_path: Path) -> None:
    """The bug this would catch: TEI truncating at 512 tokens, pooling by the first token, or ending
    at its start, as it does on a config.json whose `architectures` is no list."""
    out = tmp_path / "prepared"
    done = prepare(artefact, out)
    assert done.returncode == 0, done.stderr
    made = sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file())
    assert made == [
        "1_Pooling/config.json",
        "config.json",
        "model.onnx",
        "model.safetensors",
        "sentence_bert_config.json",
        "tokenizer.json",
    ]
    assert (out / "model.onnx").read_text() == "this is encoder.onnx"
    assert json.loads((out / "config.json").read_text())["architectures"] == ["BertModel"]
    assert json.loads((out / "sentence_bert_config.json").read_text()) == {"max_seq_length": 256}
    pooling = json.loads((out / "1_Pooling/config.json").read_text())
    assert pooling == {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def test_a_wrong_artefact_is_named(artefact: Path, tmp_path: Path) -> None:
    (artefact / "encoder.onnx").unlink()
    done = prepare(artefact, tmp_path / "prepared")
    assert done.returncode != 0
    assert "has no encoder.onnx" in done.stderr and "Traceback" not in done.stderr
    (artefact / "encoder.onnx").write_text("again")
    (artefact / "embedding.json").write_text('{"pooling": "max", "max_tokens": 256}')
    done = prepare(artefact, tmp_path / "prepared")
    assert "pooling is 'max'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "healthy"), [(200, True), (429, True), (424, False), (0, False)]
)
def test_the_health_check_takes_full_for_well(status: int, healthy: bool) -> None:
    """A busy server that is restarted for it moves its load to its neighbours, and so on. (0: none
    listens.)"""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])$", text, re.M)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status if self.path == "/embed" and asked["inputs"] else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port if status else 1)
        environ = {"PATH": os.environ["PATH"], "PORT": port}
        done = subprocess.run(json.loads(command), env=environ, check=False)
        server.shutdown()
    assert (done.returncode == 0) == healthy
