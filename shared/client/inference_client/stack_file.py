"""What a call needs to know from stack.toml: protocol, port, options. Nothing else is read."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from inference_client.errors import ConfigError, nearest


@dataclass(frozen=True)
class Target:
    """One interface of one stack, at one address."""

    interface: str
    protocol: str
    host: str
    port: int
    options: Mapping[str, Any]
    where: str  # "<file>: interfaces.<name>", for messages
    timeout_s: float

    @property
    def address(self) -> str:
        """host:port, with an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Codec = TypeVar("Codec")


def spoken(codec: Codec | None, target: Target, what: str) -> Codec:
    """A protocol's way to ask something. Raises ConfigError where it has none."""
    if codec is None:
        raise ConfigError(f"{target.where}.protocol: {target.protocol!r} can't {what}")
    return codec


def find_file(stack: Path) -> Path:
    """The stack.toml meant by a folder or by the file itself. Raises ConfigError."""
    file = stack if stack.suffix == ".toml" else stack / "stack.toml"
    if not file.is_file():
        siblings = file.parent.parent.glob("*/stack.toml")
        hint = nearest(file.parent.name, (sibling.parent.name for sibling in siblings))
        raise ConfigError(f"{file}: no such file; stacks in {file.parent.parent}: {hint}")
    return file


def read_tables(file: Path) -> dict[str, dict[str, Any]]:
    """The `[interfaces.*]` tables in the file's order. Raises ConfigError."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    tables: object = data.get("interfaces")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{file}: interfaces: add a table [interfaces.<name>]")
    interfaces = cast("dict[str, dict[str, Any]]", tables)
    for name, table in interfaces.items():
        for key in ("protocol", "port"):
            if not isinstance(cast(object, table), dict) or not isinstance(table.get(key), str):
                raise ConfigError(f"{file}: interfaces.{name}.{key}: must be a string")
        if not isinstance(table.get("options", {}), dict):
            raise ConfigError(f"{file}: interfaces.{name}.options: must be a table")
    return interfaces


def fill_options(
    given: Mapping[str, Any], defaults: Mapping[str, Any], model: str | None, where: str
) -> dict[str, Any]:
    """Options over their defaults, `{model}` in a string replaced. Raises ConfigError."""
    for key in given:
        if key not in defaults:
            hint = nearest(key, defaults)
            raise ConfigError(f"{where}.options: unknown key {key!r}, {hint}")
    filled: dict[str, Any] = {**defaults, **given}
    for key, value in filled.items():
        if key in given and type(value) is not type(defaults[key]):
            kind = type(defaults[key]).__name__
            raise ConfigError(f"{where}.options.{key}: must be of type {kind}, not {value!r}")
        if isinstance(value, str) and "{model}" in value:
            if model is None:
                raise ConfigError(f"{where}.options.{key}: is {value!r}: pass model=… to connect")
            filled[key] = value.replace("{model}", model)
    return filled


def choose_interface(
    file: Path, tables: Mapping[str, Mapping[str, Any]], interface: str | None
) -> str:
    """The interface asked for, or the file's first. Raises ConfigError."""
    name = next(iter(tables)) if interface is None else interface
    if name not in tables:
        raise ConfigError(f"{file}: interfaces: no interface {name!r}, {nearest(name, tables)}")
    return name
