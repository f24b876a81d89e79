"""group.toml, stack.toml and engine.toml as frozen dataclasses.

The contract is shared/README.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.errors import UserError
from bench.paths import GROUPS
from bench.toml_files import did_you_mean, read_toml, where

# Kinds of load whose rates are shares of the engine ceiling, and those that find their own.
SCHEDULED = ("open", "search", "burst")
SEARCHES = ("search", "search_users")


@dataclass(frozen=True)
class Load:
    """One load shape. Shares are of the engine ceiling; `users` are callers that wait.

    `low` and `high` are the shares that a search keeps to. A burst offers `share`, then
    `burst_share` for `burst_s`, then `share` again for `after_s`. `payloads`: the set that is sent,
    None the main one. `cache`: "expected" where taking a part of the work from a cache is what the
    load asks about.
    """

    name: str
    kind: str
    users: int | None = None
    arrivals: str | None = None
    share: float | None = None
    max_users: int = 64
    client_batch: int = 1
    low: float = 0.05
    high: float = 1.2
    burst_share: float = 0.0
    burst_s: float = 0.0
    after_s: float = 0.0
    payloads: str | None = None
    cache: str | None = None


@dataclass(frozen=True)
class Profile:
    """How much is measured: blocks (repeats), seconds, and which loads on which interfaces.

    An open load's window is as long as it takes to offer `min_requests`, `window_s` at least: rates
    are the same for all stacks, and so are windows. Each trial waits `quiet_wait_s` at most for a
    quiet machine.
    """

    name: str
    blocks: int
    warmup_s: float
    window_s: float
    timeout_s: float
    engine_s: float
    min_requests: int
    quiet_wait_s: float
    every_interface: tuple[str, ...]
    first_interface: tuple[str, ...]
    further_models: tuple[str, ...]
    further_precisions: tuple[str, ...]


@dataclass(frozen=True)
class Slo:
    """Limits a request can meet or miss, in milliseconds, and the share that must meet them."""

    latency_ms: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    share: float


@dataclass(frozen=True)
class Group:
    """One question, asked of every stack identically."""

    id: str
    folder: Path
    title: str
    question: str
    unit: str
    models: tuple[str, ...]
    parity: dict[str, Any]
    slos: dict[str, Slo]
    request: dict[str, Any]
    loads: dict[str, Load]
    profiles: dict[str, Profile]


@dataclass(frozen=True)
class Requirement:
    """Something that must be on the machine before a stack can be installed."""

    fix: str
    command: str | None = None
    path: str | None = None
    shared_library: str | None = None
    min_version: str | None = None


@dataclass(frozen=True)
class Interface:
    """One way to call a stack."""

    name: str
    protocol: str
    port: str
    options: dict[str, Any]


@dataclass(frozen=True)
class InContainer:
    """What a stack's image wants: its base on each device, and its own names for our variables."""

    base: dict[str, str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Stack:
    """One serving stack: how it is started, when it is ready, how it is called.

    `precision` is what it is started with; `precisions` all it offers, the main one first.
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


def load_profile(name: str, table: dict[str, Any], loads: dict[str, Load], file: Path) -> Profile:
    """One profile of group.toml. Raises UserError for a load it names that isn't there."""

    def named(key: str) -> tuple[str, ...]:
        names = tuple[str, ...](table.get(key, ()))
        for load in names:
            if load not in loads:
                at = f"{where(file)}: profiles.{name}.{key}"
                raise UserError(f"{at}: no load {load!r}, {did_you_mean(load, list(loads))}")
        return names

    return Profile(
        name=name,
        blocks=table["blocks"],
        warmup_s=table["warmup_s"],
        window_s=table["window_s"],
        timeout_s=table["timeout_s"],
        engine_s=table.get("engine_s", 4.0),
        min_requests=table.get("min_requests", 0),
        quiet_wait_s=table.get("quiet_wait_s", 20.0),
        every_interface=named("every_interface"),
        first_interface=named("first_interface"),
        further_models=named("further_models"),
        further_precisions=named("further_precisions"),
    )


def check_searches(loads: Mapping[str, Load], slos: Mapping[str, Slo], file: Path) -> None:
    """Raise UserError for a search that has nothing to search by or nowhere to search."""
    for load in loads.values():
        if load.kind not in SEARCHES:
            continue
        at = f"{where(file)}: loads.{load.name}"
        if load.low >= load.high:
            raise UserError(f"{at}.low: {load.low:g} is not below high, {load.high:g}")
        for device, slo in slos.items():
            if slo.latency_ms is slo.ttft_ms is slo.tpot_ms is None:
                raise UserError(f"{at}: a search needs a limit, add latency_ms to [slo.{device}]")


def load_group(folder: Path) -> Group:
    """Read a group folder's group.toml. Raises UserError."""
    file = folder / "group.toml"
    data = read_toml(file, "group")
    loads = {name: Load(name=name, **table) for name, table in data["loads"].items()}
    profiles = {
        name: load_profile(name, table, loads, file) for name, table in data["profiles"].items()
    }
    slos = {
        device: Slo(
            table.get("latency_ms"),
            table.get("ttft_ms"),
            table.get("tpot_ms"),
            table.get("share", 0.95),
        )
        for device, table in data["slo"].items()
    }
    check_searches(loads, slos, file)
    return Group(
        id=folder.name,
        folder=folder,
        title=data["title"],
        question=data["question"],
        unit=data["unit"],
        models=tuple(data["models"]),
        parity=data["parity"],
        slos=slos,
        request=data.get("request", {}),
        loads=loads,
        profiles=profiles,
    )


def per_device(value: Any) -> dict[str, Any]:
    """One value for all devices, or one each."""
    if value is None:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {"cpu": value, "cuda": value}


def precisions_of(value: str | list[str] | None) -> tuple[str, ...]:
    """One precision or several, the main one first; fp32 unless told."""
    return (value,) if isinstance(value, str) else tuple(value or ["fp32"])


def load_stack(folder: Path) -> Stack:
    """Read a stack folder's stack.toml. Raises UserError."""
    file = folder / "stack.toml"
    data = read_toml(file, "stack")
    start = data["start"]
    ports = start["ports"]
    precisions = precisions_of(data.get("precision"))
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
            environment=data.get("container", {}).get("environment", {}),
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
            Interface(name, table["protocol"], table["port"], table.get("options", {}))
            for name, table in data["interfaces"].items()
        ),
        metrics_url=data.get("metrics", {}).get("url"),
        metrics_map=data.get("metrics", {}).get("map", {}),
    )


