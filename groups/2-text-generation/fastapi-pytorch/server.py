"""A text generator over HTTP, WebSocket and gRPC, in one process. Its knobs are in settings.py."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
import uvloop

import grpc_api
from generator import Generator, load
from http_api import create_app
from http_protocol import with_limits
from model import Model, ModelError
from settings import Settings, SettingsError, from_environment
from text import Text

log = logging.getLogger("server")
SEND_BUFFER_BYTES = 8192  # of a connection, here and in the kernel: what is kept for a slow reader


class StartError(Exception):
    """One line that says why the server can't start."""


class HttpServer(uvicorn.Server):
    """uvicorn, stopping the gRPC server together with itself."""

    def __init__(
        self,
        config: uvicorn.Config,
        generator: Generator,
        stop_grpc: Callable[[], Awaitable[None]],
        grace_s: float,
    ) -> None:
        super().__init__(config)
        self._generator = generator
        self._stop_grpc = stop_grpc
        self._grace_s = grace_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._generator.draining = True
        for server in self.servers:
            server.close()  # nobody new; uvicorn does the same, but later
        stopped = asyncio.create_task(self._stop_grpc())
        # uvicorn closes WebSockets at once: let their answers end first, and all others with them.
        loop = asyncio.get_running_loop()
        end = loop.time() + self._grace_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._generator.drained(), self._grace_s)
        # Not the grace a second time: whoever sent the signal kills soon after the first.
        self.config.timeout_graceful_shutdown = max(1, int(end - loop.time()))
        await asyncio.gather(super().shutdown(sockets), stopped)


async def serve(settings: Settings, model: Model, text: Text) -> None:
    generator = Generator(settings, model, text)
    if not await generator.probe():
        raise StartError("the model is loaded, but can't generate; see the lines above")
    listener = _listen(settings)
    try:
        stop_grpc = await grpc_api.start(settings, generator)
    except RuntimeError as error:
        raise StartError(f"GRPC_PORT={settings.grpc_port}: {error}") from None
    config = uvicorn.Config(
        create_app(settings, generator),
        http=with_limits(settings.header_timeout_s, SEND_BUFFER_BYTES, settings.max_connections),
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # a frame holds a few bytes
        lifespan="off",
        access_log=False,  # /metrics counts; a line a request would cost more than its routing
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        log_config=None,
    )
    gc.freeze()  # what is loaded now lives as long as the process: no need to look at it again
    log.info(
        "%s (%s weights) on %s: http %s:%s, grpc %s:%s, %s threads, up to %s sequences, %s tokens",
        model.name,
        model.weights,
        settings.device,
        *listener.getsockname()[:2],
        settings.host,
        settings.grpc_port,
        settings.threads,
        settings.max_batch,
        settings.kv_tokens,
    )
    server = HttpServer(config, generator, stop_grpc, settings.grace_s)
    # uvicorn stops on a signal and raises it again when it has stopped: then it means nothing.
    _on_signal(signal.SIG_IGN)
    await server.serve(sockets=[listener])
    generator.close()


def _exit(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _on_signal(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _listen(settings: Settings) -> socket.socket:
    address = (settings.host, settings.http_port)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise StartError(
            f"HTTP_PORT={settings.http_port} on {settings.host}: {error.strerror}"
        ) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listener.setblocking(False)
    return listener


def main() -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # else two lines a WebSocket
    _on_signal(_exit)  # nothing is in flight before the server listens
    try:
        settings = from_environment()
        model, text = load(settings)
        uvloop.run(serve(settings, model, text))
    except (SettingsError, ModelError, StartError) as error:
        log.error("%s", error)
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
