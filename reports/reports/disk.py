"""Results on this machine: listed and read, never written."""

import marshal
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.files import File

# <run>/run.json, <run>/stacks/x.json, <run>/raw/<trial>/requests.parquet: nothing lies deeper.
FOLDERS = ("stacks", "trials")
ENDINGS = (".json", ".parquet")
# From so many runs on, two processes share them: it is a stat a file that takes the time.
MANY = 100


def listed(root: str, raw: bool) -> list[File]:
    """Every file that may hold results, always in one order; the raw records only if `raw`."""
    runs = _list(root, "", [])
    if len(runs) < MANY:
        return _in_runs(root, runs, raw)
    half = len(runs) // 2
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Whatever happens, nothing of the parent's is cleaned up here.
        try:
            os.close(reading)
            found = _in_runs(root, runs[half:], raw)
            with open(writing, "wb") as pipe:
                marshal.dump([(file.path, file.token) for file in found], pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        first = _in_runs(root, runs[:half], raw)
        told = pipe.read()
    os.waitpid(child, 0)
    try:
        return first + [File(*one) for one in marshal.loads(told)]
    except (EOFError, ValueError):
        # It was killed.
        return first + _in_runs(root, runs[half:], raw)


def _in_runs(root: str, runs: Sequence[str], raw: bool) -> list[File]:
    found: list[File] = []
    for run in runs:
        inside = _text(run)
        for folder in _list(f"{root}/{run}", f"{inside}/", found):
            if folder in FOLDERS:
                _list(f"{root}/{run}/{folder}", f"{inside}/{folder}/", found)
            elif folder == "raw" and raw:
                for trial in _list(f"{root}/{run}/raw", "", []):
                    place = f"{inside}/raw/{_text(trial)}/"
                    _list(f"{root}/{run}/raw/{trial}", place, found)
    return found


def _list(folder: str, inside: str, found: list[File]) -> list[str]:
    """Add a folder's files to `found` as `inside` + name; returns the names of its folders."""
    folders: list[str] = []
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return folders
    try:
        for name in sorted(os.listdir(at)):
            try:
                # By descriptor: it need not walk the whole path.
                facts = os.stat(name, dir_fd=at)
            except OSError:
                facts = None
            if name.endswith(ENDINGS):
                token = f"{facts.st_size}-{facts.st_mtime_ns}" if facts else ""
                found.append(File(inside + (name if name.isascii() else _text(name)), token))
            elif facts and stat.S_ISDIR(facts.st_mode):
                folders.append(name)
    except OSError:
        pass
    finally:
        os.close(at)
    return folders


def _text(name: str) -> str:
    """A name that can be told; one that is no UTF-8 is none of ours, and then found no more."""
    return name.encode("utf-8", "backslashreplace").decode()


def read(root: str, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    for file in files:
        yield file, _content(Path(root, file.path))


def _content(file: Path) -> bytes | str:
    if not file.is_file():
        return "not a file"
    try:
        return file.read_bytes()
    except OSError as error:
        return str(error.strerror)
