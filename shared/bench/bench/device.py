"""Whether a server works on the device that was asked for."""

from collections.abc import Collection, Mapping
from pathlib import Path

# A CUDA context alone takes more.
CONTEXT_BYTES = 100_000_000


def wrong_device(
    device: str, tree: Collection[int], holders: Mapping[int, int], grown_bytes: int
) -> str | None:
    """Why a server that has answered is on the wrong device, or None.

    `tree`: the server's processes; `holders`: bytes of GPU memory by process, as NVML tells;
    `grown_bytes`: how much more GPU memory is in use than before the server was started. That
    decides only where NVML shows no process of this machine's view, as in a container with
    processes of its own.
    """
    if device != "cuda":
        held = sum(holders.get(pid, 0) for pid in tree)
        return f"DEVICE={device}, but it holds {held / 1e6:.0f} MB on the GPU" if held else None
    if any(pid in holders for pid in tree):
        return None
    blind = not any(Path(f"/proc/{pid}").exists() for pid in holders)
    if blind and grown_bytes >= CONTEXT_BYTES:
        return None
    return "DEVICE=cuda, but its processes hold no memory on the GPU"
