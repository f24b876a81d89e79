"""stack.toml and engine.toml: what a stack is, and its bare engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.errors import UserError
from bench.toml_files import did_you_mean, read_toml, where


@dataclass(frozen=True)
class Requirement:
    """Something that must be on the machine before a stack can be installed.

    `device`: with that one only.
    """

    fix: str
    command: str | None = None
    path: str | None = None
    shared_library: str | None = None
    min_version: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class Interface:
    """How a stack is called; `skip`: why the runner leaves it out, if it does."""

    name: str
    protocol: str
    port: str
    options: dict[str, Any]
    skip: str | None = None


@dataclass(frozen=True)
class InContainer:
    """What a stack's image wants, on each device: its base, and its own variables by name."""

    base: dict[str, str]
    environment: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Stack:
    """One serving stack: how it is started, when it is ready, how it is called.

    `precision` is what it is started with; `precisions` all it offers on a device, the main one
    first.
    """

    id: str
    folder: Path
    title: str
    summary: str
    server: dict[str, str]
    engine: str | None
    precision: str
    precisions: tuple[str, ...]
    python: str
    max_batch: dict[str, int]
    container_only: bool
    image: str | None
    container: InContainer
    requires: tuple[Requirement, ...]
    command: tuple[str, ...]
    prepare: tuple[str, ...]
    stop: tuple[str, ...]
    ports: tuple[str, ...]
    ready_timeout_s: float
    stop_timeout_s: float
    ready_url: str
    ready_contains: str | None
    interfaces: tuple[Interface, ...]
    metrics_url: str | None
    metrics_map: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Engine:
    """A bare engine: the physical limit for an artefact on this machine.

    It is timed at each of its precisions (the main one first) on the main set of payloads, at the
    main one on `payload_sets` too.
    """

    id: str
    folder: Path
    title: str
    server: dict[str, str]
    precisions: tuple[str, ...]
    command: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    payload_sets: tuple[str, ...]


def per_device(value: Any) -> dict[str, Any]:
    """One value for all devices, or one each."""
    if value is None:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {"cpu": value, "cuda": value}


def precisions_of(value: Any, device: str) -> tuple[str, ...]:
    """One precision or several on a device, the main one first; fp32 unless told."""
    offered: str | list[str] = per_device(value).get(device, "fp32")
    return (offered,) if isinstance(offered, str) else tuple(offered)


def load_stack(folder: Path, device: str = "cpu") -> Stack:
    """Read a stack folder's stack.toml: what it is on a device. Raises UserError."""
    file = folder / "stack.toml"
    data = read_toml(file, "stack")
    start = data["start"]
    ports = start["ports"]
    precisions = precisions_of(data.get("precision"), device)
    for name, table in data["interfaces"].items():
        if table["port"] not in ports:
            hint = did_you_mean(table["port"], ports)
            raise UserError(f"{where(file)}: interfaces.{name}.port: {table['port']!r}, {hint}")
    return Stack(
        id=folder.name,
        folder=folder,
        title=data["title"],
        summary=data["summary"],
        server=per_device(data["server"]),
        engine=data.get("engine"),
        precision=precisions[0],
        precisions=precisions,
        python=data.get("python", ">=3.11"),
        max_batch=per_device(data.get("max_batch")),
        container_only=data.get("container_only", False),
        image=data.get("image"),
        container=InContainer(
            base=per_device(data.get("container", {}).get("base")),
            environment={
                name: per_device(value)
                for name, value in data.get("container", {}).get("environment", {}).items()
            },
        ),
        requires=tuple(Requirement(**table) for table in data.get("requires", [])),
        command=tuple(start["command"]),
        prepare=tuple(start.get("prepare", [])),
        stop=tuple(start.get("stop", [])),
        ports=tuple(ports),
        ready_timeout_s=start.get("ready_timeout_s", 120),
        stop_timeout_s=start.get("stop_timeout_s", 20),
        ready_url=data["ready"]["url"],
        ready_contains=data["ready"].get("contains"),
        interfaces=tuple(
            Interface(
                *(name, table["protocol"], table["port"], table.get("options", {})),
                table.get("skip"),
            )
            for name, table in data["interfaces"].items()
        ),
        metrics_url=data.get("metrics", {}).get("url"),
        metrics_map=data.get("metrics", {}).get("map", {}),
    )


def load_engine(folder: Path, device: str = "cpu") -> Engine:
    """Read an engine folder's engine.toml: what it is on a device. Raises UserError."""
    data = read_toml(folder / "engine.toml", "engine")
    return Engine(
        id=folder.name,
        folder=folder,
        title=data["title"],
        server=per_device(data["server"]),
        precisions=precisions_of(data.get("precision"), device),
        command=tuple(data["command"]),
        batch_sizes=tuple(data.get("batch_sizes", (1, 2, 4, 8))),
        payload_sets=tuple(data.get("payload_sets", ())),
    )
