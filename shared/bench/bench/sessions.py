"""The sessions that servers and generators began, on disk: how what lost its mark is found.

A process that rewrites its title, as setproctitle does, wipes out the environment by which `marked`
finds it; its session stays, and a session's number is not given again while one of it lives.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.paths import BUILD
from bench.processes import of_session

BEGUN = BUILD / "sessions"


@dataclass(frozen=True)
class Note:
    """One file of BEGUN, named by the session's leader: the boot's id, when it began, its mark."""

    file: Path
    boot: str
    begin: str

    @property
    def leader(self) -> int:
        """The number of the session, and of the process that began it."""
        return int(self.file.name)


def boot_id() -> str:
    """What tells this boot of the machine from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def began(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None if there is none that lives."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else stat[19]


def remember(leader: int, mark: str) -> None:
    """Note a session, right after its leader was started. Nothing where that can't be written."""
    with suppress(OSError):
        BEGUN.mkdir(parents=True, exist_ok=True)
        partial = BEGUN / f".{leader}.partial"
        partial.write_text(f"{boot_id()} {began(leader)} {mark}")
        partial.replace(BEGUN / str(leader))


def noted(dead: Callable[[str], bool]) -> Generator[Note]:
    """The notes of those starters that are dead, by their marks."""
    for file in BEGUN.glob("[0-9]*"):
        try:
            boot, begin, mark = file.read_text().split(" ", 2)
        except (FileNotFoundError, ValueError):  # dropped by another meanwhile, or no such note
            continue
        if dead(mark):
            yield Note(file, boot, begin)


def left_over(dead: Callable[[str], bool]) -> list[int]:
    """Live processes of dead starters' sessions, but for numbers that are another's by now."""
    found: list[int] = []
    for note in noted(dead):
        if note.boot == boot_id() and began(note.leader) in (None, note.begin):
            found += of_session(note.leader)
    return found


def forget(dead: Callable[[str], bool]) -> None:
    """Drop the notes of dead starters: whatever they led to has been ended."""
    for note in noted(dead):
        note.file.unlink(missing_ok=True)
