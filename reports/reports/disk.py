"""Results on this machine: listed and read, never written."""

import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from reports.files import File

# <run>/run.json, <run>/stacks/x.json, <run>/raw/<trial>/requests.parquet: nothing lies deeper.
FOLDERS = ("stacks", "trials")
ENDINGS = (".json", ".parquet")
_name = attrgetter("name")


def listed(root: str, raw: bool) -> list[File]:
    """Every file that may hold results, always in one order; the raw records only if `raw`.

    By hand rather than by glob: a stat a file, which is what a hundred thousand of them bear.
    """
    found: list[File] = []
    for run in _list(root, "", []):
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
        # By descriptor: a stat then need not walk the whole path.
        with os.scandir(at) as entries:
            for entry in sorted(entries, key=_name):
                name = entry.name
                if not name.endswith(ENDINGS):
                    if entry.is_dir():
                        folders.append(name)
                    continue
                try:
                    stat = entry.stat()
                    token = f"{stat.st_size}-{stat.st_mtime_ns}"
                except OSError:
                    token = ""
                found.append(File(inside + (name if name.isascii() else _text(name)), token))
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
