"""What a run's figures depend on, by digest, and the refusal to go on with anything else."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.digests import file_digest, folder_digest
from bench.environments import ambient_packages
from bench.errors import UserError
from bench.group import Group
from bench.machine import git
from bench.paths import ROOT, results_dir
from bench.starting import started_with
from bench.toml_files import where

if TYPE_CHECKING:
    from bench.setup import Part

# What measures, as against what is measured.
SOURCES = (
    "shared/bench/bench",
    "shared/bench/requirements.lock",
    "shared/k6",
    "shared/metrics/metrics",
    "shared/metrics/sql",
)


def digest(path: Path) -> str | None:
    """SHA-256 of a file, or of a folder without prose, tests and caches; None if it is gone."""
    if path.is_dir():
        return folder_digest(path)
    return file_digest(path) if path.is_file() else None


def source_digests() -> dict[str, str]:
    """{path in the checkout: SHA-256} of the runner, the generator and the metrics."""
    return {name: found for name in SOURCES if (found := digest(ROOT / name))}


def group_digests(part: "Part", device: str) -> dict[str, str]:
    """{path in the group's folder: SHA-256} of all that a run takes from there.

    Locks and k6.js are listed beside the folder they lie in, so that a difference is named.
    """
    folder = part.group.folder
    files = (payload.path for payload in part.payloads if payload.path)
    payloads = (str(file.relative_to(folder)) for file in files)
    names = ["group.toml", "payloads/manifest.json", *payloads]
    names += ["model", "model/requirements.cpu.lock"]
    for engine in part.engines:
        names += [f"engines/{engine}", f"engines/{engine}/requirements.{device}.lock"]
    for stack in part.installed:
        names += [stack, f"{stack}/k6.js", f"{stack}/requirements.{device}.lock"]
    return {name: found for name in names if (found := digest(folder / name))}


def changed(recorded: Mapping[str, str], base: Path) -> list[str]:
    """The recorded paths below `base` that are not what they were; a folder only where no file
    in it is named."""
    other = [name for name, sha256 in recorded.items() if digest(base / name) != sha256]
    return [name for name in other if not any(one.startswith(f"{name}/") for one in other)]


def changed_sources(facts: Mapping[str, Any], groups: Iterable[Group]) -> list[str]:
    """One phrase for each file or folder that differs from what run.json (`facts`) says."""
    if "sources_sha256" not in facts:
        now = git("rev-parse", "HEAD")
        return [] if now == facts["git_commit"] else [f"the commit, now {(now or 'unknown')[:12]}"]
    found = [f"{name} differs" for name in changed(facts["sources_sha256"], ROOT)]
    for group in groups:
        recorded = facts["groups"][group.id]["inputs_sha256"]
        for name in changed(recorded, group.folder):
            path = group.folder / name
            found.append(f"{where(path)} {'differs' if path.exists() else 'is gone'}")
    return found


def changed_setup(facts: Mapping[str, Any], part: "Part") -> list[str]:
    """One phrase for each artefact, server version or inherited variable that is not as it was,
    and each artefact file that its manifest doesn't vouch for."""
    then = facts["groups"][part.group.id]
    found: list[str] = []
    for model, artefact in part.artefacts.items():
        began = then["artefacts"][model]["content_sha256"]
        if began != artefact.digest:
            found.append(f"the artefact {model} was {began[:12]}, here {artefact.digest[:12]}")
        for name, entry in artefact.manifest["files"].items():
            if digest(artefact.folder / name) != entry["sha256"]:
                found.append(
                    f"{where(artefact.folder / name)} is not what its manifest says: "
                    f"delete {where(artefact.folder)}, then it is built again"
                )
    if (packages := then.get("packages")) is not None:
        here = ambient_packages()
        found += [
            f"the package {name} was {packages.get(name, 'not there')}, "
            f"here it is {here.get(name, 'not there')}"
            for name in sorted(packages | here)
            if packages.get(name) != here.get(name)
        ]
    for stack, installed in part.installed.items():
        if (was := then["versions"].get(stack)) != installed.version:
            found.append(f"the server of {stack} was {was}, here it is {installed.version}")
        knobs = then.get("started_with", {}).get(stack, {}).get("knobs", {})
        now = started_with(installed, {})["knobs"]
        for name in sorted(knobs | now):
            # Paths are the machine's own, and another machine may replay.
            path = "/" in knobs.get(name, "") + now.get(name, "")
            if knobs.get(name) != now.get(name) and not path:
                found.append(
                    f"the variable {name} was {knobs.get(name, 'not set')}, "
                    f"here it is {now.get(name, 'not set')}"
                )
    return found


def changed_plan(facts: Mapping[str, Any], parts: Iterable["Part"]) -> list[str]:
    """Why the trials that are planned now are not those of run.json, in its order, if so."""
    parts = list(parts)
    then = [row["id"] for row in facts["plan"]]
    now = [trial.id for part in parts for start in part.starts for trial in start.trials]
    if then == now:
        return []
    unfit = {f"{row['stack']}: {row['reason']}" for part in parts for row in part.stack_rows}
    lacking = [row["stack"] for row in facts["plan"] if row["id"] not in now]
    gone = {f"{stack} is not measured here" for stack in lacking if not unfit}
    return sorted(unfit | gone) or ["the order of the trials"]


def way_out(facts: Mapping[str, Any], target: str) -> str:
    """How to get at what the run was made from."""
    run, commit = facts["run_id"], facts["git_commit"]
    if commit is None:
        return "It was not made from a git checkout: no commit is known to go back to."
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return f"It was made at commit {commit}, which this repository doesn't have: fetch it."
    dirty = ", but with changes that no commit holds" if facts["git_dirty"] else ""
    results = results_dir()
    if results.is_relative_to(ROOT):
        results = f'"$PWD/{results.relative_to(ROOT)}"'
    return (
        f"It was made at commit {commit[:12]}{dirty}. There:\n"
        f"  git worktree add ../{run} {commit[:12]}\n"
        f"  make -C ../{run} {target} RUN={run} RESULTS={results}"
    )


def refuse_if(differences: list[str], facts: Mapping[str, Any], target: str) -> None:
    """Raise UserError naming the differences and the way to do `target` all the same, if any."""
    if differences:
        few = [*differences[:8], *(["…"] if len(differences) > 8 else [])]
        listed = "\n".join(f"  {one}" for one in few)
        raise UserError(
            f"RUN={facts['run_id']}: what it was made with is not what is here:\n"
            f"{listed}\n{way_out(facts, target)}"
        )
