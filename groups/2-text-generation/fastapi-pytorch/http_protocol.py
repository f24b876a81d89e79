"""uvicorn's HTTP/1.1 protocol with three limits it lacks.

A timeout for a request's headers: without it, a connection that sends nothing, or a header a
minute, stays open and counts against the connection limit for ever. And how much that was not sent
yet is kept for a slow reader: without it 64 kB, hundreds of tokens that nobody may ever read. And
connections: uvicorn's own limit answers 503 on all of them, this one closes what comes beyond it.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOPBACK = ("127.0.0.1", "::1")
FOR_PROBES = 16  # beyond the limit, from this machine: a full server must not look like a dead one


def with_limits(
    header_timeout_s: float, unsent_bytes: int, connections: int
) -> type[HttpToolsProtocol]:
    class Protocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(unsent_bytes)
            local = self.client is not None and self.client[0] in LOOPBACK
            if len(self.connections) > connections + (FOR_PROBES if local else 0):
                transport.close()
                return
            self._wait()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._wait()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # More of a body that was answered before its end stops uvicorn's timer of idle
            # connections, and nothing would start it again.
            if self._deadline is None and self.cycle and self.cycle.response_complete:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._stop_waiting()
            self._deadline = self.loop.call_later(header_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
