"""Which CPUs the server gets and which the generator, the runner and the samplers get."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class CpuSplit:
    """CPU numbers of both sides; `shared` when there is only one CPU for both."""

    server: tuple[int, ...]
    client: tuple[int, ...]
    shared: bool

    @property
    def both(self) -> tuple[int, ...]:
        """CPUs of both sides together, each once."""
        return tuple(sorted({*self.server, *self.client}))


def parse_cpus(text: str) -> tuple[int, ...]:
    """'0-2,5' -> (0, 1, 2, 5), as taskset writes it. Raises ValueError."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = int(first), int(last if dash else first)
        if ends[0] > ends[1]:
            raise ValueError(f"{part} runs backwards")
        cpus.update(range(ends[0], ends[1] + 1))
    return tuple(sorted(cpus))


def format_cpus(cpus: Sequence[int]) -> str:
    """(0, 1, 5) -> '0,1,5'."""
    return ",".join(map(str, cpus))


def siblings(cpu: int) -> tuple[int, ...]:
    """The SMT siblings of a CPU, itself included."""
    file = TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list"
    try:
        return parse_cpus(file.read_text())
    except (OSError, ValueError):
        return (cpu,)


def split_cpus(environ: dict[str, str]) -> CpuSplit:
    """SERVER_CPUS and CLIENT_CPUS, by default each half of the cores, SMT siblings together.

    Raises UserError for CPUs that this machine doesn't have.
    """
    available = tuple(sorted(os.sched_getaffinity(0)))
    chosen: dict[str, tuple[int, ...]] = {}
    for name in ("SERVER_CPUS", "CLIENT_CPUS"):
        if text := environ.get(name):
            try:
                chosen[name] = parse_cpus(text)
            except ValueError:
                raise UserError(f"{name}={text}: not a CPU list, write it as 0-2,5") from None
            if missing := set(chosen[name]) - set(available):
                raise UserError(
                    f"{name}={text}: this machine has no CPU {min(missing)}; "
                    f"it has {format_cpus(available)}"
                )
    cores: list[tuple[int, ...]] = []
    for cpu in available:
        core = tuple(c for c in siblings(cpu) if c in available)
        if core not in cores:
            cores.append(core)
    half = max(1, len(cores) // 2)
    server = chosen.get("SERVER_CPUS")
    client = chosen.get("CLIENT_CPUS")
    if server is None and client is None:
        server = tuple(sorted(c for core in cores[:half] for c in core))
    if server is None:
        server = tuple(c for c in available if c not in (client or ())) or available
    if client is None:
        client = tuple(c for c in available if c not in server) or available
    return CpuSplit(server, client, bool(set(server) & set(client)))
