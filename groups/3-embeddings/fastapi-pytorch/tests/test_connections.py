"""How many connections a server holds."""

import http.client
import json
import socket
import time
from typing import Any

import pytest


def test_connections_beyond_the_limit_are_closed(another: Any):
    """Those that are there go on being served, and so are some more from the machine itself.

    Breaks if one connection too many has all of them refused, a health check's among them.
    """
    with another(MAX_CONNECTIONS="4") as (_, http):
        address = (http.base_url.host, http.base_url.port)
        callers = [socket.create_connection(address, 60) for _ in range(40)]
        said: list[bytes] = []
        for caller in callers:
            try:
                caller.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
                said.append(caller.recv(12))
            except ConnectionError:
                said.append(b"")
        assert 4 <= said.count(b"HTTP/1.1 200") <= 20 and b"" in said
        assert set(said) == {b"HTTP/1.1 200", b""}
        assert http.get("/live").status_code == 200, "the one that was there before"
        for caller in callers:
            caller.close()


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_an_offer_to_upgrade_is_ignored(server: Any, pieces: int):
    """A request that offers h2c, as Java's client does by default, is answered like any other, and
    so is the next on its connection (RFC 9110, 7.8).

    Breaks if the parser stops after such a head: the body is lost, or taken for the next request.
    """
    body = b'{"input": "rain"}'

    def request(extra: bytes) -> bytes:
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += b"%bContent-Length: %d\r\n\r\n"
        return head % (extra, len(body)) + body

    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    with socket.create_connection(address, 60) as caller:
        answers: list[bytes] = []
        for extra in (b"", offer, b"", offer):
            sent = request(extra)
            step = -(-len(sent) // pieces)
            for start in range(0, len(sent), step):
                caller.sendall(sent[start : start + step])
                time.sleep(0.02 if pieces > 1 else 0)
            answer = http.client.HTTPResponse(caller)
            answer.begin()
            said = answer.read()
            assert answer.status == 200, said
            answers.append(json.loads(said))
        assert answers == [answers[0]] * 4
        caller.sendall(request(offer) + request(b""))
        both = b""
        while both.count(b"HTTP/1.1 200") < 2:  # the second must not wait for more to come
            both += (more := caller.recv(100_000))
            assert more, both
