"""What a container uses, as the kernel accounts for its cgroup: version 1, version 2, or both.

Files and their units: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StackFailed
from bench.processes import Usage


@dataclass(frozen=True)
class Cgroup:
    """A container's folder of each controller; the two are one under version 2."""

    cpu: Path
    memory: Path

    def cpu_ns(self) -> int:
        """CPU time in nanoseconds since it began, processes that have ended included."""
        usage = self.cpu / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text())
        return 1000 * keyed(self.cpu / "cpu.stat")["usage_usec"]

    def memory_bytes(self) -> int:
        """What can't be had back at once: all it is charged for but inactive page cache.

        The working set, as `docker stats` and Kubernetes show it.
        """
        stat = keyed(self.memory / "memory.stat")
        current = self.memory / "memory.current"
        if current.exists():
            return max(0, int(current.read_text()) - stat["inactive_file"])
        usage = int((self.memory / "memory.usage_in_bytes").read_text())
        return max(0, usage - stat["total_inactive_file"])

    def pids(self) -> set[int]:
        """Its processes, by this machine's numbers; none once it is gone."""
        try:
            return {int(pid) for pid in (self.memory / "cgroup.procs").read_text().split()}
        except OSError:
            return set()


def keyed(file: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    return {name: int(value) for name, value in map(str.split, file.read_text().splitlines())}


def mounted(mounts: str, controller: str) -> tuple[Path, str] | None:
    """Where a controller is mounted and from which of its folders on; "": version 2.

    `mounts` is the text of /proc/self/mountinfo.
    """
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2" and not controller:
            return Path(point), root
        if kind == "cgroup" and controller in options.split(","):
            return Path(point), root
    return None


def folder_of(memberships: str, mounts: str, controller: str) -> Path | None:
    """The folder in which a controller accounts for a process; None if it does nowhere.

    `memberships` is the text of its /proc/PID/cgroup: `number:controllers:path` lines, version 2's
    with number 0 and no controllers.
    """
    paths = {
        name: path
        for line in memberships.splitlines()
        for _, names, path in [line.split(":", 2)]
        for name in names.split(",")
    }
    for name in (controller, ""):
        if name in paths and (found := mounted(mounts, name)):
            point, root = found
            below = paths[name].removeprefix("/" if root == "/" else root).lstrip("/")
            return point / below
    return None


def cgroup_of(pid: int) -> Cgroup:
    """The cgroup of a container's first process. Raises StackFailed if it can't be read."""
    try:
        memberships = Path(f"/proc/{pid}/cgroup").read_text()
        mounts = Path("/proc/self/mountinfo").read_text()
        cpu = folder_of(memberships, mounts, "cpuacct")
        memory = folder_of(memberships, mounts, "memory")
        if cpu is None or memory is None:
            raise OSError("it is in none that is mounted here")
        found = Cgroup(cpu, memory)
        found.cpu_ns()
        found.memory_bytes()
    except (OSError, KeyError, ValueError) as error:
        raise StackFailed(
            f"the container's cgroup accounts for no CPU or memory: {error}"
        ) from None
    return found


class CgroupMeter:
    """What a container used, its last reading once it has ended."""

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup = cgroup
        self.last = Usage(0, 0)

    def read(self) -> Usage:
        """Its usage now."""
        with contextlib.suppress(OSError, ValueError):
            self.last = Usage(self.cgroup.cpu_ns(), self.cgroup.memory_bytes())
        return self.last
