"""gRPC calls that are not read yet, and the health service."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

METHOD = "/study.classify.v1.Classifier/Classify"
SERVICE = "study.classify.v1.Classifier"
HEALTH = "/grpc.health.v1.Health/"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # messages of one field: nothing to generate


def about(service: str) -> bytes:
    """A HealthCheckRequest."""
    return bytes([10, len(service)]) + service.encode() if service else b""


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def connect(port: str) -> grpc.Channel:
    """A connection of its own: channels in a process share one else."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)


def peak_mb(process: Any) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(x.split()[1]) // 1000 for x in lines if x.startswith("VmHWM"))


def silent(end: threading.Event) -> Iterator[bytes]:
    """A message that does not come."""
    end.wait()
    yield from ()


def test_messages_are_received_in_turn(another: Any, pb: Any):
    """Forty messages of 19 MB take little memory where there is room for one at a time.

    Breaks if a message is received before its call's turn, if connections' windows grow so far
    that it is in memory unread, and if a refused call's message outlives it: each of them 760 MB.
    """
    port = free_port()
    sent = pb.ClassifyRequest(images=[bytes(19_000_000)]).SerializeToString()
    with another(MAX_BUFFERED_BYTES="20000000", GRPC_PORT=port) as (process, http):
        before = peak_mb(process)
        channels = [connect(port) for _ in range(4)]
        calls = [channels[i % 4].unary_unary(METHOD).future(sent, timeout=120) for i in range(40)]
        codes = {call.code() for call in calls}
        assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert grpc.StatusCode.INVALID_ARGUMENT in codes
        assert peak_mb(process) - before < 300
        assert http.get("/ready").status_code == 200
        for channel in channels:
            channel.close()


def test_calls_that_send_nothing(another: Any, server: Any, pb: Any):
    """More of them than the queue can hold are refused at once, and none stays for ever.

    Breaks if a call is refused only after its message, or a silent one keeps its place.
    """
    port = free_port()
    words = {"QUEUE_IMAGES": "1", "BULK_QUEUE_IMAGES": "2", "BODY_TIMEOUT_S": "3"}
    end = threading.Event()
    with another(GRPC_PORT=port, **words), connect(port) as channel:
        stream = channel.stream_unary(METHOD)
        held = [stream.future(silent(end), timeout=60) for _ in range(2)]
        time.sleep(1)
        started = time.monotonic()
        third = stream.future(silent(end), timeout=60)
        assert third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "full" in third.details()
        assert dict(third.trailing_metadata())["grpc-retry-pushback-ms"].isdigit()
        assert time.monotonic() - started < 1
        assert [call.code() for call in held] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
        assert "3 s" in held[0].details()
        image = pb.ClassifyRequest(images=[server.payload(0)]).SerializeToString()
        answer = channel.unary_unary(METHOD)(image, timeout=60)
        assert len(pb.ClassifyResponse.FromString(answer).results) == 1
        end.set()


@pytest.mark.parametrize(("sent", "word"), [([], "no message"), ([b"\xff"], "ClassifyRequest")])
def test_no_message_and_a_broken_one(server: Any, sent: list[bytes], word: str):
    """Both are the sender's fault, and said to be."""
    with connect(str(server.port("grpc"))) as channel:
        call = channel.stream_unary(METHOD).future(iter(sent), timeout=60)
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert word in call.details()


def test_health_is_readiness(another: Any, server: Any, tmp_path: Path):
    """Who asks and who watches over gRPC hears what GET /ready says.

    Breaks if the health service says SERVING while no inference succeeds, or never again after.
    """
    failing, port = tmp_path / "failing", free_port()
    words = {"INFERENCES_FAIL": str(failing), "GRPC_PORT": port}
    jpeg = {"content-type": "image/jpeg"}
    with (
        another("tests/failing_server.py", **words) as (_, http),
        connect(port) as channel,
    ):
        check = channel.unary_unary(HEALTH + "Check")
        seen: queue.Queue[bytes] = queue.Queue()
        watched = channel.unary_stream(HEALTH + "Watch")(about(SERVICE))

        def watch() -> None:
            try:
                for answer in watched:
                    seen.put(answer)
            except grpc.RpcError:
                pass  # cancelled below

        watcher = threading.Thread(target=watch)
        watcher.start()

        def said() -> list[bytes]:
            return [check(about(name), timeout=10) for name in ("", SERVICE)]

        def classified(http: httpx.Client) -> int:
            return http.post("/v1/classify", content=server.payload(0), headers=jpeg).status_code

        try:
            assert seen.get(timeout=10) == SERVING
            assert said() == [SERVING] * 2
            failing.touch()
            assert classified(http) == 500
            assert said() == [NOT_SERVING] * 2
            assert http.get("/ready").status_code == 503
            assert seen.get(timeout=10) == NOT_SERVING
            failing.unlink()
            assert seen.get(timeout=10) == SERVING, "without anybody who asks"
            assert said() == [SERVING] * 2
            failing.touch()
            assert classified(http) == 500
            assert seen.get(timeout=10) == NOT_SERVING, "without anybody who asks"
        finally:
            watched.cancel()
            watcher.join()
