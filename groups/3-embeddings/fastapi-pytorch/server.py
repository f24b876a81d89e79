"""Text embeddings over HTTP and gRPC, in one process. Its knobs are in settings.py."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import torch
import uvicorn
import uvloop

import grpc_api
from batcher import Batcher
from embedder import Embedder
from errors import RequestError
from http_api import create_app
from http_protocol import with_limits
from model import Model, ModelError, load
from settings import Settings, SettingsError, from_environment
from waiting import Limits, Waiting

log = logging.getLogger("server")


class StartError(Exception):
    """One line that says why the server can't start."""


class HttpServer(uvicorn.Server):
    """uvicorn, stopping the gRPC server together with itself."""

    def __init__(
        self,
        config: uvicorn.Config,
        embedder: Embedder,
        stop_grpc: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._embedder = embedder
        self._stop_grpc = stop_grpc

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._embedder.draining = True
        await asyncio.gather(super().shutdown(sockets), self._stop_grpc())


async def serve(settings: Settings, model: Model) -> None:
    limits = Limits(settings.max_batch, settings.batch_tokens, settings.padding_tokens)
    waiting = Waiting(limits, settings.passing_us / 1e6)
    threads = max(1, settings.threads // settings.workers)
    batcher = Batcher(
        model.embed, settings.workers, waiting, lambda: torch.set_num_threads(threads)
    )
    embedder = Embedder(settings, model, batcher)

    async def probe() -> bool:
        try:
            await batcher.embed(model.tokenize(["ready?"]))  # past the queue's limit
        except RequestError as error:
            log.error("%s", error.message)
            return False
        return True

    if not await probe():
        raise StartError("the model is loaded, but can't answer; see the line above")

    listener = _listen(settings)
    try:
        stop_grpc = await grpc_api.start(settings, embedder, model, probe)
    except RuntimeError as error:
        raise StartError(f"GRPC_PORT={settings.grpc_port}: {error}") from None
    config = uvicorn.Config(
        create_app(settings, model, embedder, probe),
        http=with_limits(settings.header_timeout_s, settings.max_connections),
        ws="none",
        lifespan="off",
        access_log=False,  # /metrics counts; a line a request would cost more than its routing
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.grace_s,
        log_config=None,
    )
    gc.freeze()  # what is loaded now lives as long as the process: no need to look at it again
    log.info(
        "%s (%s weights) on %s: http %s:%s, grpc %s:%s, %s worker(s), "
        "batch <= %s texts, %s tokens, queue %s texts",
        model.name,
        model.weights,
        settings.device,
        *listener.getsockname()[:2],
        settings.host,
        settings.grpc_port,
        settings.workers,
        settings.max_batch,
        settings.batch_tokens,
        settings.queue_texts,
    )
    server = HttpServer(config, embedder, stop_grpc)
    # uvicorn stops on a signal and raises it again when it has stopped: then it means nothing.
    _on_signal(signal.SIG_IGN)
    await server.serve(sockets=[listener])
    embedder.close()


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
    listener.setblocking(False)
    return listener


def main() -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _on_signal(_exit)  # nothing is in flight before the server listens
    try:
        settings = from_environment()
        torch.set_num_threads(max(1, settings.threads // settings.workers))
        model = load(settings)
        model.warm_up((8, 64, model.max_tokens))
        uvloop.run(serve(settings, model))
    except (SettingsError, ModelError, StartError) as error:
        log.error("%s", error)
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
