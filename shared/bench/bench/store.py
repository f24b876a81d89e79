"""Write a run's files so that a crash at any moment leaves whole ones or none."""

import json
import math
import os
from pathlib import Path
from typing import Any, cast


def clean(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null. Paths become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in cast(list[Any], value)]
    return str(value) if isinstance(value, Path) else value


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write atomically: a temporary file beside it, flushed to disk, renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("w") as stream:
            json.dump(clean(data), stream, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any] | None:
    """A file's object, or None if it isn't there or isn't whole."""
    try:
        data = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return cast(dict[str, Any], data) if isinstance(data, dict) else None
