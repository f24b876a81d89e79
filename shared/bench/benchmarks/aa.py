"""One stack against its own copy: how often does a real run call the same thing different?

`PYTHONPATH=shared/bench:shared/metrics python -P shared/bench/benchmarks/aa.py --group 1 --stack
NAME --profile standard`. The group is copied to `.build/aa/` with that stack in it twice and no
other; the results lie there too, unless RESULTS says where. RUN=<id> continues.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.folders import find_groups, find_stacks, stack_folders
from bench.paths import BUILD, GROUPS, ROOT, results_dir

HOME = BUILD / "aa"


def twice(group: Path, stack: str) -> Path:
    """Copy the group with this stack and a copy of it alone, as deep as it lies here, so that
    k6.js finds the shared scripts. Returns the copy's groups folder."""
    folder = HOME / GROUPS.relative_to(ROOT) / group.name
    scripts = HOME / "shared" / "k6" / "js"
    for old in (folder, scripts):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(group, folder)
    shutil.copytree(ROOT / "shared" / "k6" / "js", scripts)
    for other in stack_folders(folder):
        if other.name != stack:
            shutil.rmtree(other)
    shutil.copytree(folder / stack, folder / f"{stack}-again")
    return folder.parent


def verdict(comparisons: list[dict[str, Any]]) -> list[str]:
    """A line a comparison, and how many were called different."""
    judged = [one for one in comparisons if one["distinguishable"] is not None]
    lines = [
        f"{one['workload']} · {one['metric']}: {one['ratio_low']:.3f}–{one['ratio_high']:.3f}"
        f"{'  called different' if one['distinguishable'] else ''}"
        for one in judged
    ]
    wrong = sum(one["distinguishable"] for one in judged)
    return [
        *lines,
        f"{wrong} of {len(judged)} comparisons of a stack with itself call it different; "
        f"chance alone gives about {0.05 * len(judged):.1f}",
    ]


def main() -> int:
    """Copy, measure, tell. Returns the runner's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--profile", default="standard")
    chosen = parser.parse_args()
    try:
        (group,) = find_groups(chosen.group)
        (stack,) = find_stacks([group], chosen.stack)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    results = results_dir() if os.environ.get("RESULTS") else HOME / "results"
    before = set(results.glob("*"))
    variables = {
        "STUDY_GROUPS": str(twice(group, stack.name)),
        "GROUP": group.name,
        "STACK": "",
        "PROFILE": chosen.profile,
        "RESULTS": str(results),
    }
    command = [sys.executable, "-P", "-m", "bench", "bench"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False)
    run = os.environ.get("RUN") or next((f.name for f in set(results.glob("*")) - before), "")
    try:
        compared = json.loads((results / run / "comparisons.json").read_text())["comparisons"]
    except OSError:
        print("the run did not end: there is nothing to compare", file=sys.stderr)
        return done.returncode or 3
    print("\n".join(verdict(compared)))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
