"""What must never be in the repository."""

import subprocess

from bench.paths import ROOT
from reports.submit import CREDENTIAL

# Addresses in real prose that a group sends: a documentation's own example.
EXAMPLES = {"://user:pass@"}


def test_no_credential_is_in_the_repository() -> None:
    """A token that was committed once is public for good."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    assert not listed[0] or len(listed) > 500, "git lists hardly anything"
    found = [
        f"{name}: {one[0][:12]}…"
        for name in listed
        if name and (ROOT / name).is_file()
        for one in CREDENTIAL.finditer((ROOT / name).read_text("utf-8", errors="ignore"))
        if one[0] not in EXAMPLES
    ]
    assert not found, found
