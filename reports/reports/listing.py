"""The files of a results folder, wherever it lies: listed, read, never written."""

from collections.abc import Iterator

from reports import disk
from reports.files import File, Folder, Listed


def list_files(folder: Folder, *, raw: bool = True) -> list[Listed]:
    """Every folder that may hold results, always in one order; the raw records only if `raw`.

    Raises FolderError if storage can't be reached.
    """
    if folder.remote:
        # Here, for its drivers take longer to import than a query takes.
        from reports import storage

        return storage.listed(folder)
    return disk.listed(folder.address, raw)


def read(folder: Folder, files: list[File]) -> Iterator[tuple[File, bytes | str]]:
    """Each file with its bytes, or with what is wrong with it in words."""
    if folder.remote:
        from reports import storage

        return storage.read(folder, files)
    return disk.read(folder.address, files)
