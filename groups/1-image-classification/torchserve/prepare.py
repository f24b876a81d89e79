"""Build `MODEL.mar` from the artefact: `MODEL_DIR` in, `PREPARED_DIR` out."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = ("model.safetensors", "labels.json")


def main() -> int:
    """Write the archive. Returns 1, with one line on stderr, when the artefact lacks a file."""
    artefact = Path(os.environ.get("MODEL_DIR", HERE / "artefact"))
    out = Path(os.environ.get("PREPARED_DIR", HERE / "prepared"))
    model = os.environ.get("MODEL", "resnet50")
    missing = [name for name in NEEDED if not (artefact / name).is_file()]
    if missing:
        print(
            f"{', '.join(missing)} not in {artefact}: set MODEL_DIR to the folder that"
            " model/build.py wrote (`make bench` builds it)",
            file=sys.stderr,
        )
        return 1
    out.mkdir(parents=True, exist_ok=True)
    extra = [HERE / "preprocess.py", HERE / "request.py", artefact / "labels.json"]
    arguments = {
        "--model-name": model,
        "--version": "1.0",
        "--serialized-file": artefact / "model.safetensors",
        "--handler": HERE / "handler.py",
        "--extra-files": ",".join(map(str, extra)),
        "--config-file": HERE / "model-config.yaml",
        "--export-path": out,
    }
    command = ["torch-model-archiver", "--force"]
    command += [str(word) for pair in arguments.items() for word in pair]
    print(f"archiving {artefact} as {model}.mar", flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
