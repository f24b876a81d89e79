"""One virtual environment a project, installed from its hash lock."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.building import only_builder
from bench.commands import find_program, run_shown
from bench.digests import combined, file_digest
from bench.errors import StackSkipped
from bench.paths import BUILD, slug
from bench.progress import Reporter
from bench.stack import Requirement
from bench.toml_files import where
from bench.tools import uv


def lock_for(project: Path, device: str) -> Path | None:
    """The project's lock for a device, or None."""
    lock = project / f"requirements.{device}.lock"
    return lock if lock.exists() else None


def find_python(wanted: str) -> str | None:
    """A Python on this machine in the wanted range, this one if it fits; None if there is none."""
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    said = subprocess.run(
        [uv(), "python", "find", "--no-project", "--system", wanted],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )
    return said.stdout.strip() or None


def environment_path(project: Path, device: str) -> Path:
    """Where a project's environment lies."""
    return BUILD / "envs" / f"{slug(project)}-{device}"


def ensure_environment(
    project: Path, device: str, report: Reporter, python: str = ">=3.11"
) -> Path:
    """Install a project's lock unless that is done already.

    Raises StackSkipped if there is no lock or no fitting Python, StackFailed if installing fails.
    """
    lock = lock_for(project, device)
    if lock is None:
        raise StackSkipped(
            f"no requirements.{device}.lock: it does not run natively with DEVICE={device}"
        )
    interpreter = find_python(python)
    if interpreter is None:
        raise StackSkipped(
            f"needs Python {python}, found {sys.version_info.major}.{sys.version_info.minor} only",
            fix=f"install a Python {python} and put it on PATH",
        )
    env = environment_path(project, device)
    with only_builder(env, report):
        install_lock(project, lock, env, interpreter, report)
    return env


def install_lock(project: Path, lock: Path, env: Path, interpreter: str, report: Reporter) -> None:
    """Make the environment anew unless it holds this very lock. Raises StackFailed."""
    stamp = env / "lock.stamp"
    key = combined([file_digest(lock), interpreter])
    if stamp.exists() and stamp.read_text() == key:
        return
    report.step(f"installing {where(project)} from {lock.name}")
    name = where(project)
    for command in (
        [uv(), "venv", "--quiet", "--clear", "--python", interpreter, str(env)],
        [
            *(uv(), "pip", "sync", "--require-hashes", "--allow-empty-requirements"),
            *("--python", str(env), str(lock)),
        ],
    ):
        run_shown(
            command,
            cwd=project,
            env={"UV_PYTHON_DOWNLOADS": "never"},
            show=lambda line: report.detail(f"{name}: {line}"),
            what=f"installing {name}",
        )
    stamp.write_text(key)


def python_of(env: Path | None) -> str:
    """An environment's Python; None is RUNTIME=ambient, the one on PATH. Raises StackSkipped."""
    if env:
        return str(env / "bin" / "python")
    if found := find_program("python"):
        return found
    raise StackSkipped("there is no python on PATH, which RUNTIME=ambient would run it in")


def installed_version(env: Path | None, distribution: str) -> str | None:
    """The version of a distribution in an environment (None: of PATH's Python)."""
    code = (
        "import sys, importlib.metadata as m\n"
        "try: print(m.version(sys.argv[1]))\n"
        "except m.PackageNotFoundError: pass"
    )
    said = subprocess.run(
        [python_of(env), "-P", "-c", code, distribution],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or None


def ambient_packages() -> dict[str, str]:
    """Every distribution in PATH's Python, with its version: all that is known of such a run's."""
    code = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    said = subprocess.run(
        [python_of(None), "-P", "-c", code], capture_output=True, text=True, check=False
    )
    return dict(sorted(json.loads(said.stdout or "{}").items()))


def size_mb(folder: Path) -> float:
    """Disk space of a folder's files in MB (10^6 bytes); links count nothing."""
    return round(
        sum(
            file.lstat().st_size
            for file in folder.rglob("*")
            if not file.is_symlink() and file.is_file()
        )
        / 1e6,
        1,
    )


def missing(requirement: Requirement, python: str | None) -> str | None:
    """Why a requirement isn't met on this machine, or None if it is."""
    if requirement.path and not Path(requirement.path).exists():
        return f"there is no {requirement.path}"
    if requirement.command:
        return missing_command(requirement.command, requirement.min_version)
    if requirement.shared_library and python:
        return missing_library(requirement.shared_library, python)
    return None


def missing_command(command: str, min_version: str | None) -> str | None:
    """Why a command doesn't do, or None."""
    found = shutil.which(command)
    if not found:
        return f"{command} is not on PATH"
    if min_version:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
        text = said.stdout + said.stderr
        version = next(
            (word.strip('"') for word in text.split() if word.strip('"')[:1].isdigit()), ""
        )
        major = version.split(".")[0].split("-")[0]
        if not major.isdigit() or int(major) < int(min_version.split(".")[0]):
            return f"{command} is {version or 'of an unknown version'}, needs {min_version}"
    return None


def missing_library(library: str, python: str) -> str | None:
    """Why that Python's shared library can't be found, or None. `{python}` is its X.Y."""
    code = (
        "import sys, sysconfig, ctypes, os\n"
        "name = sys.argv[1].replace('{python}', '%d.%d' % sys.version_info[:2])\n"
        "dirs = [sysconfig.get_config_var('LIBDIR') or '', sys.base_prefix + '/lib', '']\n"
        "for d in dirs:\n"
        "    try: ctypes.CDLL(os.path.join(d, name)); sys.exit(0)\n"
        "    except OSError: pass\n"
        "print(name); sys.exit(1)"
    )
    said = subprocess.run(
        [python, "-c", code, library], capture_output=True, text=True, check=False
    )
    return f"{said.stdout.strip()} is not installed" if said.returncode else None


def check_requirements(requires: tuple[Requirement, ...], python: str | None, device: str) -> None:
    """Raise StackSkipped for the first requirement, on this device, that isn't met."""
    for requirement in requires:
        if requirement.device in (None, device) and (why := missing(requirement, python)):
            raise StackSkipped(why, fix=requirement.fix)
