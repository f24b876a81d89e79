"""Whether heat slows the machine's processors down."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import gpu

# Cooling devices of the kernel that slow a CPU down while their state is above 0.
CPU_COOLING = ("Processor", "intel_powerclamp")


@dataclass(frozen=True)
class Heat:
    """Throttling since boot (None: the kernel doesn't count), and what is held back right now."""

    events: int | None
    held_back: tuple[str, ...]


def read_text(file: Path) -> str:
    """A file of /sys, stripped; empty if it can't be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def read_heat(devices: Sequence[Any] = (), sys: Path = Path("/sys")) -> Heat:
    """The kernel's and NVML's word on heat now; `devices` are NVML handles."""
    counts = [
        int(text)
        for file in sys.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (text := read_text(file)).isdigit()
    ]
    cooled = sum(
        read_text(cooling / "type") in CPU_COOLING
        and (state := read_text(cooling / "cur_state")).isdigit()
        and int(state) > 0
        for cooling in sys.glob("class/thermal/cooling_device[0-9]*")
    )
    held_back = [f"the kernel cools {cooled} CPUs"] if cooled else []
    return Heat(sum(counts) if counts else None, (*held_back, *gpu.slowed(devices)))


def throttling(first: Heat, last: Heat) -> str | None:
    """What was slowed down between two readings, or None."""
    seen = list(dict.fromkeys(first.held_back + last.held_back))
    if first.events is not None and last.events is not None and last.events > first.events:
        seen.append(f"CPUs were throttled {last.events - first.events} times")
    return ", ".join(seen) or None
