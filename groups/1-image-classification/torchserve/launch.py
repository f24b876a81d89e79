"""Start TorchServe in the foreground; on SIGTERM answer what is in flight, stop it all, exit 0."""

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from ts import model_server

HERE = Path(__file__).resolve().parent
DEFAULTS = {
    "HOST": "127.0.0.1",
    "HTTP_PORT": "8080",
    "GRPC_PORT": "7070",
    "MANAGEMENT_PORT": "8081",
    "GRPC_MANAGEMENT_PORT": "7071",
    "METRICS_PORT": "8082",
    "MODEL": "resnet50",
    "DEVICE": "cpu",
    "PRECISION": "fp32",
}
PRECISIONS = ("fp32", "fp16")  # handler.py: TYPES
LOOPBACK = "127.0.0.1"  # config.properties: the management APIs listen nowhere else
DRAIN_S = 15
MAX_WORKERS = 8  # each takes 1.2 GB
MAX_SOCKET_FOLDER = 80  # a worker's socket, folder and name, must fit Linux' 107 characters


class CantStart(Exception):
    """A setting is wrong; the message names it and the way out."""


def main() -> int:
    """Run the server until it is told to stop. Returns 1 if it died by itself or can't start."""
    os.environ.update({name: os.environ.get(name, value) for name, value in DEFAULTS.items()})
    try:
        check_prerequisites(model_store := prepared_dir())
        with tempfile.TemporaryDirectory(prefix="ts-") as short:
            state = Path(os.environ.get("STATE_DIR", short)).resolve()
            scratch = state / "tmp"
            scratch.mkdir(parents=True, exist_ok=True)
            configure(state, scratch if len(str(scratch)) < MAX_SOCKET_FOLDER else Path(short))
            check_ports()
            # TorchServe leaves logs/ and, with tokens, a secret in the folder it is started from.
            os.chdir(state)
            return serve(model_store)
    except CantStart as error:
        print(error, file=sys.stderr)
        return 1


def prepared_dir() -> Path:
    return Path(os.environ.get("PREPARED_DIR", HERE / "prepared")).resolve()


def check_prerequisites(model_store: Path) -> None:
    """Raises CantStart where TorchServe would say less, or retry for ever."""
    archive = model_store / f"{os.environ['MODEL']}.mar"
    if not archive.is_file():
        raise CantStart(f"{archive} is missing: set PREPARED_DIR and run prepare.py")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise CantStart("there is no java: apt-get install openjdk-17-jre-headless")
    if (device := os.environ["DEVICE"]) not in ("cpu", "cuda"):
        raise CantStart(f"DEVICE='{device}': choose cpu or cuda")
    if (precision := os.environ["PRECISION"]) not in PRECISIONS:
        raise CantStart(f"PRECISION='{precision}': choose {' or '.join(PRECISIONS)}")


def check_ports() -> None:
    """Raises CantStart where TorchServe would print a stack trace that names no variable."""
    for name in (name for name in DEFAULTS if name.endswith("_PORT")):
        host = LOOPBACK if "MANAGEMENT" in name else os.environ["HOST"]
        try:
            socket.create_server((host, whole_number(name))).close()
        except OSError as error:
            raise CantStart(
                f"{name}={os.environ[name]}: {os.strerror(error.errno or 0)}"
            ) from error


def configure(state: Path, scratch: Path) -> None:
    """Set what config.properties and the workers read from the environment."""
    cuda = os.environ["DEVICE"] == "cuda"
    threads = whole_number("THREADS", len(os.sched_getaffinity(0)))
    workers = whole_number("WORKERS", 1 if cuda else min(threads, MAX_WORKERS))
    os.environ.update(
        HOST=socket.gethostbyname(os.environ["HOST"]),  # gRPC takes no names
        METRICS_CONFIG=str(HERE / "metrics.yaml"),
        NUMBER_OF_GPU="1" if cuda else "0",
        WORKERS=str(workers),
        JOB_QUEUE_SIZE=str(whole_number("JOB_QUEUE_SIZE", 128 if cuda else 8 * threads)),
        OMP_NUM_THREADS=str(max(1, threads // workers)),
        OMP_WAIT_POLICY="passive",  # threads that wait leave the CPU to Java and each other
        LOG_LOCATION=str(state / "logs"),
        METRICS_LOCATION=str(state / "logs"),
        TEMP=str(scratch),  # Java: unpacked models and the workers' sockets
        TMPDIR=str(scratch),
    )
    # TorchServe's pid file: with one a machine, a second server would not start.
    tempfile.tempdir = str(scratch)


def whole_number(name: str, default: int = 0) -> int:
    """The variable's value, at least 1. Raises CantStart."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise CantStart(f"{name}='{text}' is not a whole number above 0")
    return int(text)


def serve(model_store: Path) -> int:
    """TorchServe's own start-up, in this process; its Java is our child."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        told_twice, stopping = stopping, True
        if not told_twice:
            drain()
        for child in psutil.Process().children():
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.argv[1:] = [
        "--start",
        "--foreground",
        "--no-config-snapshots",
        *("--model-store", str(model_store)),
        *("--ts-config", str(HERE / "config.properties")),
        *("--log-config", str(HERE / "log4j2.xml")),
    ]
    model_server.start()
    if not stopping:
        print("TorchServe ended by itself: the lines above say why", file=sys.stderr)
    return 0 if stopping else 1


def drain() -> None:
    """Return when every request that TorchServe holds now is answered, at most DRAIN_S later.

    TorchServe resets its REST connections on SIGTERM. Its queue is first in, first out, and a
    worker does one batch at a time: when each worker has answered a request that was sent after
    the signal, all earlier ones are answered. An empty body is the cheapest request. The second
    round is for requests that were on their way and came into the queue behind the first.
    """
    deadline = time.monotonic() + DRAIN_S
    try:
        for _ in range(2):
            waiting = ready_workers()
            while waiting and time.monotonic() < deadline:
                status, pid = ask(timeout=max(0.1, deadline - time.monotonic()))
                waiting.discard(pid)
                if status == http.HTTPStatus.SERVICE_UNAVAILABLE:  # the queue is full
                    time.sleep(0.05)
    except (OSError, http.client.HTTPException) as error:
        print(f"stopping without waiting for requests in flight: {error}", file=sys.stderr)


def ready_workers() -> set[int]:
    """Process ids of the workers that are READY now. Raises OSError if there is no answer."""
    url = f"http://{LOOPBACK}:{os.environ['MANAGEMENT_PORT']}/models/{os.environ['MODEL']}"
    with urllib.request.urlopen(url, timeout=5) as response:
        models: list[dict[str, Any]] = json.load(response)
    workers = [worker for model in models for worker in model["workers"]]
    return {worker["pid"] for worker in workers if worker["status"] == "READY"}


def ask(timeout: float) -> tuple[int, int]:
    """Send an empty body: the status and the process id of the worker that refused it, or 0."""
    connection = http.client.HTTPConnection(
        os.environ["HOST"], int(os.environ["HTTP_PORT"]), timeout=timeout
    )
    try:
        connection.request("POST", f"/predictions/{os.environ['MODEL']}", body=b"")
        response = connection.getresponse()
        return response.status, int(response.headers.get("x-worker-pid", 0))
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
