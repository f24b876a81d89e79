"""The files of a results folder, on this machine or in object storage: listed, read, never written.

RESULTS is a path or an address that fsspec knows, such as s3://bucket/results.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from reports.columns import RESULTS

# <run>/run.json, <run>/stacks/x.json, <run>/raw/<trial>/requests.parquet: nothing lies deeper.
FOLDERS = ("stacks", "trials")
ENDINGS = (".json", ".parquet")
_name = attrgetter("name")


@dataclass(frozen=True)
class Folder:
    """Where results lie: a folder's absolute path, or an address with ://."""

    address: str

    @property
    def remote(self) -> bool:
        return "://" in self.address


class File(NamedTuple):
    """One file: its path in the folder, with slashes, and a token that changes when it does.

    A tuple, for there may be a hundred thousand of them.
    """

    path: str
    token: str


class FolderError(ValueError):
    """A folder that can't be listed; the message is one line."""


def results_folder(given: str | None = None) -> Folder:
    """The folder named, else RESULTS, else the checkout's `results/`."""
    named = given or os.environ.get("RESULTS") or str(RESULTS)
    return Folder(named.rstrip("/") if "://" in named else str(Path(named).resolve()))


def list_files(folder: Folder, *, raw: bool = True) -> list[File]:
    """Every file that may hold results, always in one order; the raw records only if `raw`.

    Raises FolderError if storage can't be reached.
    """
    if folder.remote:
        from reports import storage

        return sorted(storage.listed(folder))
    return _local(folder.address, raw)


def matching(files: Iterable[File], patterns: Sequence[str]) -> list[list[File]]:
    """For each glob the files that fit it; * stands for one part of a path, or some of it."""
    shapes = [re.escape(pattern).replace(r"\*", "[^/]*") for pattern in patterns]
    # All in one pass: a group a pattern.
    fits = re.compile("|".join(f"({shape})" for shape in shapes)).fullmatch
    found: list[list[File]] = [[] for _ in patterns]
    for file in files:
        if (fit := fits(file.path)) and fit.lastindex:
            found[fit.lastindex - 1].append(file)
    return found


def read(folder: Folder, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    if folder.remote:
        from reports import storage

        yield from storage.read(folder, files)
        return
    for file in files:
        yield file, _read_local(Path(folder.address, file.path))


def _local(root: str, raw: bool) -> list[File]:
    """By hand rather than by glob: a stat a file, which is what a hundred thousand of them bear."""
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


def _read_local(file: Path) -> bytes | str:
    if not file.is_file():
        return "not a file"
    try:
        return file.read_bytes()
    except OSError as error:
        return str(error.strerror)
