"""Lay out what tritonserver wants in STATE_DIR, then become tritonserver.

The server replaces this process, so that signals and the process id are its own. Two layouts:
- native: the tritonserver that nvidia-pytriton carries. It has the python backend only.
- container: NVIDIA's image, which has the onnxruntime backend too, configured by
  */configs/onnxruntime.pbtxt; on a GPU it can hand the encoder to TensorRT.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import string
import sys
import sysconfig
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGE_ROOT = Path("/opt/tritonserver")
SHARED_MEMORY = Path("/dev/shm")
MODELS = {"fp32": "encoder.onnx", "fp16": "encoder.fp16.onnx", "int8": "encoder.int8.onnx"}
ACCELERATORS = ("none", "tensorrt")
# In the container lengths are rounded up to a multiple of this, so that requests share a shape.
SAME_LENGTH = 16
MOST_TEXTS = 128  # max_batch_size of every model


@dataclass(frozen=True)
class Settings:
    """The environment, with defaults for starting by hand."""

    host: str
    http_port: str
    grpc_port: str
    metrics_port: str
    model_dir: Path
    state_dir: Path
    device: str
    precision: str
    threads: str
    batch: str  # texts that are executed together, at most
    tokens: str  # tokens that are executed together, padding included, at most
    padding: str  # tokens of padding that one more text may cost
    queue: str  # requests that may wait before each model
    accelerator: str  # what runs the encoder for the onnxruntime backend, if not that itself
    engines: Path  # where TensorRT keeps what it has built

    @property
    def model_file(self) -> Path:
        """The encoder in the precision that was asked for."""
        return self.model_dir / MODELS[self.precision]


def settings() -> Settings:
    """Read the environment. Exits with a message where a value can't work."""
    env = os.environ
    device = env.get("DEVICE", "cpu")
    on_cpu = device == "cpu"
    state = Path(env.get("STATE_DIR") or tempfile.mkdtemp(prefix="triton-")).resolve()
    read = Settings(
        host=env.get("HOST", "127.0.0.1"),
        http_port=env.get("HTTP_PORT", "8000"),
        grpc_port=env.get("GRPC_PORT", "8001"),
        metrics_port=env.get("METRICS_PORT", "8002"),
        model_dir=Path(env.get("MODEL_DIR", HERE / "model")).resolve(),
        state_dir=state,
        device=device,
        precision=env.get("PRECISION", "fp32"),
        threads=env.get("THREADS", str(len(os.sched_getaffinity(0)))),
        batch=env.get("BATCH", "32" if on_cpu else "128"),
        tokens=env.get("TOKENS", "256" if on_cpu else "16384"),
        padding=env.get("PADDING", "14" if on_cpu else "2048"),
        queue=env.get("QUEUE", "64" if on_cpu else "256"),
        accelerator=env.get("ACCELERATOR", "none"),
        engines=Path(env.get("ENGINES") or state / "engines").resolve(),
    )
    numbers = (
        "http_port",
        "grpc_port",
        "metrics_port",
        "threads",
        "batch",
        "tokens",
        "padding",
        "queue",
    )
    for name in numbers:
        if not getattr(read, name).isdigit() or int(getattr(read, name)) < 1:
            sys.exit(f"{name.upper()} must be a whole number above 0, not {getattr(read, name)!r}")
    if device not in ("cpu", "cuda"):
        sys.exit(f"DEVICE must be cpu or cuda, not {device!r}")
    if read.precision not in MODELS:
        sys.exit(f"PRECISION must be {' or '.join(MODELS)}, not {read.precision!r}")
    if read.accelerator not in ACCELERATORS:
        sys.exit(f"ACCELERATOR must be {' or '.join(ACCELERATORS)}, not {read.accelerator!r}")
    if read.accelerator == "tensorrt" and (on_cpu or read.precision != "fp32" or not in_image()):
        sys.exit(
            "ACCELERATOR=tensorrt works in NVIDIA's image, with DEVICE=cuda and PRECISION=fp32 "
            "(TensorRT can't read ONNX Runtime's dynamic quantisation)"
        )
    for file in (read.model_file.name, "tokenizer.json", "embedding.json"):
        if not (read.model_dir / file).is_file():
            sys.exit(f"MODEL_DIR ({read.model_dir}) has no {file}: ../model/build.py makes it")
    return read


def in_image() -> bool:
    """Whether this is NVIDIA's image, which has a backend of its own for ONNX."""
    return (IMAGE_ROOT / "backends" / "onnxruntime").is_dir()


def native_server(state: Path) -> tuple[Path, Path]:
    """tritonserver and its backend directory, from the package.

    The directory is one of links: copied, the Python processes can't find their libraries and the
    server waits for them for ever.
    """
    package = importlib.util.find_spec("pytriton")
    if package is None or not package.submodule_search_locations:
        sys.exit("nvidia-pytriton is not installed: install requirements.cpu.lock")
    root = Path(package.submodule_search_locations[0]) / "tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = state / "backends" / "python"
    backend.mkdir(parents=True)
    stub = root / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.exists():
        sys.exit(f"nvidia-pytriton has no Triton stub for Python {python}")
    for file in (root / "backends" / "python").iterdir():
        if file.name != stub.name:
            (backend / file.name).symlink_to(file)
    (backend / stub.name).symlink_to(stub)
    return root / "bin" / "tritonserver", backend.parent


