"""Every knob of the server: an environment variable each, read at start; README says why so."""

import os
from dataclasses import dataclass
from pathlib import Path


class SettingsError(Exception):
    """A variable that can't be used: its name, its value and what would do."""


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    http_port: int
    grpc_port: int
    model_dir: Path
    model: str
    device: str
    precision: str  # fp32 | fp16
    threads: int  # CPUs this process may use
    workers: int  # inferences at the same time, each with threads / workers threads of its own
    max_batch: int  # images in one inference
    max_client_batch: int  # images in one request
    queue_images: int  # single images admitted and not yet answered
    bulk_queue_images: int  # the same for requests of several images
    max_body_bytes: int
    max_buffered_bytes: int  # bodies being received, all connections together
    max_pixels: int
    max_connections: int
    header_timeout_s: int
    body_timeout_s: int
    keep_alive_s: int
    grace_s: int  # how long requests in flight may take after SIGTERM


def from_environment() -> Settings:
    """Raises SettingsError."""
    device = os.environ.get("DEVICE", "cpu")
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"DEVICE={device!r}: must be cpu or cuda")
    precision = os.environ.get("PRECISION", "fp32")
    if precision not in ("fp32", "fp16"):
        raise SettingsError(f"PRECISION={precision!r}: must be fp32 or fp16")
    threads = _integer("THREADS", len(os.sched_getaffinity(0)))
    queue_images = _integer("QUEUE_IMAGES", 8 * threads if device == "cpu" else 128)
    max_client_batch = _integer("MAX_CLIENT_BATCH", 32)
    return Settings(
        host=os.environ.get("HOST", "127.0.0.1"),
        http_port=_integer("HTTP_PORT", 8000, low=0),
        grpc_port=_integer("GRPC_PORT", 8001, low=0),
        model_dir=Path(os.environ.get("MODEL_DIR", "model")),
        model=os.environ.get("MODEL", "resnet50"),
        device=device,
        precision=precision,
        threads=threads,
        workers=_integer("WORKERS", threads if device == "cpu" else 1),
        max_batch=_integer("MAX_BATCH", 1 if device == "cpu" else 32),
        max_client_batch=max_client_batch,
        queue_images=queue_images,
        bulk_queue_images=_integer("BULK_QUEUE_IMAGES", 4 * max_client_batch),
        max_body_bytes=_integer("MAX_BODY_BYTES", 20_000_000),
        max_buffered_bytes=_integer("MAX_BUFFERED_BYTES", 400_000_000),
        max_pixels=_integer("MAX_PIXELS", 50_000_000),
        max_connections=_integer("MAX_CONNECTIONS", 1024),
        header_timeout_s=_integer("HEADER_TIMEOUT_S", 10),
        body_timeout_s=_integer("BODY_TIMEOUT_S", 30),
        keep_alive_s=_integer("KEEP_ALIVE_S", 65),
        grace_s=_integer("GRACE_S", 15),
    )


def _integer(name: str, default: int, low: int = 1) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < low:
        raise SettingsError(f"{name}={text!r}: must be a whole number of at least {low}")
    return int(text)
