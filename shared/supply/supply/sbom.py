"""A bill of materials (CycloneDX) of each lock: what is in an environment or image made from it."""

import subprocess
import sys
from pathlib import Path

from supply.vulnerabilities import last_line, locks

TOOL = (sys.executable, "-P", "-m", "cyclonedx_py")


def write_boms(root: Path, to: Path) -> list[Path]:
    """One file a lock, the same bytes each time. Raises RuntimeError naming the lock that fails."""
    to.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for lock in locks(root):
        inside = lock.relative_to(root)
        name = "-".join(inside.with_suffix("").parts).replace("requirements.", "")
        bom = to / f"{name.removeprefix('groups-')}.cdx.json"
        done = subprocess.run(
            [
                *(*TOOL, "requirements", str(lock), "--output-reproducible", "--no-validate"),
                *("--spec-version", "1.6", "--output-format", "JSON", "--output-file", str(bom)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{inside}: {last_line(done.stdout, done.stderr)}")
        written.append(bom)
    return written
