"""The sessions that a run's processes began, on disk: how the next run finds what lost its mark.

A process that rewrites its title, as setproctitle does, wipes out the environment by which `marked`
finds it; its session stays, and a session's number is not given again while one of it lives.
"""

from contextlib import suppress
from pathlib import Path

from bench.paths import BUILD
from bench.processes import of_session

# One file a session, named by its leader's number: this boot's id, and when the leader began.
BEGUN = BUILD / "sessions"


def boot_id() -> str:
    """What tells this boot of the machine from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def began(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def remember(leader: int) -> None:
    """Note a session, right after its leader was started. Nothing where that can't be written."""
    with suppress(OSError):
        BEGUN.mkdir(parents=True, exist_ok=True)
        (BEGUN / str(leader)).write_text(f"{boot_id()} {began(leader)}")


def left_over() -> list[int]:
    """Live processes of the sessions that were noted, but for numbers that are another's by now."""
    found: list[int] = []
    for file in BEGUN.glob("[0-9]*"):
        boot, _, begin = file.read_text().partition(" ")
        if boot == boot_id() and began(int(file.name)) in (None, begin):
            found += of_session(int(file.name))
    return found


def forget() -> None:
    """Drop all notes: whatever they led to has been ended."""
    for file in BEGUN.glob("[0-9]*"):
        file.unlink(missing_ok=True)
