"""The files of a results folder, wherever it lies: listed, read, never written."""

import marshal
import os
import sys
from collections.abc import Callable, Iterator
from typing import cast

from reports import disk
from reports.files import File, Folder, Listed


def list_files(folder: Folder, *, raw: bool = True) -> list[Listed]:
    """Every folder that may hold results, always in one order; the raw records only if `raw`.

    Raises FolderError if there is no such folder, or storage can't be reached.
    """
    if folder.remote:
        # Here, for its drivers take longer to import than a query takes.
        from reports import storage

        return storage.listed(folder)
    return disk.listed(folder.address, raw)


def list_ahead(folder: Folder, *, raw: bool) -> Callable[[], list[Listed]]:
    """Begin list_files in a process of its own; the function returned waits for what it found.

    A hundred thousand files take as long to list as DuckDB takes to import. Where that is done,
    nothing is gained: then, and for storage elsewhere, the list is made when it is asked for.
    """
    if folder.remote or "duckdb" in sys.modules:
        return lambda: list_files(folder, raw=raw)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            found = list_files(folder, raw=raw)
            with open(writing, "wb") as to:
                marshal.dump([(one.folder, one.names, one.tokens) for one in found], to)
        finally:
            os._exit(0)
    os.close(writing)

    def listed() -> list[Listed]:
        with open(reading, "rb") as told:
            text = told.read()
        os.waitpid(child, 0)
        try:
            found = cast("list[tuple[str, list[str], list[str]]]", marshal.loads(text))
        except (EOFError, ValueError):
            # What kept it from listing is found here too, and said.
            return list_files(folder, raw=raw)
        return [Listed(*one) for one in found]

    return listed


def read(folder: Folder, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    if folder.remote:
        from reports import storage

        return storage.read(folder, files)
    return disk.read(folder.address, files)
