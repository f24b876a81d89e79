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
    workers: int  # batches at the same time, each with threads / workers threads of its own
    max_batch: int  # texts in one batch
    batch_tokens: int  # tokens in one batch, padding included; a longer text is one by itself
    padding_tokens: int  # a text joins a batch if it takes no more padding than this
    passing_us: int  # a single text's turn comes so long after it, for each of its tokens
    max_texts: int  # in one request
    max_chars: int  # of one text; what is beyond the model's limit is cut off anyway
    queue_texts: int  # requests of one text admitted and not yet answered
    bulk_queue_texts: int  # texts of larger requests admitted and not yet answered
    max_body_bytes: int
    max_buffered_bytes: int  # bodies being received, all connections together
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
    cpu = device == "cpu"
    threads = _integer("THREADS", len(os.sched_getaffinity(0)))
    max_texts = _integer("MAX_TEXTS", 256)
    return Settings(
        host=os.environ.get("HOST", "127.0.0.1"),
        http_port=_integer("HTTP_PORT", 8000, low=0),
        grpc_port=_integer("GRPC_PORT", 8001, low=0),
        model_dir=Path(os.environ.get("MODEL_DIR", "model")),
        model=os.environ.get("MODEL", "minilm"),
        device=device,
        precision=precision,
        threads=threads,
        workers=_integer("WORKERS", threads if cpu else 1),
        max_batch=_integer("MAX_BATCH", 32 if cpu else 256),
        batch_tokens=_integer("BATCH_TOKENS", 256 if cpu else 16_384),
        padding_tokens=_integer("PADDING_TOKENS", 4 if cpu else 64, low=0),
        passing_us=_integer("PASSING_US", 1000 if cpu else 0, low=0),
        max_texts=max_texts,
        max_chars=_integer("MAX_CHARS", 100_000),
        queue_texts=_integer("QUEUE_TEXTS", 128 * threads if cpu else 2048),
        bulk_queue_texts=_integer("BULK_QUEUE_TEXTS", 4 * max_texts if cpu else 8192),
        max_body_bytes=_integer("MAX_BODY_BYTES", 4_000_000),
        max_buffered_bytes=_integer("MAX_BUFFERED_BYTES", 200_000_000),
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
