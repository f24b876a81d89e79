"""Lay out what tritonserver wants in STATE_DIR, then become tritonserver.

The server replaces this process, so that signals and the process id are its own. Two layouts:
- native: the tritonserver that nvidia-pytriton carries. It has the python backend only.
- container: NVIDIA's image, which has the onnxruntime backend too, configured by
  resnet50/configs/onnxruntime.pbtxt.
"""

import contextlib
import importlib.util
import os
import shutil
import string
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGE_ROOT = Path("/opt/tritonserver")
SHARED_MEMORY = Path("/dev/shm")
MODELS = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}
HOME_PREFIX = "classify-triton-"  # of the temporary folder that stands in for STATE_DIR


@dataclass(frozen=True)
class Settings:
    """The environment, with defaults for starting by hand."""

    host: str
    http_port: str
    grpc_port: str
    metrics_port: str
    model_dir: Path
    state_dir: Path | None
    device: str
    precision: str
    threads: str
    queue: str  # requests that may wait before each model

    @property
    def model(self) -> Path:
        """ResNet50 in the precision that was asked for."""
        return self.model_dir / MODELS[self.precision]


def default_queue(device: str, threads: str) -> str:
    """On a CPU, eight requests a CPU: what waits longer than that is late anyhow."""
    return str(8 * int(threads)) if device == "cpu" and threads.isdigit() else "128"


def settings() -> Settings:
    """Read the environment. Exits with a message where a value can't work."""
    env = os.environ
    device = env.get("DEVICE", "cpu")
    threads = env.get("THREADS", str(len(os.sched_getaffinity(0))))
    read = Settings(
        host=env.get("HOST", "127.0.0.1"),
        http_port=env.get("HTTP_PORT", "8000"),
        grpc_port=env.get("GRPC_PORT", "8001"),
        metrics_port=env.get("METRICS_PORT", "8002"),
        model_dir=Path(env.get("MODEL_DIR", HERE / "model")).resolve(),
        state_dir=Path(env["STATE_DIR"]).resolve() if env.get("STATE_DIR") else None,
        device=device,
        precision=env.get("PRECISION", "fp32"),
        threads=threads,
        queue=env.get("QUEUE", default_queue(device, threads)),
    )
    for name in ("threads", "queue", "http_port", "grpc_port", "metrics_port"):
        if not getattr(read, name).isdigit() or int(getattr(read, name)) < 1:
            sys.exit(f"{name.upper()} must be a whole number above 0, not {getattr(read, name)!r}")
    if device not in ("cpu", "cuda"):
        sys.exit(f"DEVICE must be cpu or cuda, not {device!r}")
    if read.precision not in MODELS:
        sys.exit(f"PRECISION must be {' or '.join(MODELS)}, not {read.precision!r}")
    for file in (read.model.name, "labels.json"):
        if not (read.model_dir / file).is_file():
            sys.exit(f"MODEL_DIR ({read.model_dir}) has no {file}: ../model/build.py makes it")
    return read


def state_folder(read: Settings) -> Path:
    """STATE_DIR, or a temporary folder, named so that a later start knows whether it is in use."""
    return read.state_dir or Path(tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{os.getpid()}-"))


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


def model_repository(read: Settings, state: Path) -> Path:
    """A copy of model_repository/ with the $names in its configurations filled in."""
    repository = state / "model_repository"
    shutil.copytree(
        HERE / "model_repository", repository, ignore=shutil.ignore_patterns("__pycache__")
    )
    names = {
        "threads": read.threads,
        "decoders": str(max(4, int(read.threads))),
        "queue": read.queue,
        "device": read.device,
        "model_dir": str(read.model_dir),
        "model": str(read.model),
        "kind": "KIND_GPU" if read.device == "cuda" else "KIND_CPU",
    }
    for config in repository.rglob("*.pbtxt"):
        config.write_text(string.Template(config.read_text()).substitute(names))
    (repository / "resnet50" / "1" / "model.onnx").symlink_to(read.model)
    (repository / "classify" / "1").mkdir(exist_ok=True)  # a version folder, empty for an ensemble
    return repository


def remove_leftovers() -> None:
    """Remove what servers that are gone could not remove themselves.

    That is the shared memory of killed ones, and the temporary folder of each. Where its process id
    is in use again, by whatever, it stays until a later start.
    """
    for file in SHARED_MEMORY.glob("triton-*-*"):
        if is_gone(file.name.split("-")[1]):
            with contextlib.suppress(OSError):  # another user's, or gone already
                file.unlink()
    for folder in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*-*"):
        pid = folder.name.removeprefix(HOME_PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            if is_gone(pid) and folder.lstat().st_uid == os.getuid():  # root could remove others'
                shutil.rmtree(folder)  # which does not follow a link


def is_gone(pid: str) -> bool:
    """Whether it is a process id that no process has."""
    return pid.isdigit() and not Path("/proc", pid).exists()


def main() -> None:
    """Become the server."""
    read = settings()
    state = state_folder(read)
    repository = model_repository(read, state)
    env = dict(os.environ)
    # The python backend's processes look for `python` on PATH and libpython on the loader's path.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, (sysconfig.get_config_var("LIBDIR"), env.get("LD_LIBRARY_PATH")))
    )
    # fp32 is to be fp32: ONNX Runtime and TensorRT would multiply in TF32 on a GPU.
    env.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    if (IMAGE_ROOT / "backends" / "onnxruntime").is_dir():
        server, backends = IMAGE_ROOT / "bin" / "tritonserver", IMAGE_ROOT / "backends"
        extra = ["--model-config-name=onnxruntime"]
    else:
        # Not in a container: there process ids are its own, /dev/shm may be the host's.
        remove_leftovers()
        server, backends = native_server(state)
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
        "--exit-timeout-secs=30",
        # Shared memory of this server alone, so that two on one machine can't meet.
        f"--backend-config=python,shm-region-prefix-name=triton-{os.getpid()}-",
        *extra,
    ]
    os.execve(server, arguments, env)


if __name__ == "__main__":
    main()
