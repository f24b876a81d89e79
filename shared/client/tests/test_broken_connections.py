"""A server that dies in the middle of a call is Unreachable, whichever way it is called."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_client import Unreachable, connect, connect_async

SERVER = """
import sys, time
sys.path.append(sys.argv[1])
import wire_grpc
server, port = wire_grpc.serve()
print(port, flush=True)
time.sleep(60)
"""


@pytest.fixture
def doomed(running: Any) -> Iterator[tuple[Any, dict[str, int]]]:
    """A gRPC server that is killed 0.7 s after it started, in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    timer = threading.Timer(0.7, process.kill)
    timer.start()
    yield running.folder, {"grpc": port}
    timer.cancel()
    process.kill()
    process.wait()
    process.stdout.close()


def test_grpc(doomed: tuple[Any, dict[str, int]]) -> None:
    folder, ports = doomed
    with connect(folder, "grpc", ports=ports) as stack, pytest.raises(Unreachable):
        stack.classify([b"slow"])


def test_grpc_async(doomed: tuple[Any, dict[str, int]]) -> None:
    folder, ports = doomed

    async def ask() -> None:
        async with connect_async(folder, "grpc", ports=ports) as stack:
            await stack.classify([b"slow"])

    with pytest.raises(Unreachable):
        asyncio.run(ask())


def test_http_that_hangs_up(running: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        ports = {"http": listener.getsockname()[1]}
        with connect(running.folder, "rest", ports=ports) as stack, pytest.raises(Unreachable):
            stack.classify([b"picture 1"])


def test_grpc_to_a_port_that_speaks_http(running: Any) -> None:
    ports = {"grpc": running.ports["http"]}
    with connect(running.folder, "grpc", ports=ports) as stack, pytest.raises(Unreachable):
        stack.classify([b"picture 1"])


def test_a_name_that_is_no_host(running: Any) -> None:
    for interface, port in (("rest", "http"), ("grpc", "grpc")):
        with (
            connect(running.folder, interface, ports={port: 80}, host="no-host.invalid") as stack,
            pytest.raises(Unreachable),
        ):
            stack.classify([b"picture 1"])
