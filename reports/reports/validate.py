"""Checks a results folder against its JSON Schemas: `python -m reports.validate`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonschema import Draft202012Validator

from reports.columns import RESULTS
from reports.disk import check_folder
from reports.files import FolderError, results_folder

GLOBS = {
    "run": "*/run.json",
    "stack": "*/stacks/*.json",
    "trial": "*/trials/*.json",
    "comparisons": "*/comparisons.json",
    "calibration": "calibration/*.json",
    "overhead": "overhead/*.json",
    "crosschecks": "crosscheck/*.json",
}


def faults(folder: Path) -> list[str]:
    """One line a fault: the file, the key and what is wrong. Raises ValueError without any file."""
    found: list[str] = []
    checked = 0
    for name, glob in GLOBS.items():
        schema = json.loads((RESULTS / "schema" / f"{name}.schema.json").read_text("utf-8"))
        validator = Draft202012Validator(schema)
        for file in sorted(folder.glob(glob)):
            checked += 1
            place = file.relative_to(folder)
            try:
                data = json.loads(file.read_bytes())
            except (OSError, ValueError) as error:
                found.append(f"{place}: {error}")
                continue
            for error in validator.iter_errors(data):  # pyright: ignore[reportUnknownMemberType]
                key = "/".join(str(part) for part in error.absolute_path) or "the file"
                found.append(f"{place}: {key}: {error.message}"[:400])
    if not checked:
        raise ValueError(f"there is nothing to check in {folder}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the faults. Returns 0 if there are none, 1 if there are, 2 if there is no file."""
    parser = argparse.ArgumentParser(prog="reports.validate", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    given = results_folder(parser.parse_args(arguments).results)
    folder = Path(given.address)
    try:
        if given.remote:
            raise FolderError(f"{given.address}: copy it here, only local files are checked")
        check_folder(given.address)
        found = faults(folder)
    except ValueError as error:
        print(f"validate: {error}", file=sys.stderr)
        return 2
    for fault in found:
        print(fault)
    print(f"{len(found)} faults in {folder}" if found else f"{folder}: as its schemas say")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
