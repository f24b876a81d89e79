"""The files of a results folder, on this machine or in object storage: listed, read, never written.

RESULTS is a path or an address that fsspec knows, such as s3://bucket/results.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fsspec.core import url_to_fs  # pyright: ignore[reportMissingTypeStubs,reportUnknownVariableType]
from fsspec.implementations.dirfs import DirFileSystem  # pyright: ignore[reportMissingTypeStubs]

from reports.columns import RESULTS

# <run>/run.json, <run>/stacks/x.json, <run>/raw/<trial>/requests.parquet: nothing lies deeper.
FOLDERS = ("stacks", "trials", "raw")
AT_ONCE = 500


@dataclass(frozen=True)
class Folder:
    """Where results lie: a folder's absolute path, or an address with ://."""

    address: str

    @property
    def remote(self) -> bool:
        return "://" in self.address


@dataclass(frozen=True)
class File:
    """One file: its path in the folder, with slashes, and a token that changes when it does."""

    path: str
    token: str


class FolderError(ValueError):
    """A folder that can't be listed; the message is one line."""


def results_folder(given: str | None = None) -> Folder:
    """The folder named, else RESULTS, else the checkout's `results/`."""
    named = given or os.environ.get("RESULTS") or str(RESULTS)
    return Folder(named.rstrip("/") if "://" in named else str(Path(named).resolve()))


def list_files(folder: Folder) -> list[File]:
    """Every file that may hold results, by path. Raises FolderError if storage can't be reached."""
    found = _remote(folder) if folder.remote else _local(Path(folder.address))
    return sorted(found, key=lambda file: file.path)


def matching(files: Iterable[File], pattern: str) -> list[File]:
    """Those whose path fits a glob in which * stands for one part of the path."""
    shape = re.compile(re.escape(pattern).replace(r"\*", "[^/]*"))
    return [file for file in files if shape.fullmatch(file.path)]


def read(folder: Folder, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    if not folder.remote:
        for file in files:
            yield file, _read_local(Path(folder.address, file.path))
        return
    fs, root = _connect(folder)
    for start in range(0, len(files), AT_ONCE):
        some = {f"{root}/{file.path}": file for file in files[start : start + AT_ONCE]}
        contents = cast("dict[str, Any]", fs.cat(list(some), on_error="return"))
        for place, file in some.items():
            content = contents[place]
            yield file, content if isinstance(content, bytes) else f"can't be read: {content}"


class RawRecords(DirFileSystem):
    """The raw records for DuckDB, as records://<path>: those listed can be read, nothing else done.

    DuckDB's own views over files would do, but a file that SQL may read it may also overwrite: a
    COPY hides in a WITH.
    """

    protocol = "records"
    cachable = False

    def __init__(self, folder: Folder, files: Iterable[File]) -> None:
        fs, root = _connect(folder)
        super().__init__(root, fs)  # pyright: ignore[reportUnknownMemberType]
        self._listed = frozenset(file.path for file in files)

    def _join(self, path: str | list[str]) -> Any:
        one = path if isinstance(path, str) else ""
        one = one.removeprefix("records://")
        if one not in self._listed:
            raise PermissionError(f"{path} is not a raw record of these results")
        return super()._join(one)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """The file, for reading."""
        if mode != "rb":
            raise PermissionError("the results are read-only")
        return super().open(path, mode, **kwargs)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]


def _local(root: Path) -> Iterator[File]:
    """By hand rather than by glob: a stat a file, which is what a hundred thousand of them bear."""
    for run in _entries(root):
        if not run.is_dir():
            continue
        for entry in _entries(Path(run.path)):
            if entry.name.endswith(".json"):
                yield _stamped(entry, f"{run.name}/{entry.name}")
            elif entry.name in FOLDERS and entry.is_dir():
                inner = f"{run.name}/{entry.name}"
                for file in _entries(Path(entry.path)):
                    if file.name.endswith(".json"):
                        yield _stamped(file, f"{inner}/{file.name}")
                    elif entry.name == "raw" and file.is_dir():
                        for part in _entries(Path(file.path)):
                            yield _stamped(part, f"{inner}/{file.name}/{part.name}")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _stamped(entry: os.DirEntry[str], path: str) -> File:
    try:
        stat = entry.stat()
    except OSError:
        return File(path, "")
    return File(path, f"{stat.st_size}-{stat.st_mtime_ns}")


def _read_local(file: Path) -> bytes | str:
    if not file.is_file():
        return "not a file"
    try:
        return file.read_bytes()
    except OSError as error:
        return str(error.strerror)


def _connect(folder: Folder) -> tuple[Any, str]:
    """(fsspec file system, the folder's path in it). Raises FolderError without a driver."""
    try:
        fs, root = cast("tuple[Any, str]", url_to_fs(folder.address))
    except (ImportError, ValueError) as error:
        raise FolderError(f"{folder.address}: {' '.join(str(error).split())}") from None
    return fs, root.rstrip("/")


def _remote(folder: Folder) -> Iterator[File]:
    fs, root = _connect(folder)
    fs.invalidate_cache()
    try:
        found = cast("dict[str, dict[str, Any]]", fs.find(root, detail=True))
    except Exception as error:
        # Each storage has errors of its own; all of them mean that there is nothing to read.
        raise FolderError(f"{folder.address}: {' '.join(str(error).split())}") from None
    for place, info in found.items():
        stamp = info.get("ETag") or info.get("LastModified") or info.get("mtime") or ""
        yield File(place.removeprefix(root).lstrip("/"), f"{info.get('size')}-{stamp}")
