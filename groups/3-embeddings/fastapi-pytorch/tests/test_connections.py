"""How many connections a server holds."""

import socket
from typing import Any


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
