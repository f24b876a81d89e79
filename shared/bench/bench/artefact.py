"""The one artefact that all stacks of a group load, and the payloads they are sent."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.building import only_builder
from bench.commands import run_shown
from bench.digests import combined, file_digest, folder_digest
from bench.environments import ensure_environment, python_of
from bench.errors import StackFailed, UserError
from bench.group import Group, Load
from bench.pairs import pairs_needed
from bench.paths import BUILD
from bench.progress import Reporter
from bench.toml_files import where


@dataclass(frozen=True)
class Payload:
    """One real input; its place among those of its kind in the manifest is its number.

    It is a file or, where the manifest holds it itself, a text. `audit`: held back from all traffic
    until the equal-work audit. `set`: sent only by loads that name it; None is the main set.
    """

    name: str
    path: Path | None
    sha256: str
    probe: bool
    audit: bool
    set: str | None = None
    text: str | None = None

    def data(self) -> bytes:
        """What is sent; of a text, its UTF-8."""
        return self.path.read_bytes() if self.path else (self.text or "").encode()

    def planned(self) -> dict[str, str]:
        """As the plan for k6 names it."""
        return {"name": self.name} | (
            {"path": str(self.path)} if self.path else {"text": self.text or ""}
        )


@dataclass(frozen=True)
class Artefact:
    """The built model: its folder, digest, weights and the answers it gives."""

    folder: Path
    model: str
    weights: str
    digest: str
    manifest: dict[str, Any]
    reference: dict[str, Any]
    expected: dict[str, str | None]


def read_payloads(group: Group) -> list[Payload]:
    """The group's payloads, digests checked. Raises UserError naming the file that differs."""
    folder = group.folder / "payloads"
    manifest = folder / "manifest.json"
    try:
        entries = json.loads(manifest.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{where(manifest)}: {error}") from None
    some = any(entry.get("probe") for entry in entries)
    payloads: list[Payload] = []
    for entry in entries:
        path, sha256 = read_entry(entry, folder)
        audit = bool(entry.get("audit"))
        probe = not audit and bool(entry.get("probe", not some))
        of = entry.get("set")
        text = None if path else entry["text"]
        payloads.append(Payload(entry["name"], path, sha256, probe, audit, of, text))
    if all(payload.audit for payload in payloads):
        raise UserError(f"{where(manifest)}: lists no payload that isn't held back for the audit")
    held = sum(payload.audit for payload in payloads)
    if held and pairs_needed(held) is None:
        raise UserError(f"{where(manifest)}: {held} payloads are marked `audit`; mark 7 or more")
    for load in group.loads.values():
        if not payloads_of(payloads, load):
            sets = sorted({payload.set or "(main)" for payload in payloads if not payload.audit})
            at = f"{where(group.folder / 'group.toml')}: loads.{load.name}.payloads"
            raise UserError(f"{at}: no payload is of the set {load.payloads!r}; sets: {sets}")
    return payloads


def read_entry(entry: dict[str, Any], folder: Path) -> tuple[Path | None, str]:
    """An entry's file, None where it holds a text itself, and the SHA-256. Raises UserError."""
    if isinstance(entry.get("text"), str):
        return None, hashlib.sha256(entry["text"].encode()).hexdigest()
    if "file" not in entry:
        at = f"{where(folder / 'manifest.json')}: {entry.get('name')!r}"
        raise UserError(f"{at} has neither a file nor a text")
    path = folder / entry["file"]
    if not path.exists():
        raise UserError(f"{where(path)}: named in manifest.json but not there")
    if file_digest(path) != entry["sha256"]:
        raise UserError(f"{where(path)}: differs from manifest.json; restore it with git")
    return path, entry["sha256"]


def payloads_of(payloads: Sequence[Payload], load: Load) -> list[Payload]:
    """What a load sends: its set, without what is held back for the audit."""
    return [each for each in payloads if each.set == load.payloads and not each.audit]


def payloads_digest(payloads: list[Payload]) -> str:
    """One digest over all payloads, in order."""
    return combined(payload.sha256 for payload in payloads)


def read_artefact(folder: Path) -> Artefact:
    """Read a built artefact's manifest, references and expected answers."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return Artefact(
        folder=folder,
        model=manifest["model"],
        weights=manifest["weights"],
        digest=manifest["content_sha256"],
        manifest=manifest,
        reference=json.loads((folder / "reference.json").read_text()),
        expected=json.loads((folder / "expected.json").read_text()),
    )


def ensure_artefact(
    group: Group, model: str, weights: str, report: Reporter, *, ambient: bool = False
) -> Artefact:
    """Build the artefact unless it was built from these very sources. Raises StackFailed.

    `ambient`: with the Python on PATH, where nothing may be installed.
    """
    with only_builder(BUILD / "artefacts" / group.id / model, report):
        return build_artefact(group, model, weights, report, ambient)


def build_artefact(
    group: Group, model: str, weights: str, report: Reporter, ambient: bool
) -> Artefact:
    """What ensure_artefact does while no one else does it."""
    project = group.folder / "model"
    home = BUILD / "artefacts" / group.id
    key = combined([folder_digest(project), folder_digest(group.folder / "payloads")])
    stamp = home / f"{model}-{weights}.stamp"
    if stamp.exists():
        built = json.loads(stamp.read_text())
        if built["key"] == key and (home / built["folder"] / "manifest.json").exists():
            return read_artefact(home / built["folder"])
    env = None if ambient else ensure_environment(project, "cpu", report)
    report.step(f"building the artefact {model} ({weights} weights)")
    home.mkdir(parents=True, exist_ok=True)
    building = home / f"{model}-building"
    shutil.rmtree(building, ignore_errors=True)
    run_shown(
        [
            *(python_of(env), "-P", "build.py", "--model", model),
            *("--weights", weights, "--payloads", str(group.folder / "payloads")),
            *("--out", str(building)),
        ],
        cwd=project,
        show=lambda line: report.detail(f"{model}: {line}"),
        what=f"building {where(project)}",
    )
    artefact = read_artefact(building)
    if weights != "auto" and artefact.weights != weights:
        raise StackFailed(f"{where(project)} built {artefact.weights} weights, not {weights}")
    final = home / f"{model}-{artefact.weights}"
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)
    # What `auto` became is found again under its own name too, as a replay asks for it.
    for asked in {weights, artefact.weights}:
        built = {"key": key, "folder": final.name}
        (home / f"{model}-{asked}.stamp").write_text(json.dumps(built))
    report.note(f"built {model} with {artefact.weights} weights, {artefact.digest[:12]}")
    return read_artefact(final)
