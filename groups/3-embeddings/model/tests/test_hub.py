"""Weights that only the hub has, up to its boundary: a hub on loopback says what hubs say."""

import hashlib
import io
import json
import pickle
import socket
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.environments import ensure_environment
from bench.progress import Reporter

MODEL = Path(__file__).resolve().parent.parent
REPOSITORY = "sentence-transformers/bert-base-nli-mean-tokens"


def safetensors(values: list[float]) -> bytes:
    """One fp32 tensor `a`, by the format's own description."""
    data = struct.pack(f"<{len(values)}f", *values)
    entry = {"a": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, len(data)]}}
    header = json.dumps(entry).encode()
    return struct.pack("<Q", len(header)) + header + data


def pickled() -> bytes:
    """A .bin as PyTorch writes them, with a call in it that would leave a mark."""

    class Mark:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("a pickle ran",))

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Mark()}, protocol=2))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


GOOD, OTHER = safetensors([1, 2, 3]), safetensors([1, 2, 4])
# {commit: {file: (what is sent, what the commit says it is)}}
COMMITS = {
    "whole": {"model.safetensors": (GOOD, GOOD), "pytorch_model.bin": (OTHER, OTHER)},
    "exchanged": {"model.safetensors": (OTHER, GOOD)},
    "cut": {"model.safetensors": (GOOD[:-4], GOOD)},
    "empty": {},
    "pickled": {"pytorch_model.bin": (pickled(), pickled())},
}


class Hub(BaseHTTPRequestHandler):
    """Two of a hub's answers: what a commit has, and one of its files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.path.startswith("/api/"):
            return self.do_HEAD()
        commit = self.path.rpartition("/")[2].removesuffix("?blobs=true")
        if self.path != f"/api/models/{REPOSITORY}/revision/{commit}?blobs=true":
            return self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if commit not in COMMITS:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = [
            {
                "rfilename": name,
                "size": len(file),
                "blobId": "0" * 40,
                "lfs": {"sha256": digest(file), "size": len(file), "pointerSize": 134},
            }
            for name, (_, file) in COMMITS[commit].items()
        ]
        files.append({"rfilename": "config.json", "size": 2, "blobId": "0" * 40})
        about = {"id": REPOSITORY, "sha": commit, "siblings": files}
        self.say(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def do_HEAD(self) -> None:
        commit, name = self.path.removeprefix(f"/{REPOSITORY}/resolve/").split("/")
        sent, file = COMMITS[commit][name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest(file)}"', "Accept-Ranges": "bytes"}
        self.say(200, sent, headers)

    def say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def digest(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()


@pytest.fixture(scope="module")
def python() -> str:
    environment = ensure_environment(MODEL, "cpu", Reporter(Console(quiet=True)))
    return str(environment / "bin" / "python")


@pytest.fixture(scope="module")
def fetched(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """{commit: what was made of it}, with "printed" for what else was said."""
    folder = tmp_path_factory.mktemp("hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    done = subprocess.run(
        [python, "-P", MODEL / "tests" / "fetch.py", folder, *COMMITS, "unknown"],
        env={
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    yield {**json.loads(last), "printed": printed}


def test_a_commits_own_file_is_taken(fetched: dict[str, Any]) -> None:
    """safetensors where there are both, and what is in it."""
    assert fetched["whole"] == {
        "name": "model.safetensors",
        "sha256": digest(GOOD),
        "tensors": {"a": [1, 2, 3]},
    }


@pytest.mark.parametrize(
    ("commit", "error", "said"),
    [
        ("exchanged", "WeightsWrong", digest(OTHER)),
        ("cut", "WeightsWrong", digest(GOOD[:-4])),
        ("empty", "WeightsUnavailable", "has none of model.safetensors"),
        ("unknown", "WeightsUnavailable", f"{REPOSITORY}@unknown"),
    ],
)
def test_another_file_is_refused(
    commit: str, error: str, said: str, fetched: dict[str, Any]
) -> None:
    """Weights that were exchanged on their way would be measured under the model's name."""
    assert fetched[commit]["error"] == error
    assert said in fetched[commit]["said"]


def test_a_pickle_is_not_run(fetched: dict[str, Any]) -> None:
    """A .bin is a pickle, and a pickle is a program."""
    assert fetched["pickled"]["error"] == "WeightsWrong"
    assert "pytorch_model.bin holds more than tensors" in fetched["pickled"]["said"]
    assert fetched["printed"] == []


@pytest.mark.parametrize("hub", ["closed", "silent"])
def test_without_a_hub_it_is_said(hub: str, python: str, tmp_path: Path) -> None:
    """Exit code 3, never random weights under the name of real ones, and no waiting without end
    for a hub that takes the connection and says nothing."""
    taken = socket.create_server(("127.0.0.1", 0))
    nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    if hub == "closed":
        taken.close()
    done = subprocess.run(
        [
            *(python, "-P", "build.py", "--model", "sbert", "--weights", "pretrained"),
            *("--payloads", str(MODEL.parent / "payloads"), "--out", str(tmp_path / "out")),
        ],
        cwd=MODEL,
        env={"HF_ENDPOINT": nowhere, "HF_HUB_ETAG_TIMEOUT": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    taken.close()
    assert done.returncode == 3
    assert "pretrained weights can't be had" in done.stderr and REPOSITORY in done.stderr
    assert not (tmp_path / "out").exists()