def optimization(read: Settings, most_tokens: int) -> str:
    """The part of the encoder's configuration that hands it to TensorRT; empty where nothing does.

    As triton-inference-server/onnxruntime_backend's README has it. Told the shapes that can come,
    TensorRT builds one engine for all of them while the model is loaded.
    """
    if read.accelerator != "tensorrt":
        return ""
    longest = -(-most_tokens // SAME_LENGTH) * SAME_LENGTH

    def shapes(texts: int, tokens: int) -> str:
        return ",".join(f"{name}:{texts}x{tokens}" for name in ("input_ids", "attention_mask"))

    told = {
        "precision_mode": "FP32",
        "trt_profile_min_shapes": shapes(1, SAME_LENGTH),
        "trt_profile_opt_shapes": shapes(MOST_TEXTS // 4, min(2 * SAME_LENGTH, longest)),
        "trt_profile_max_shapes": shapes(MOST_TEXTS, longest),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(read.engines),
    }
    lines = "".join(f'    parameters {{ key: "{key}" value: "{told[key]}" }}\n' for key in told)
    return (
        "optimization { execution_accelerators {\n"
        f'  gpu_execution_accelerator: [ {{\n    name: "tensorrt"\n{lines}  }} ]\n}} }}'
    )


def warm_up_files(repository: Path, limit: int, dimensions: int) -> None:
    """What `encoder` and `pool` are warmed up with: one text of `limit` tokens, in tensors as large
    as the largest request makes them. What is padding is zero, and takes no room on the disk.
    """
    mask = array("q", [1]) * limit
    tokens = MOST_TEXTS * limit
    for step, name, begins, items in (
        ("encoder", "attention_mask", mask, tokens),
        ("pool", "attention_mask", mask, tokens),
        ("pool", "token_embeddings", array("f", [1]) * dimensions, tokens * dimensions),
    ):
        folder = repository / step / "warmup"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("wb") as file:
            begins.tofile(file)
            file.truncate(items * begins.itemsize)


def model_repository(read: Settings) -> Path:
    """A copy of model_repository/ with the $names in its configurations filled in."""
    repository = read.state_dir / "model_repository"
    shutil.copytree(
        HERE / "model_repository", repository, ignore=shutil.ignore_patterns("__pycache__")
    )
    told = json.loads((read.model_dir / "embedding.json").read_text())
    names = {
        "threads": read.threads,
        "tokenizers": str(max(2, int(read.threads))),
        "batch": read.batch,
        "tokens": read.tokens,
        "padding": read.padding,
        "queue": read.queue,
        "device": read.device,
        "dimensions": str(told["dimensions"]),
        "most_tokens": str(MOST_TEXTS * told["max_tokens"]),
        "pad_id": str(told["pad_id"]),
        "model_dir": str(read.model_dir),
        "model_file": str(read.model_file),
        "kind": "KIND_GPU" if read.device == "cuda" else "KIND_CPU",
        "same_length": str(SAME_LENGTH),
        "optimization": optimization(read, int(told["max_tokens"])),
    }
    for config in repository.rglob("*.pbtxt"):
        config.write_text(string.Template(config.read_text()).substitute(names))
    (repository / "encoder" / "1" / "model.onnx").symlink_to(read.model_file)
    warm_up_files(repository, told["max_tokens"], told["dimensions"])
    (repository / "embed" / "1").mkdir(exist_ok=True)  # a version folder, empty for an ensemble
    return repository


def remove_leftovers() -> None:
    """Remove the shared memory of servers that were killed and could not do it themselves."""
    for file in SHARED_MEMORY.glob("triton-*-*"):
        pid = file.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):  # another user's, or gone already
                file.unlink()


def main() -> None:
    """Become the server."""
    read = settings()
    repository = model_repository(read)
    env = dict(os.environ)
    # The python backend's processes look for `python` on PATH and libpython on the loader's path.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, (sysconfig.get_config_var("LIBDIR"), env.get("LD_LIBRARY_PATH")))
    )
    # fp32 is to be fp32: ONNX Runtime and TensorRT would multiply in TF32 on a GPU.
    env.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    # The tokenizer's own threads, one pool a process; the processes are what runs in parallel.
    env["RAYON_NUM_THREADS"] = "1"
    # Large tensors go back to the system when they are freed: glibc would by and by keep them.
    env.setdefault("MALLOC_MMAP_THRESHOLD_", str(4 << 20))
    if in_image():
        read.engines.mkdir(parents=True, exist_ok=True)
        server, backends = IMAGE_ROOT / "bin" / "tritonserver", IMAGE_ROOT / "backends"
        extra = ["--model-config-name=onnxruntime"]
    else:
        # Not in a container: there process ids are its own, /dev/shm may be the host's.
        remove_leftovers()
        server, backends = native_server(read.state_dir)
        extra = []
    arguments = [
        str(server),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--http-address={read.host}",
        f"--http-port={read.http_port}",
        f"--grpc-address={read.host}",
        f"--grpc-port={read.grpc_port}",
        f"--metrics-address={read.host}",
        f"--metrics-port={read.metrics_port}",
        "--allow-gpu-metrics=" + ("true" if read.device == "cuda" else "false"),
        "--pinned-memory-pool-byte-size=" + ("268435456" if read.device == "cuda" else "0"),
        "--exit-timeout-secs=60",
        # Shared memory of this server alone, so that two on one machine can't meet.
        f"--backend-config=python,shm-region-prefix-name=triton-{os.getpid()}-",
        *extra,
    ]
    os.execve(server, arguments, env)


if __name__ == "__main__":
    main()
