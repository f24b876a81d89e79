"""`make serve`: one stack by hand."""

import signal
from typing import Any
from urllib.request import urlopen

import pytest

from bench.server import free_ports


def test_a_server_by_hand_listens_where_it_was_asked_to(study: Any) -> None:
    """A tutorial's calls go to the ports that it names. Broken by other ports, or by a second
    server that takes the first one's for its own; and by not saying where the model lies, which
    whoever starts the container has to name."""
    port = str(free_ports(["http"])["http"])
    first = study.start("serve", STACK="steady", HTTP_PORT=port)
    first.wait_for("Ctrl-C stops it")
    assert f"127.0.0.1:{port} " in first.said()
    assert "MODEL_DIR=/" in first.said() and "PREPARED_DIR" not in first.said()
    with urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200
    code, said = study.run("serve", STACK="steady", HTTP_PORT=port)
    assert code == 2 and f"HTTP_PORT={port}: Address already in use" in said, said
    first.process.send_signal(signal.SIGINT)
    assert first.finish() == 130


@pytest.mark.parametrize("port", ["0", "70000", "http", "-1"])
def test_what_is_no_port_is_said(study: Any, port: str) -> None:
    """Before anything is built or installed for it."""
    code, said = study.run("serve", STACK="steady", HTTP_PORT=port)
    assert code == 2 and said.strip() == f"HTTP_PORT={port}: a port is a number from 1 to 65535"
