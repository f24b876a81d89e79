"""Locust replays what k6 sends, byte for byte: a group's locustfile.py names the group.

REQUESTS is the file that `make requests` wrote. With RECORDS, a folder, each request's time as
Locust reports it is written there as a raw record; WARMUP and WINDOW are then seconds.
"""

# Locust is not in the environment that types are checked in.
# pyright: basic, reportMissingImports=false

import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, constant, events, task
from locust.env import Environment
from urllib3.util import SKIP_HEADER

from records import Records, circle, read_requests

file = os.environ.get("REQUESTS")
if not file:
    raise SystemExit(
        "REQUESTS is not set: run `make requests GROUP=… STACK=…`, and give the file it names"
    )
requests = circle(read_requests(Path(file)))


class Replay(HttpUser):
    """A caller that waits for its answer and asks again at once."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Send the recorded headers alone: requests and urllib3 would add their own."""
        self.client.headers.clear()

    @task
    def ask(self) -> None:
        """The next request of the circle."""
        _, request = next(requests)
        self.client.request(
            request.method,
            request.path,
            data=request.body,
            headers={"Accept-Encoding": SKIP_HEADER, **dict(request.headers)},
        )


if os.environ.get("RECORDS"):
    kept: list[Records] = []

    @events.test_start.add_listener
    def begin(environment: Environment, **_: Any) -> None:
        """The window is counted from here; --run-time counts Locust's own start as well."""
        warmup, window = float(os.environ["WARMUP"]), float(os.environ["WINDOW"])
        kept.append(Records(Path(os.environ["RECORDS"]), warmup, window))
        gevent.spawn_later(warmup + window, environment.runner.quit)

    @events.request.add_listener
    def record(response_time: float, response: Any, exception: Any, **_: Any) -> None:
        """A request has ended now; Locust says how long it took, in ms."""
        done = time.monotonic_ns()
        status = getattr(response, "status_code", -1) or -1
        body = getattr(response, "content", b"") or b""
        sent = done - int(response_time * 1e6)
        kept[-1].put(sent, done, status, body, str(exception) if exception else "")

    @events.quit.add_listener
    def close(**_: Any) -> None:
        """Put what was recorded on the disk."""
        for records in kept:
            records.file.close()
