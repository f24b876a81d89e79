"""uvicorn's HTTP/1.1 protocol with two limits it lacks.

A timeout for a request's headers: without it, a connection that sends nothing, or a header a
minute, stays open and counts against the connection limit for ever. And connections: uvicorn's own
limit answers 503 on all of them, this one closes what comes beyond it.

And it reads the body of a request that offers to change protocols ("Upgrade: h2c", as Java's client
does by default), which uvicorn loses: an offer may be ignored (RFC 9110, 7.8).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOPBACK = ("127.0.0.1", "::1")
FOR_PROBES = 16  # beyond the limit, from this machine: a full server must not look like a dead one


class Parser(HttpRequestParser):
    """Reads on after an offer to upgrade, where `ignored` returns the same head without it.

    The parser stops after such a head, says where in the data, and takes what follows for the next
    request. `ignored` returns None for an offer that is accepted.
    """

    def __init__(self, protocol: object, ignored: Callable[[], bytes | None]) -> None:
        super().__init__(protocol)
        self._ignored = ignored

    def feed_data(self, data: bytes | memoryview) -> None:
        while True:
            try:
                return super().feed_data(data)
            except HttpParserUpgrade as offer:
                head = self._ignored()
                if head is None:
                    raise
                super().feed_data(head)
                data = memoryview(data)[offer.args[0] :]


def with_limits(seconds: float, connections: int) -> type[HttpToolsProtocol]:
    class Protocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.parser = Parser(self, self._head_without_offer)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
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
            if not self._ignores_offer():  # else it comes again, without the offer
                super().on_headers_complete()

        def on_message_complete(self) -> None:
            if not self._ignores_offer():
                super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # More of a body that was answered before its end stops uvicorn's timer of idle
            # connections, and nothing would start it again.
            if self._deadline is None and self.cycle and self.cycle.response_complete:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _ignores_offer(self) -> bool:
            # CONNECT is an upgrade too, to the parser, but no offer.
            offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
            return offered and not self._should_upgrade()

        def _head_without_offer(self) -> bytes | None:
            if not self._ignores_offer():
                return None
            version = self.parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
            lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            return b"\r\n".join([*lines, b"", b""])

        def _wait(self) -> None:
            self._stop_waiting()
            self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
