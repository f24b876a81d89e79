"""Process trees as the kernel shows them: who belongs to a server, what it used, how it ends."""

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from bench.paths import ROOT

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_CHILD_SUBREAPER = 36

# Every process the runner starts inherits this variable; its value is the checkout and the start.
MARK = "INFERENCE_STUDY_START"
# What it begins with where a run of this checkout is the starter, or somebody who serves by hand.
RUNS = f"{ROOT}:run:"
SERVES = f"{ROOT}:serve:"


@dataclass(frozen=True)
class Usage:
    """What a process tree uses: CPU time in nanoseconds since it began, memory in bytes."""

    cpu_ns: int
    rss_bytes: int


def adopt_orphans() -> None:
    """Make this process the parent of grandchildren whose parent ends, so none gets lost."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """A process and all below it that are alive."""
    found, queue = [pid], [pid]
    while queue:
        current = queue.pop()
        for task in Path(f"/proc/{current}/task").glob("*"):
            try:
                children = [int(word) for word in (task / "children").read_text().split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def marks() -> dict[int, str]:
    """Live processes whose environment carries a mark, of any checkout, whoever their parent is."""
    name = f"{MARK}=".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        mark = next((word for word in variables if word.startswith(name)), None)
        if mark is not None and not zombie:
            found[int(entry.name)] = os.fsdecode(mark.removeprefix(name))
    return found


def marked(mark: str) -> list[int]:
    """Those of `marks` whose mark begins with this one."""
    return [pid for pid, carried in marks().items() if carried.startswith(mark)]


def of_session(leader: int) -> list[int]:
    """Live processes of the session that `leader` began, whoever their parent is now.

    A process that rewrites its title, as setproctitle does, wipes out the environment that `marked`
    reads; its session stays.
    """
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z" and int(stat[3]) == leader:
            found.append(int(entry.name))
    return found


class Meter(Protocol):
    """What tells the usage of a server or a generator."""

    def read(self) -> Usage:
        """Its usage now."""
        ...


class TreeMeter:
    """Adds up a tree's CPU time, processes that have ended since included."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen_ns: dict[int, int] = {}
        self.members: list[int] = [pid]
        self.refreshed = 0.0

    def read(self) -> Usage:
        """The tree's usage now. New processes are looked for once a second."""
        if time.monotonic() - self.refreshed > 1:
            self.members = descendants(self.pid)
            self.refreshed = time.monotonic()
        rss = 0
        for pid in self.members:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            self.seen_ns[pid] = (int(stat[11]) + int(stat[12])) * TICK_NS
            rss += resident * PAGE
        return Usage(sum(self.seen_ns.values()), rss)


def status_bytes(pid: int, file: str, key: str) -> int:
    """One `Key: n kB` line of a /proc file in bytes; 0 if it can't be read."""
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def tree_pss_bytes(pid: int) -> int:
    """Proportional set size of a tree: shared pages count once. Slow; never while timing."""
    return sum(status_bytes(member, "smaps_rollup", "Pss") for member in descendants(pid))


def tree_peak_excess_bytes(pid: int) -> int:
    """How far a tree's resident memory once stood above what it holds now."""
    return sum(
        max(0, status_bytes(p, "status", "VmHWM") - status_bytes(p, "status", "VmRSS"))
        for p in descendants(pid)
    )


def reset_peak(pid: int) -> None:
    """Start the kernel's high-water mark of resident memory anew for a tree."""
    for member in descendants(pid):
        try:
            Path(f"/proc/{member}/clear_refs").write_text("5")
        except OSError:
            continue


def held_tree(pid: int) -> list[int]:
    """A process and all below it, stopped: what is asked to end can start no other before it does.

    A fork that meets a signal is begun anew after it, so who has been stopped has all its children.
    """
    held: set[int] = set()
    while new := set(descendants(pid)) - held:
        for member in new:
            with contextlib.suppress(OSError):
                os.kill(member, signal.SIGSTOP)
        held |= new
    return sorted(held)


def end_processes(pids: list[int], grace_s: float) -> list[int]:
    """SIGTERM, wait, SIGKILL, stopped ones too. Returns those that had to be killed."""
    alive: list[psutil.Process] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            alive.append(process)
        except psutil.Error:
            continue
    _, left = psutil.wait_procs(alive, timeout=grace_s)
    for process in left:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(left, timeout=5)
    return [process.pid for process in left]
