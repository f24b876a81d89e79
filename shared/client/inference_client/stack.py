"""connect() and connect_async(): a stack folder in, something to call out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from inference_client.answers import Answer, Vector
from inference_client.errors import ConfigError, nearest
from inference_client.protocols import wire
from inference_client.stack_file import (
    Target,
    choose_interface,
    fill_options,
    find_file,
    read_tables,
)
from inference_client.wire import AsyncCaller, Caller, Wire

Payload = TypeVar("Payload", bytes, str)


class Stack:
    """One interface of a running stack, for blocking calls. Safe to share between threads."""

    def __init__(self, target: Target, speaks: Wire) -> None:
        self.target = target
        self._caller: Caller = speaks.open(target)

    def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """The top classes of each image, most probable first.

        `images`: encoded pictures (JPEG, PNG), sent as they are in ONE request. Returns one tuple
        of Predictions an image, in the same order. Raises Overloaded, BadInput, TimedOut,
        Unreachable, or their base InferenceError.
        """
        return self._caller.classify(at_least_one(images, "classify", "image"))

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The vector of each text, of length 1 if the stack's own default is.

        `texts`: sent in ONE request. Returns one tuple of floats a text, in the same order. Raises
        as classify does, and ValueError for several texts where the protocol takes one a call.
        """
        return self._caller.embed(at_least_one(texts, "embed", "text"))

    def close(self) -> None:
        """Close the connections."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncStack:
    """One interface of a running stack on an event loop: `async with connect_async(…) as stack`."""

    def __init__(self, target: Target, speaks: Wire) -> None:
        self.target = target
        self._wire = speaks
        self._caller: AsyncCaller | None = None

    async def classify(self, images: Sequence[bytes]) -> list[Answer]:
        """As Stack.classify. Calls may run at the same time."""
        return await self._open().classify(at_least_one(images, "classify", "image"))

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """As Stack.embed. Calls may run at the same time."""
        return await self._open().embed(at_least_one(texts, "embed", "text"))

    def _open(self) -> AsyncCaller:
        if self._caller is None:
            raise RuntimeError("use `async with connect_async(…) as stack`: it is not open")
        return self._caller

    async def close(self) -> None:
        """Close the connections."""
        caller, self._caller = self._caller, None
        if caller is not None:
            await caller.close()

    async def __aenter__(self) -> Self:
        self._caller = self._wire.open_async(self.target)  # a channel belongs to the running loop
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def at_least_one(payloads: Sequence[Payload], call: str, what: str) -> list[Payload]:
    """The payloads as a list. Raises ValueError for none, TypeError for one without its list."""
    if isinstance(payloads, bytes | bytearray | str):
        raise TypeError(f"{call} takes a list of {what}s: {call}([{what}])")
    if not payloads:
        raise ValueError(f"{call} needs at least one {what}")
    return list(payloads)


def connect(
    stack: str | Path,
    interface: str | None = None,
    *,
    ports: Mapping[str, int],
    host: str = "127.0.0.1",
    model: str | None = None,
    timeout_s: float = 30.0,
) -> Stack:
    """A running stack, ready to be called.

    `stack`: the stack's folder (or its stack.toml). `interface`: its name there, by default the
    first. `ports`: the number of each named port, as the stack was started with. `model`: replaces
    `{model}` in the interface's options. `timeout_s`: limit of one call, from connecting to the
    last byte of the answer, in seconds. Raises ConfigError; a stack that isn't there shows at the
    first call, as Unreachable.
    """
    return Stack(*resolve(stack, interface, ports, host, model, timeout_s))


def connect_async(
    stack: str | Path,
    interface: str | None = None,
    *,
    ports: Mapping[str, int],
    host: str = "127.0.0.1",
    model: str | None = None,
    timeout_s: float = 30.0,
) -> AsyncStack:
    """As connect(), for `async with`."""
    return AsyncStack(*resolve(stack, interface, ports, host, model, timeout_s))


def resolve(
    stack: str | Path,
    interface: str | None,
    ports: Mapping[str, int],
    host: str,
    model: str | None,
    timeout_s: float,
) -> tuple[Target, Wire]:
    """What stack.toml says of one interface, with the caller's address. Raises ConfigError."""
    if not timeout_s > 0:
        raise ConfigError(f"timeout_s: must be more than 0 seconds, not {timeout_s!r}")
    file = find_file(Path(stack))
    tables = read_tables(file)
    name = choose_interface(file, tables, interface)
    table, where = tables[name], f"{file}: interfaces.{name}"
    speaks = wire(table["protocol"], where)
    if table["port"] not in ports:
        hint = f"ports has {', '.join(map(repr, ports)) or 'nothing'}"
        near = nearest(table["port"], ports)
        raise ConfigError(f"{where}.port: {table['port']!r} is not in ports; {hint}; {near}")
    options = fill_options(table.get("options", {}), speaks.options, model, where)
    port = ports[table["port"]]
    return Target(name, table["protocol"], host, port, options, where, timeout_s), speaks
