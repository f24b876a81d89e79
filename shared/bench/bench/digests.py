"""SHA-256 of files and folders: what decides whether something must be built again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

IGNORED = {"__pycache__", ".pytest_cache", "tests", "bench", "node_modules"}


def file_digest(file: Path) -> str:
    """SHA-256 of one file's content, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def combined(parts: Iterable[str]) -> str:
    """One digest over several words, in order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def folder_digest(folder: Path) -> str:
    """One digest over a folder's file names and contents; prose, `IGNORED` ones left out."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.suffix != ".md"
        and not IGNORED & set(file.relative_to(folder).parts)
    )
    return combined(f"{file.relative_to(folder)} {file_digest(file)}" for file in files)
