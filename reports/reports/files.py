"""A results folder and its files, as a path on this machine or an address that fsspec knows."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from reports.columns import RESULTS


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


def matching(files: Iterable[File], patterns: Sequence[str]) -> list[list[File]]:
    """For each glob the files that fit it; * stands for one part of a path, or some of it."""
    # A part before a slash is taken whole: it is never tried shorter.
    shapes = [
        re.escape(pattern).replace(r"\*/", "[^/]*+/").replace(r"\*", "[^/]*")
        for pattern in patterns
    ]
    # All in one pass: a group a pattern.
    fits = re.compile("|".join(f"({shape})" for shape in shapes)).fullmatch
    found: list[list[File]] = [[] for _ in patterns]
    for file in files:
        if (fit := fits(file.path)) and fit.lastindex:
            found[fit.lastindex - 1].append(file)
    return found
