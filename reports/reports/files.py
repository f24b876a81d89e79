"""A results folder and its files, as a path on this machine or an address that fsspec knows."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
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
    """One file: its path in the folder, with slashes, and a token that changes when it does."""

    path: str
    token: str


@dataclass(frozen=True)
class Listed:
    """What lies directly in one folder, named by its path: the files' names and their tokens."""

    folder: str
    names: list[str]
    tokens: list[str]


@dataclass(frozen=True)
class Files:
    """Files, folder by folder: of a hundred thousand, often only the number and state matter."""

    folders: list[Listed]

    def __len__(self) -> int:
        return sum(len(listed.names) for listed in self.folders)

    def __iter__(self) -> Iterator[File]:
        for listed in self.folders:
            for name, token in zip(listed.names, listed.tokens, strict=True):
                yield File(f"{listed.folder}/{name}", token)

    def state(self) -> str:
        """A digest of all paths and tokens: it differs when any file does."""
        digest = hashlib.sha256()
        for listed in self.folders:
            # No name is empty or holds a zero byte.
            told = (listed.folder, *listed.names, "", *listed.tokens, "")
            digest.update("\0".join(told).encode())
        return digest.hexdigest()


class FolderError(ValueError):
    """A folder that can't be listed; the message is one line."""


def results_folder(given: str | None = None) -> Folder:
    """The folder named, else RESULTS, else the checkout's `results/`."""
    named = given or os.environ.get("RESULTS") or str(RESULTS)
    return Folder(named.rstrip("/") if "://" in named else str(Path(named).resolve()))


def matching(listed: Sequence[Listed], patterns: Sequence[str]) -> list[Files]:
    """For each glob the files that fit it; * stands for one part of a path, or some of its last."""
    return [Files(list(_fitting(listed, pattern))) for pattern in patterns]


def _fitting(listed: Iterable[Listed], pattern: str) -> Iterator[Listed]:
    folder, _, name = pattern.rpartition("/")
    fits = re.compile(re.escape(folder).replace(r"\*", "[^/]*")).fullmatch
    start, star, end = name.partition("*")
    for one in listed:
        if not fits(one.folder):
            continue
        if star and not start and all(map(str.endswith, one.names, repeat(end))):
            yield one
            continue
        at = [
            k
            for k, given in enumerate(one.names)
            if (given.startswith(start) and given.endswith(end) if star else given == name)
        ]
        if at:
            yield Listed(one.folder, [one.names[k] for k in at], [one.tokens[k] for k in at])
