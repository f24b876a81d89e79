"""Ten times a second: what the server's tree, the generator and the GPU use.

It runs on the client's CPUs. PSS is not read here: reading it stalls the server.
"""

import threading
import time
from types import TracebackType
from typing import Any

from bench import gpu
from bench.processes import Meter, TreeMeter

PERIOD_S = 0.1


class Sampler:
    """Collects rows for `samples.parquet` while it is open."""

    def __init__(self, server: Meter, devices: list[Any]) -> None:
        self.server = server
        self.generator: TreeMeter | None = None
        self.devices = devices
        self.rows: list[dict[str, float | int | None]] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.loop, name="sampler", daemon=True)

    def watch_generator(self, pid: int) -> None:
        """Sample this process as the generator from now on."""
        self.generator = TreeMeter(pid)

    def loop(self) -> None:
        """Take a row, wait for the next tenth of a second."""
        due = time.monotonic()
        while not self.done.is_set():
            server = self.server.read()
            generator = self.generator.read() if self.generator else None
            reading = gpu.read(self.devices)
            self.rows.append(
                {
                    "t_ns": time.monotonic_ns(),
                    "server_cpu_ns": server.cpu_ns,
                    "server_rss_bytes": server.rss_bytes,
                    "generator_cpu_ns": generator.cpu_ns if generator else None,
                    "gpu_utilization": reading.utilization,
                    "gpu_memory_bytes": reading.memory_bytes,
                    "gpu_power_w": reading.power_w,
                }
            )
            due = max(due + PERIOD_S, time.monotonic())
            self.done.wait(due - time.monotonic())

    def peak_bytes(self) -> int:
        """The most memory that one of its readings showed."""
        return max((int(row["server_rss_bytes"] or 0) for row in self.rows), default=0)

    def __enter__(self) -> "Sampler":
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.done.set()
        self.thread.join(timeout=5)
