"""group.toml: what is asked of every stack, identically. The contract is shared/README.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
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

    An open load's window is as long as it takes to offer `min_requests` (of Poisson arrivals: in 99
    of 100 windows), `window_s` at least: rates are the same for all stacks, and so are windows.
    Each trial waits `quiet_wait_s` at most for a quiet machine.
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


def model_of(group: Group, wanted: str | None) -> str:
    """MODEL, or the group's first. Raises UserError for one that it doesn't have."""
    if wanted and wanted not in group.models:
        hint = did_you_mean(wanted, list(group.models))
        raise UserError(f"MODEL={wanted}: {group.id} has none of that name, {hint}")
    return wanted or group.models[0]
