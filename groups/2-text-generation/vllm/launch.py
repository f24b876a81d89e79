"""Give every setting a default, then become vLLM's own OpenAI server.

The server replaces this process, so that signals and the process id are its own.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
NUMBERS = ("http_port", "threads", "kv_cache_gb", "max_num_seqs", "queue", "drain_s")


@dataclass(frozen=True)
class Settings:
    """The environment, with defaults for starting by hand."""

    host: str
    http_port: str
    model_dir: Path
    model: str  # the name it is served by
    state_dir: Path
    device: str
    threads: str
    precision: str
    kv_cache_gb: str  # cpu only; a GPU's memory is vLLM's to divide
    max_num_seqs: str  # sequences that are computed at a time
    queue: str  # requests in the server, running and waiting; one more is refused
    drain_s: str  # after SIGTERM
    eager: bool


def compiler() -> str | None:
    """The C++ compiler that torch.compile uses on a CPU, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))


def settings() -> Settings:
    """Read the environment. Exits with a message where a value can't work."""
    env = os.environ
    device = env.get("DEVICE", "cpu")
    if device not in ("cpu", "cuda"):
        sys.exit(f"DEVICE must be cpu or cuda, not {device!r}")
    cpu = device == "cpu"
    read = Settings(
        host=env.get("HOST", "127.0.0.1"),
        http_port=env.get("HTTP_PORT", "8000"),
        model_dir=Path(env.get("MODEL_DIR", HERE / "model")).resolve(),
        model=env.get("MODEL", "gpt2"),
        state_dir=Path(env.get("STATE_DIR") or tempfile.mkdtemp(prefix="vllm-")).resolve(),
        device=device,
        threads=env.get("THREADS", str(len(os.sched_getaffinity(0)))),
        precision=env.get("PRECISION", "fp32"),
        kv_cache_gb=env.get("KV_CACHE_GB", "2"),
        max_num_seqs=env.get("MAX_NUM_SEQS", "64" if cpu else "256"),
        queue=env.get("QUEUE", "128" if cpu else "1024"),
        drain_s=env.get("DRAIN_S", "60"),
        eager=env.get("EAGER", "1" if cpu and not compiler() else "0") == "1",
    )
    for name in NUMBERS:
        value = getattr(read, name)
        if not value.isdecimal() or int(value) < 1:
            sys.exit(f"{name.upper()} must be a whole number above 0, not {value!r}")
    if read.precision not in DTYPES:
        sys.exit(f"PRECISION must be fp32, bf16 or fp16, not {read.precision!r}")
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        if not (read.model_dir / file).is_file():
            sys.exit(f"MODEL_DIR ({read.model_dir}) has no {file}: ../model/build.py makes it")
    if importlib.util.find_spec("vllm") is None:
        sys.exit(f"vllm is not installed: install requirements.{device}.lock")
    return read


def environment(read: Settings) -> dict[str, str]:
    """vLLM's own variables: nothing is fetched, told to anybody or left outside STATE_DIR."""
    # What it learns of a model is kept in the environment of its packages: half a start's time.
    keep = Path(sys.prefix) if os.access(sys.prefix, os.W_OK) else read.state_dir
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(keep / "cache" / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(keep / "cache" / "inductor"),
        "PYTHONSAFEPATH": "1",  # its processes must not take this folder for the module
    }
    if read.device == "cuda":
        return env
    cpus = sorted(os.sched_getaffinity(0))[: int(read.threads)]
    env |= {
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": read.kv_cache_gb,
        # Left to itself vLLM leaves out SMT siblings and one CPU more: these are all it was given.
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cpus)),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    }
    openmp = Path(sysconfig.get_path("data")) / "lib" / "libiomp5.so"
    if openmp.exists():  # vLLM's CPU guide has it preloaded; it comes with the lock
        env["LD_PRELOAD"] = ":".join(filter(None, (env.get("LD_PRELOAD"), str(openmp))))
    return env


def arguments(read: Settings) -> list[str]:
    """The server's command line."""
    return [
        *(sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", read.host, "--port", read.http_port),
        *("--model", str(read.model_dir), "--served-model-name", read.model),
        *("--load-format", "safetensors", "--dtype", DTYPES[read.precision]),
        *("--max-num-seqs", read.max_num_seqs, "--max-num-queued-reqs", read.queue),
        *("--shutdown-timeout", read.drain_s),
        "--disable-uvicorn-access-log",
        *(("--enforce-eager",) if read.eager else ()),
    ]


def main() -> None:
    """Become the server."""
    read = settings()
    os.execve(sys.executable, arguments(read), environment(read))


if __name__ == "__main__":
    main()
