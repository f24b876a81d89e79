"""Results on this machine: listed and read, never written."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from reports.files import File, FolderError, Listed

# <run>/run.json, <run>/stacks/x.json, <run>/raw/<trial>/requests.parquet: nothing lies deeper.
FOLDERS = ("stacks", "trials")
ENDINGS = (".json", ".parquet")


def check_folder(root: str) -> None:
    """Raises FolderError if there is none that can be read. To ask results makes no folder."""
    try:
        os.close(os.open(root, os.O_RDONLY | os.O_DIRECTORY))
    except OSError as error:
        raise FolderError(
            f"{root}: {error.strerror}; RESULTS (or --results) names the folder that holds the"
            " runs, and `make bench` fills a new one"
        ) from None


def listed(root: str, raw: bool) -> list[Listed]:
    """Every folder that may hold results, always in one order; the raw records only if `raw`.

    By hand rather than by glob: a stat a file, which is what a hundred thousand of them bear.
    Raises FolderError if there is no such folder.
    """
    check_folder(root)
    found: list[Listed] = []
    for run in _list(root, "", []):
        for folder in _list(root, run, found):
            if folder in FOLDERS:
                _list(root, f"{run}/{folder}", found)
            elif folder == "raw" and raw:
                for trial in _list(root, f"{run}/raw", []):
                    _list(root, f"{run}/raw/{trial}", found)
    return found


def _list(root: str, folder: str, found: list[Listed]) -> list[str]:
    """Add what lies in a folder to `found`; returns the names of its folders."""
    try:
        at = os.open(f"{root}/{folder}", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        inside = sorted(os.listdir(at))
        names = [name for name in inside if name.endswith(ENDINGS)]
        if names:
            tokens = _tokens(names, at)
            found.append(Listed(_text(folder), [_text(name) for name in names], tokens))
        others = [name for name in inside if not name.endswith(ENDINGS)] if names != inside else []
        return [name for name in others if _is_folder(name, at)]
    except OSError:
        return []
    finally:
        os.close(at)


def _tokens(names: Sequence[str], at: int) -> list[str]:
    # By descriptor: a stat then need not walk the whole path.
    try:
        return [
            f"{facts.st_size}-{facts.st_mtime_ns}"
            for facts in [os.stat(name, dir_fd=at) for name in names]
        ]
    except OSError:
        # One of them has just gone, or is a link to nowhere.
        return [one for name in names for one in (_tokens([name], at) if names[1:] else [""])]


def _is_folder(name: str, at: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=at).st_mode)
    except OSError:
        return False


def _text(name: str) -> str:
    """A name that can be told; one that is no UTF-8 is none of ours, and then found no more."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def read(root: str, files: Iterable[File]) -> Iterator[tuple[File, bytes | str]]:
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