def load_engine(folder: Path) -> Engine:
    """Read an engine folder's engine.toml. Raises UserError."""
    data = read_toml(folder / "engine.toml", "engine")
    return Engine(
        id=folder.name,
        folder=folder,
        title=data["title"],
        server=per_device(data["server"]),
        precisions=precisions_of(data.get("precision")),
        command=tuple(data["command"]),
        batch_sizes=tuple(data.get("batch_sizes", (1, 2, 4, 8))),
        payload_sets=tuple(data.get("payload_sets", ())),
    )


def all_groups() -> list[Path]:
    """Group folders in the order of their numbers."""
    return sorted(
        (file.parent for file in GROUPS.glob("*/group.toml")),
        key=lambda folder: (
            (int(folder.name.split("-")[0]), folder.name)
            if folder.name.split("-")[0].isdigit()
            else (10**6, folder.name)
        ),
    )


def stack_folders(group: Path) -> list[Path]:
    """Every folder of a group that holds a stack.toml."""
    return sorted(file.parent for file in group.glob("*/stack.toml"))


def engine_folders(group: Path) -> list[Path]:
    """Every bare engine of a group."""
    return sorted(file.parent for file in group.glob("engines/*/engine.toml"))


def find_groups(selected: str | None) -> list[Path]:
    """The groups meant by GROUP: all, a number, or a folder name. Raises UserError."""
    groups = all_groups()
    if not selected:
        return groups
    found = [g for g in groups if g.name == selected or g.name.split("-")[0] == selected]
    if not found:
        hint = did_you_mean(selected, [group.name for group in groups])
        raise UserError(f"GROUP={selected}: no such group below {where(GROUPS)}/, {hint}")
    return found


def find_stacks(groups: list[Path], selected: str | None) -> list[Path]:
    """The stacks meant by STACK: all, a name, or <group>/<stack>. Raises UserError."""
    folders = [stack for group in groups for stack in stack_folders(group)]
    if not selected:
        return folders
    found: list[Path] = []
    for wanted in selected.split(","):
        name = wanted.strip()
        mine = [folder for folder in folders if name in names_of(folder)]
        if not mine:
            raise UserError(f"STACK={name}: {no_such_stack(name, folders)}")
        found += mine
    return [folder for folder in folders if folder in found]


def names_of(stack: Path) -> tuple[str, str, str]:
    """What a stack may be called: its folder's name, alone or after its group's or its number."""
    group = stack.parent.name
    return stack.name, f"{group}/{stack.name}", f"{group.split('-')[0]}/{stack.name}"


def no_such_stack(name: str, folders: list[Path]) -> str:
    """Why a name means none of these stacks: another group has it, or nobody."""
    elsewhere = [
        group.name
        for group in all_groups()
        for stack in stack_folders(group)
        if name in names_of(stack)
    ]
    if elsewhere:
        groups = " or ".join(f"GROUP={group}" for group in elsewhere)
        return f"not in the selected group: leave GROUP out or set {groups}"
    known = [names_of(folder)[1 if "/" in name else 0] for folder in folders]
    return f"no such stack, {did_you_mean(name, known)}"


def model_of(group: Group, wanted: str | None) -> str:
    """MODEL, or the group's first. Raises UserError for one that it doesn't have."""
    if wanted and wanted not in group.models:
        hint = did_you_mean(wanted, list(group.models))
        raise UserError(f"MODEL={wanted}: {group.id} has none of that name, {hint}")
    return wanted or group.models[0]
