"""Where things lie in a checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / ".build"
TOOLS = BUILD / "tools"
# Tests of the runner bring groups of their own.
GROUPS = Path(os.environ.get("STUDY_GROUPS") or ROOT / "groups").resolve()
K6_SOURCE = ROOT / "shared" / "k6"


def results_dir() -> Path:
    """The results folder: RESULTS, or `results/` of this checkout."""
    return Path(os.environ.get("RESULTS") or ROOT / "results").resolve()


def slug(project: Path) -> str:
    """A folder below the checkout as one word: groups/1-x/triton -> groups-1-x-triton."""
    project = project.resolve()
    parts = project.relative_to(ROOT).parts if project.is_relative_to(ROOT) else project.parts[1:]
    return "-".join(parts)
