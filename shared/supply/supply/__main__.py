"""`make audit` and `make sbom`: `python -m supply audit|sbom`, at the top of a checkout."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from supply.images import write_image_boms
from supply.licences import faults, installed_licences
from supply.sbom import write_boms
from supply.vulnerabilities import ACCEPTED, PIP_AUDIT, Answer, accepted, audit_go, audit_locks


def verdict(answers: Sequence[Answer], wrong: Sequence[str]) -> int:
    """1 if something was found, 2 if something could not be checked, 0 only if all is well."""
    if wrong or any(answer.found for answer in answers):
        return 1
    return 2 if any(answer.unchecked for answer in answers) else 0


def conclusion(answers: Sequence[Answer], wrong: Sequence[str]) -> str:
    """The verdict in words: make gives the same exit code to everything that isn't clean."""
    found = sum(len(answer.found) for answer in answers) + len(wrong)
    missed = sum(bool(answer.unchecked) for answer in answers)
    said = f"audit: {found} found" if found else "audit: nothing found"
    if missed:
        return f"{said}; {missed} of {len(answers)} could not be checked, or not wholly"
    return f"{said} in {len(answers)} that were checked"


def audit(root: Path) -> int:
    """Print what was found and what was not checked; returns the verdict."""
    try:
        ignored = accepted(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    answers = [*audit_locks(root, PIP_AUDIT, ignored), audit_go(root)]
    if ignored:
        print(f"accepted     {', '.join(ignored)}: why and until when is in {ACCEPTED}")
    for answer in answers:
        if answer.unchecked:
            print(f"not checked  {answer.thing}: {answer.unchecked}")
        for line in answer.found:
            print(f"vulnerable   {answer.thing}: {line}")
        if not answer.found and not answer.unchecked:
            print(f"clean        {answer.thing}")
    wrong = faults(root, installed_licences(root))
    for line in wrong:
        print(f"licence      {line}")
    if not wrong:
        print("clean        licences of direct dependencies")
    print(conclusion(answers, wrong))
    return verdict(answers, wrong)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m supply", description=__doc__)
    parser.add_argument("what", choices=("audit", "sbom"))
    root = Path.cwd()
    if parser.parse_args(arguments).what == "audit":
        return audit(root)
    try:
        locks = write_boms(root, root / ".build" / "sbom")
        images = write_image_boms(root, root / ".build" / "sbom" / "images")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f".build/sbom: {len(locks)} bills of materials, one a lock")
    if images:
        print(f".build/sbom/images: {len(images)}, one an image that is here")
    else:
        print("no image of this checkout is here: `make image` builds one, then it has one too")
    return 0


if __name__ == "__main__":
    sys.exit(main())
