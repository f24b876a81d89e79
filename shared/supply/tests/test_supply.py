"""Audits: what could not be checked is never green, and no dependency comes in unread."""

import io
import json
import stat
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bench.paths import ROOT
from supply.__main__ import conclusion, verdict
from supply.images import bill, components, read_files
from supply.licences import TABLE, faults
from supply.vulnerabilities import (
    ACCEPTED,
    Answer,
    accepted,
    audit_go,
    audit_lock,
    audit_locks,
    unconditional,
)

PIN = "left-pad==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"


def tool(folder: Path, says: str, code: int) -> tuple[str, str]:
    """A test double of an auditing tool: it counts its calls, says that and exits so."""
    double = folder / "tool"
    double.write_text(
        f"#!/bin/sh\necho called $@ >> {folder}/calls\ncat {folder}/says\nexit {code}\n"
    )
    double.chmod(double.stat().st_mode | stat.S_IXUSR)
    (folder / "says").write_text(says)
    return "/bin/sh", str(double)


def package(**more: Any) -> dict[str, Any]:
    return {"name": "left-pad", "version": "1.0", **more}


VULNERABLE = package(vulns=[{"id": "CVE-1", "fix_versions": ["1.1"]}])
UNKNOWN = package(skip_reason="not found")


@pytest.mark.parametrize(
    ("says", "code", "exits"),
    [
        (json.dumps({"dependencies": [package(vulns=[])]}), 0, 0),
        (json.dumps({"dependencies": [VULNERABLE]}), 1, 1),
        (json.dumps({"dependencies": [package(vulns=[]), UNKNOWN]}), 0, 2),
        (json.dumps({"dependencies": [VULNERABLE, UNKNOWN]}), 1, 1),
        ("could not resolve host", 1, 2),
        ("", 0, 2),
    ],
)
def test_only_what_was_checked_is_clean(says: str, code: int, exits: int, tmp_path: Path) -> None:
    """A database out of reach must not read as no vulnerabilities."""
    lock = tmp_path / "requirements.lock"
    lock.write_text(PIN)
    answer = audit_lock(lock, tmp_path, tool(tmp_path, says, code))
    assert verdict([Answer("other"), answer], []) == exits
    assert bool(answer.unchecked) == ("not found" in says or "dependencies" not in says)
    assert verdict([answer], ["a licence"]) == 1


def test_every_pin_is_asked_for_whatever_python_it_is_for(tmp_path: Path) -> None:
    """Half of a lock is for another Python than the one that asks: what a marker keeps out there
    was never looked up, and called clean."""
    lock = tmp_path / "requirements.lock"
    forked = PIN.replace("==1.0 ", "==1.0 ; python_full_version < '3.12' ")
    newer = PIN.replace("==1.0 ", "==2.0 ; python_full_version >= '3.12' ")
    other = PIN.replace("left-pad", "other")
    lock.write_text(f"# made by uv\n{forked}    # via b\n{newer}{other}")
    first, second = unconditional(lock.read_text())
    assert first.split() == [
        *PIN.split(),
        "#",
        "via",
        "b",
        *other.split(),
    ]
    assert second.split() == PIN.replace("1.0", "2.0").split()
    answer = audit_lock(
        lock, tmp_path, tool(tmp_path, json.dumps({"dependencies": [VULNERABLE]}), 1)
    )
    assert answer.found == ("left-pad 1.0: CVE-1, fixed in 1.1",) * 2


