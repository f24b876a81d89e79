"""What needs fsspec: object storage, and the raw records as DuckDB may see them."""

import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any, cast

from fsspec.core import url_to_fs  # pyright: ignore[reportMissingTypeStubs,reportUnknownVariableType]
from fsspec.implementations.dirfs import DirFileSystem  # pyright: ignore[reportMissingTypeStubs]

from reports.files import File, Folder, FolderError, Listed

AT_ONCE = 500


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
        return Shared(super().open(path, mode, **kwargs))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]


class Shared:
    """A file that several threads read, each from where it has sought to.

    DuckDB's threads share one handle, and seek and read in two calls: with one position for all,
    one thread gets the bytes that another has asked for.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lock = threading.Lock()
        # By number: a thread of DuckDB's is a new one to Python at each call.
        self._at: dict[int, int] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._lock:
            if whence == os.SEEK_CUR:
                offset, whence = offset + self._at.get(threading.get_ident(), 0), os.SEEK_SET
            at = int(self._file.seek(offset, whence))
            self._at[threading.get_ident()] = at
            return at

    def tell(self) -> int:
        return self._at.get(threading.get_ident(), 0)

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            self._file.seek(self.tell())
            content = bytes(self._file.read(size))
            self._at[threading.get_ident()] = self._file.tell()
            return content

    def close(self) -> None:
        self._file.close()


def listed(folder: Folder) -> list[Listed]:
    """Every folder below an address. Raises FolderError if storage can't be reached."""
    fs, root = _connect(folder)
    fs.invalidate_cache()
    try:
        found = cast("dict[str, dict[str, Any]]", fs.find(root, detail=True))
    except Exception as error:
        # Each storage has errors of its own; all of them mean that there is nothing to read.
        raise FolderError(f"{folder.address}: {' '.join(str(error).split())}") from None
    folders: dict[str, Listed] = {}
    for place, info in sorted(found.items()):
        inside, _, name = place.removeprefix(root).lstrip("/").rpartition("/")
        stamp = info.get("ETag") or info.get("LastModified") or info.get("mtime") or ""
        one = folders.setdefault(inside, Listed(inside, [], []))
        one.names.append(name)
        one.tokens.append(f"{info.get('size')}-{stamp}")
    return list(folders.values())


def read(folder: Folder, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    fs, root = _connect(folder)
    for start in range(0, len(files), AT_ONCE):
        some = {f"{root}/{file.path}": file for file in files[start : start + AT_ONCE]}
        contents = cast("dict[str, Any]", fs.cat(list(some), on_error="return"))
        for place, file in some.items():
            content = contents[place]
            yield file, content if isinstance(content, bytes) else f"can't be read: {content}"


def _connect(folder: Folder) -> tuple[Any, str]:
    """(fsspec file system, the folder's path in it). Raises FolderError without a driver."""
    try:
        fs, root = cast("tuple[Any, str]", url_to_fs(folder.address))
    except (ImportError, ValueError) as error:
        raise FolderError(f"{folder.address}: {' '.join(str(error).split())}") from None
    return fs, root.rstrip("/")
