"""What NVML tells about the GPUs; nothing at all on a machine without one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pynvml as nvml_module  # pyright: ignore[reportMissingTypeStubs]

# The package ships no types.
nvml = cast(Any, nvml_module)
# Of requirements.cuda.lock, in all stacks.
CUDA_MAJOR = 13


@dataclass(frozen=True)
class GpuReading:
    """Utilisation 0–1, memory in bytes, power in watts; summed over the visible GPUs but the
    utilisation, which is their mean."""

    utilization: float | None
    memory_bytes: int | None
    power_w: float | None


def handles() -> list[Any]:
    """NVML handles of the GPUs that a server started here sees: all of the machine's, or those in
    CUDA_VISIBLE_DEVICES, of which NVML knows nothing. An empty list where there is no driver.
    """
    try:
        nvml.nvmlInit()
        every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        asked = os.environ.get("CUDA_VISIBLE_DEVICES")
        return every if asked is None else visible(every, asked)
    except nvml.NVMLError:
        return []


def outdated_driver() -> str | None:
    """Why the driver here is too old for the CUDA that the locks bring, or None if it isn't."""
    try:
        major, minor = divmod(nvml.nvmlSystemGetCudaDriverVersion(), 1000)
    except nvml.NVMLError:
        return None
    if major >= CUDA_MAJOR:
        return None
    return (
        f"the driver is of CUDA {major}.{minor // 10}, the locks are of {CUDA_MAJOR}: update it "
        "(580 or newer), or say DEVICE=cuda where it has CUDA's compatibility package"
    )


def visible(every: Sequence[Any], asked: str) -> list[Any]:
    """Of all handles, in NVML's order, those that a value of CUDA_VISIBLE_DEVICES names: by number,
    or by a UUID or its beginning. As for CUDA, the list ends before the first name that means none.
    """
    found: list[Any] = []
    for name in (part.strip() for part in asked.split(",")):
        if name.isdecimal():
            named = list(every[int(name) : int(name) + 1])
        elif name.startswith("MIG-"):
            named = [nvml.nvmlDeviceGetHandleByUUID(name)]
        else:
            named = [
                each for each in every if name and nvml.nvmlDeviceGetUUID(each).startswith(name)
            ]
        if len(named) != 1:
            break
        found += named
    return found


def read(devices: list[Any]) -> GpuReading:
    """One reading of all devices; what a device doesn't tell is None."""

    def ask(function: Any, *extra: Any) -> list[Any]:
        values: list[Any] = []
        for device in devices:
            try:
                values.append(function(device, *extra))
            except nvml.NVMLError:
                continue
        return values

    if not devices:
        return GpuReading(None, None, None)
    busy = [cast(float, rates.gpu) for rates in ask(nvml.nvmlDeviceGetUtilizationRates)]
    memory = [cast(int, info.used) for info in ask(nvml.nvmlDeviceGetMemoryInfo)]
    power = [cast(float, milliwatts) for milliwatts in ask(nvml.nvmlDeviceGetPowerUsage)]
    return GpuReading(
        sum(busy) / len(busy) / 100 if busy else None,
        sum(memory) if memory else None,
        sum(power) / 1000 if power else None,
    )


def memory_by_process(devices: Sequence[Any]) -> dict[int, int]:
    """Bytes of GPU memory that each computing process holds; empty where NVML doesn't tell."""
    held: dict[int, int] = {}
    for device in devices:
        try:
            running = nvml.nvmlDeviceGetComputeRunningProcesses(device)
        except nvml.NVMLError:
            continue
        for process in running:
            held[process.pid] = held.get(process.pid, 0) + (process.usedGpuMemory or 0)
    return held


def slowed(devices: Sequence[Any]) -> list[str]:
    """The GPUs whose clocks heat or a power brake holds down now, in words."""
    hot = (
        nvml.nvmlClocksThrottleReasonSwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwSlowdown
        | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )
    found: list[str] = []
    for number, device in enumerate(devices):
        try:
            if nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device) & hot:
                found.append(f"GPU {number} slows down for heat or power")
        except nvml.NVMLError:
            continue
    return found


def describe(devices: list[Any]) -> list[dict[str, Any]]:
    """Name, memory, driver, clocks and power limit of each GPU, as NVML tells them.

    Clocks in MHz: the highest, the ones applications are given, and the ones right now.
    """

    def ask(function: Any, *arguments: Any) -> Any:
        try:
            value = function(*arguments)
        except nvml.NVMLError:
            return None
        return value.decode() if isinstance(value, bytes) else value

    described: list[dict[str, Any]] = []
    for device in devices:
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, device)
        limit = ask(nvml.nvmlDeviceGetPowerManagementLimit, device)
        described.append(
            {
                "name": ask(nvml.nvmlDeviceGetName, device),
                "driver": ask(nvml.nvmlSystemGetDriverVersion),
                "memory_mb": round(memory.total / 1e6) if memory else None,
                "power_limit_w": limit / 1000 if limit else None,
                "max_sm_clock_mhz": ask(nvml.nvmlDeviceGetMaxClockInfo, device, nvml.NVML_CLOCK_SM),
                "max_memory_clock_mhz": ask(
                    nvml.nvmlDeviceGetMaxClockInfo, device, nvml.NVML_CLOCK_MEM
                ),
                "applications_sm_clock_mhz": ask(
                    nvml.nvmlDeviceGetApplicationsClock, device, nvml.NVML_CLOCK_SM
                ),
                "sm_clock_mhz": ask(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_SM),
                "memory_clock_mhz": ask(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_MEM),
                "persistence_mode": ask(nvml.nvmlDeviceGetPersistenceMode, device),
            }
        )
    return described