def test_a_database_out_of_reach_is_asked_once(tmp_path: Path) -> None:
    """Forty time-outs in a row would look like a hang. Each lock is named all the same, and none is
    told another's answer."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.lock").write_text(PIN)
    answers = audit_locks(tmp_path, tool(tmp_path, "no such host", 1))
    why = "not asked for: there was no answer on a.lock"
    assert [(answer.thing, answer.unchecked) for answer in answers] == [
        ("a.lock", "no such host"),
        ("b.lock", why),
        ("c.lock", why),
    ]
    assert (tmp_path / "calls").read_text().count("called") == 1
    assert verdict(answers, []) == 2
    assert conclusion(answers, []) == (
        "audit: nothing found; 3 of 3 could not be checked, or not wholly"
    )


def test_what_was_checked_is_concluded_in_words() -> None:
    """make has one exit code for a vulnerability and for a database out of reach. Broken by a last
    line that sounds clean where something was found."""
    clean, bad = Answer("a"), Answer("b", ("x 1: CVE-1", "y 2: CVE-2"))
    assert conclusion([clean], []) == "audit: nothing found in 1 that were checked"
    assert conclusion([clean, bad], ["a licence"]) == "audit: 3 found in 2 that were checked"


def test_what_was_accepted_is_not_told_until_its_day_has_passed(tmp_path: Path) -> None:
    """Broken by an exception that nobody ever looks at again, or that nobody gave a reason for."""
    file = tmp_path / ACCEPTED
    file.parent.mkdir(parents=True)
    file.write_text('[CVE-1]\nreason = "not reached"\nuntil = 2027-01-31\n')
    assert accepted(tmp_path, date(2027, 1, 31)) == ["CVE-1"]
    assert accepted(tmp_path, date(2027, 2, 1)) == []
    (tmp_path / "a.lock").write_text(PIN)
    audit_locks(tmp_path, tool(tmp_path, "{}", 0), ["CVE-1", "CVE-2"])
    assert "--ignore-vuln CVE-1 --ignore-vuln CVE-2" in (tmp_path / "calls").read_text()
    for text in ("[CVE-1]\nuntil = 2027-01-31\n", '[CVE-1]\nreason = "so"\nuntil = "soon"\n'):
        file.write_text(text)
        with pytest.raises(ValueError, match="CVE-1: it needs reason"):
            accepted(tmp_path)
    assert accepted(ROOT) is not None


@pytest.mark.parametrize(("code", "exits"), [(0, 0), (3, 1), (1, 2)])
def test_the_generators_code_is_judged_alike(code: int, exits: int, tmp_path: Path) -> None:
    """govulncheck says 3 for found and 1 for a database that it could not fetch."""
    (tmp_path / "shared" / "k6").mkdir(parents=True)
    answer = audit_go(tmp_path, tool(tmp_path, "Vulnerability #1: GO-2026-1\n", code))
    assert verdict([answer], []) == exits


def test_an_images_packages_are_read_from_its_files() -> None:
    """Broken by a package that was removed and is told all the same, by one told twice, by a name
    or a version that no database of vulnerabilities would know, or by a link that is followed."""
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.3+deb12\n"
    )
    gone = "Package: perl\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 5\n"
    metadata = "Metadata-Version: 2.1\nName: Left_Pad\nVersion: 1.0+cpu\n\nText.\n"
    lib = "environment/lib/python3.12/site-packages"
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as archive:
        for name, text in {
            "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
            "var/lib/dpkg/status": f"{status}\n{gone}",
            f"{lib}/left_pad-1.0.dist-info/METADATA": metadata,
            f"./usr{lib[11:]}/left_pad-1.0.dist-info/METADATA": metadata,
            f"{lib}/left_pad/METADATA": "Name: no package\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo(f"{lib}/other-1.dist-info/METADATA")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    image.seek(0)
    found = components(read_files(image))
    assert [one["purl"] for one in found] == [
        "pkg:deb/debian/libc6@1:2.3%2Bdeb12?arch=amd64&distro=debian-12",
        "pkg:pypi/left-pad@1.0%2Bcpu",
    ]
    assert [one["name"] for one in found] == ["libc6", "left-pad"]
    said = bill("localhost/study/a:cpu-1", "sha256:ab", found)
    assert said["metadata"]["component"]["name"] == "localhost/study/a"
    assert said == bill("localhost/study/a:cpu-1", "sha256:ab", found), "other bytes each time"


def test_every_dependency_has_a_licence_that_was_read() -> None:
    """A dependency that nobody looked at may forbid what this repository's licence grants."""
    assert faults(ROOT, {}) == []


def test_what_is_wrong_with_a_licence_is_named(tmp_path: Path) -> None:
    """Unknown, not allowed, changed upstream, or no longer used: each is one line with its file."""
    table = tmp_path / TABLE
    table.parent.mkdir(parents=True)
    table.write_text(
        'allowed = ["MIT", "Apache-2.0"]\n[exceptions]\n"a/agpl" = "why"\n'
        '[python]\nfree = "MIT"\nchoice = "GPL-3.0-only OR MIT"\nclosed = "MIT AND GPL-3.0-only"\n'
        'gone = "MIT"\n[go]\n"a/agpl" = "AGPL-3.0-only"\n'
    )
    (tmp_path / "shared" / "k6").mkdir()
    (tmp_path / "shared" / "k6" / "go.mod").write_text("require (\n\ta/agpl v1.0.0\n)\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["free>=1", "choice", "closed[x]"]\n'
        '[project.optional-dependencies]\nmore = ["New_One"]\n'
    )
    found = faults(tmp_path, {"free": "BSD-3-Clause", "choice": "MIT OR GPL-3.0-only"})
    assert len(found) == 4, found
    assert "closed: MIT AND GPL-3.0-only: none of GPL-3.0-only is allowed" in found[0]
    assert "pyproject.toml: new-one: read its licence" in found[1]
    assert "gone: nothing asks for it" in found[2]
    assert "free: says MIT, its own metadata say BSD-3-Clause" in found[3]
