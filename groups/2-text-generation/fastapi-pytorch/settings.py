"""Every knob of the server: an environment variable each, read at start; README says why so."""

import os
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("fp32", "bf16")


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
    precision: str
    threads: int  # CPUs this process may use
    kv_tokens: int  # tokens whose keys and values fit, prompts and answers together
    max_batch: int  # sequences in one step
    step_tokens: int  # tokens in one step: prompts longer than that are read in parts
    queue_requests: int  # admitted and not yet begun
    send_buffer_tokens: int  # generated and not yet taken by a slow reader
    max_body_bytes: int
    max_connections: int
    header_timeout_s: int
    body_timeout_s: int
    send_timeout_s: int
    keep_alive_s: int
    grace_s: int  # how long answers in flight may take after SIGTERM


def from_environment() -> Settings:
    """Raises SettingsError."""
    device = os.environ.get("DEVICE", "cpu")
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"DEVICE={device!r}: must be cpu or cuda")
    precision = os.environ.get("PRECISION", "fp32")
    if precision not in PRECISIONS:
        raise SettingsError(f"PRECISION={precision!r}: must be {' or '.join(PRECISIONS)}")
    cpu = device == "cpu"
    return Settings(
        host=os.environ.get("HOST", "127.0.0.1"),
        http_port=_integer("HTTP_PORT", 8000, low=0),
        grpc_port=_integer("GRPC_PORT", 8001, low=0),
        model_dir=Path(os.environ.get("MODEL_DIR", "model")),
        model=os.environ.get("MODEL", "gpt2"),
        device=device,
        precision=precision,
        threads=_integer("THREADS", len(os.sched_getaffinity(0))),
        kv_tokens=_integer("KV_TOKENS", 8192 if cpu else 65536),
        max_batch=_integer("MAX_BATCH", 32 if cpu else 128),
        step_tokens=_integer("STEP_TOKENS", 256 if cpu else 2048),
        queue_requests=_integer("QUEUE_REQUESTS", 32 if cpu else 256),
        send_buffer_tokens=_integer("SEND_BUFFER_TOKENS", 64),
        max_body_bytes=_integer("MAX_BODY_BYTES", 1_000_000),
        max_connections=_integer("MAX_CONNECTIONS", 2048),
        header_timeout_s=_integer("HEADER_TIMEOUT_S", 10),
        body_timeout_s=_integer("BODY_TIMEOUT_S", 30),
        send_timeout_s=_integer("SEND_TIMEOUT_S", 30),
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
