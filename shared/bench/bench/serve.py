"""`make serve`: start one stack by hand, the same way a run does."""

import os
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import server
from bench.artefact import Artefact, ensure_artefact
from bench.cpus import CpuSplit, format_cpus
from bench.errors import UserError
from bench.folders import find_groups, find_stacks
from bench.group import load_group, model_of
from bench.install import at_precision, install, prepare
from bench.lock import hand_mark, served_by_hand
from bench.paths import BUILD
from bench.progress import Reporter
from bench.running import HOST, Running
from bench.settings import Settings, resolve_device
from bench.stack import Stack, load_stack
from bench.toml_files import did_you_mean, where


@contextmanager
def served(
    folder: Path,
    settings: Settings,
    cpus: CpuSplit,
    logs: Path,
    report: Reporter,
    mark: str | None = None,
    ports: Mapping[str, int] | None = None,
) -> Generator[tuple[Running, Artefact]]:
    """A stack that runs and is ready, while the context lasts.

    Its processes carry `mark`, unless told the one of what this process serves by hand; it listens
    at `ports`, by their names in stack.toml, and at free ones. Raises UserError, StackFailed,
    StackSkipped.
    """
    device = resolve_device(settings.device)
    stack: Stack = load_stack(folder, device)
    group = load_group(folder.parent)
    model = model_of(group, settings.model)
    artefact = ensure_artefact(
        group, model, settings.weights, report, ambient=settings.runtime == "ambient"
    )
    precision = settings.precision or stack.precision
    if precision not in stack.precisions:
        hint = did_you_mean(precision, list(stack.precisions))
        raise UserError(
            f"PRECISION={precision}: {group.id}/{stack.id} has none of that name, {hint}"
        )
    installed = at_precision(install(stack, device, settings, report), precision)
    variables = prepare(installed, artefact, device, len(cpus.server), report)
    report.step(f"starting {group.id}/{stack.id}")
    running = server.start(
        *(installed.stack, installed.env, variables, cpus.server, logs, mark or hand_mark()),
        *(installed.image, ports),
    )
    try:
        server.wait_ready(running)
        yield running, artefact
    finally:
        if fault := server.stop(running):
            report.note(f"{stack.id}: {fault}")


def asked_ports(stack: Stack, environ: Mapping[str, str]) -> dict[str, int]:
    """The ports that were asked for, as HTTP_PORT=8000. Raises UserError for one that can't be had.

    Named by the caller of `make serve` alone: what measures takes free ones.
    """
    asked: dict[str, int] = {}
    for name in stack.ports:
        variable = f"{name.upper()}_PORT"
        if not (text := environ.get(variable)):
            continue
        if not (text.isdecimal() and 0 < int(text) < 65_536):
            raise UserError(f"{variable}={text}: a port is a number from 1 to 65535")
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, int(text)))
        except OSError as error:
            raise UserError(
                f"{variable}={text}: {error.strerror}; name another, or none to get a free one"
            ) from None
        asked[name] = int(text)
    return asked


def serve(settings: Settings, cpus: CpuSplit, report: Reporter) -> int:
    """Start the one stack that the settings mean and wait for Ctrl-C. Raises UserError."""
    folders = find_stacks(find_groups(settings.group), settings.stack)
    if len(folders) != 1:
        names = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders)
        raise UserError(f"say which one with STACK=<group>/<stack>: {names}")
    logs = BUILD / "serve" / folders[0].name
    ports = asked_ports(load_stack(folders[0]), os.environ)
    with (
        served_by_hand(report) as mark,
        served(folders[0], settings, cpus, logs, report, mark, ports) as (running, artefact),
    ):
        report.progress.stop()
        report.note(
            f"{running.stack.title}: {artefact.model}, {artefact.weights} weights, "
            f"on CPU {format_cpus(cpus.server)}; logs in {where(logs)}/"
        )
        for interface in running.stack.interfaces:
            port = running.ports[interface.port]
            report.note(f"  {interface.name:<6} 127.0.0.1:{port}  ({interface.protocol})")
        for name in ("MODEL_DIR", "PREPARED_DIR"):
            if place := running.env.get(name):
                report.note(f"  {name}={place}")
        report.note("Ctrl-C stops it")
        while running.alive():
            time.sleep(0.2)
        report.note(f"it ended by itself: {server.last_words(logs)}")
        return 3
