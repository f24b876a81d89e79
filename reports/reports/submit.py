"""`make submit RUN=…`: a run checked and packed for others: `python -m reports.submit`.

Packed is the run's JSON as its schemas describe it; raw records and logs stay. Paths of this
machine are shortened to their last part and said; inherited variables go along only by allow-list.
The same checks hold for a pack or a folder that somebody sent (`--check`), which is data only:
nothing is unpacked that isn't a JSON file where a run has one.
"""

import argparse
import gzip
import io
import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from bench.knobs import LIBRARY, SECRET, words_in
from bench.paths import GROUPS
from reports.disk import check_folder
from reports.files import FolderError, results_folder
from reports.validate import faults

RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
# All that a run has to say: nothing lies deeper, and nothing else is sent.
MEMBER = re.compile(r"(run|comparisons)\.json|(stacks|trials)/[A-Za-z0-9][\w.+-]*\.json")
LARGEST = 5_000_000  # bytes of one file
MOST = 100_000_000  # bytes of a run
# Where people keep their own things; /usr, /dev and the like are everybody's.
OWN_PATH = re.compile(
    r"(?<![\w.~/])/(?:home|root|Users|tmp|var|mnt|media|srv|work|data)/[^\s\"'`,;:)\]}]+"
)
# Tokens by their issuers' marks, private keys, and passwords in addresses.
CREDENTIAL = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|nvapi-|sk-|xox[abp]-)[A-Za-z0-9_-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]+@"
)


class Refused(ValueError):
    """A run that can't be sent as it is; one line a fault, each with its file and key."""


def read_folder(folder: Path, *, sent: bool) -> dict[str, bytes]:
    """A run folder's own JSON: {path in the folder: content}.

    What else lies there is left alone in a run of one's own, refused in one that was `sent`. Raises
    Refused.
    """
    found: dict[str, bytes] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not MEMBER.fullmatch(name):
            if sent and (file.is_symlink() or not file.is_dir()):
                raise Refused(f"{name!r}: not a file of a run")
            continue
        if file.is_symlink() or not file.is_file():
            raise Refused(f"{name}: not a plain file")
        if file.stat().st_size > LARGEST:
            raise Refused(f"{name}: over {LARGEST:,} bytes")
        found[name] = file.read_bytes()
    return found


def read_pack(pack: Path) -> tuple[str, dict[str, bytes]]:
    """The run's id and JSON in a pack that somebody sent; nothing is written. Raises Refused."""
    found: dict[str, bytes] = {}
    runs: set[str] = set()
    size = 0
    try:
        with tarfile.open(pack, "r|gz") as archive:
            for member in archive:
                run, _, name = member.name.partition("/")
                size += member.size
                if member.size > LARGEST or size > MOST or not member.isfile():
                    raise Refused(f"{member.name!r}: too large, or not a plain file")
                if not (RUN_ID.fullmatch(run) and MEMBER.fullmatch(name)):
                    raise Refused(f"{member.name!r}: not a file of a run")
                stream = archive.extractfile(member)
                assert stream is not None, "a plain file has content"
                runs.add(run)
                found[name] = stream.read()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, OSError) as error:
        raise Refused(f"{pack}: not a pack that can be read: {error}") from None
    if len(runs) != 1:
        raise Refused(f"{pack}: holds {len(runs)} runs; a pack is one")
    return runs.pop(), found


def texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a JSON value, names of objects included."""
    if isinstance(value, dict):
        for name, inner in cast(dict[str, Any], value).items():
            yield f"{key}/{name}", name
            yield from texts(inner, f"{key}/{name}")
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from texts(inner, key)
    elif isinstance(value, str):
        yield key, value


def shortened(value: Any) -> Any:
    """The same JSON value with this machine's own paths cut to their last part."""
    if isinstance(value, dict):
        return {name: shortened(inner) for name, inner in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [shortened(inner) for inner in cast(list[Any], value)]
    if isinstance(value, str):
        return OWN_PATH.sub(lambda found: "…/" + found[0].rstrip("/").rsplit("/", 1)[-1], value)
    return value


def foreign_knobs(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, name) of inherited variables that no stack's file names and no library reads."""
    groups = cast(dict[str, Any], run.get("groups") or {})
    for group, facts in groups.items():
        started_with = cast(dict[str, dict[str, Any]], facts.get("started_with") or {})
        for stack, started in started_with.items():
            named = words_in(GROUPS / Path(group).name / Path(stack).name)
            for name in cast(dict[str, str], started.get("knobs") or {}):
                if SECRET.search(name) or not (name in named or LIBRARY.match(name)):
                    yield f"run.json: groups/{group}/started_with/{stack}/knobs/{name}", name


def schema_faults(run_id: str, parts: dict[str, bytes]) -> list[str]:
    """One line for each thing in a run that isn't as the schemas say."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / run_id
        for name, content in parts.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(content)
        try:
            found = faults(Path(scratch))
        except ValueError:
            return [f"{run_id}: holds no results"]
    return found if "run.json" in parts else [*found, "run.json: is missing"]


def check(run_id: str, parts: dict[str, bytes]) -> list[str]:
    """One line a fault of a run that is to be sent: the file, the key and what is wrong."""
    found = schema_faults(run_id, parts)
    if found:
        return found
    values: dict[str, Any] = {name: json.loads(content) for name, content in parts.items()}
    run = values["run.json"]
    for name, value in values.items():
        if name != "comparisons.json" and value["run_id"] != run_id:
            found.append(f"{name}: run_id: not {run_id}")
        for key, text in texts(value):
            if CREDENTIAL.search(text):
                found.append(f"{name}: {key}: looks like a credential; take it out and revoke it")
            if own := OWN_PATH.search(text):
                found.append(f"{name}: {key}: names a path of a machine, {own[0]}")
    found += [f"{place}: not a variable that a stack reads" for place, _ in foreign_knobs(run)]
    if run["exit_code"] is None:
        found.append(f"run.json: the run has not ended: make bench RUN={run_id} goes on with it")
    missing = {each["id"] for each in run["plan"]} - {
        value["trial_id"] for name, value in values.items() if name.startswith("trials/")
    }
    skipped = {
        (value["group_id"], value["stack"])
        for name, value in values.items()
        if name.startswith("stacks/") and value["status"] == "skipped"
    }
    planned = {each["id"]: (each["group_id"], each["stack"]) for each in run["plan"]}
    lost = sorted(trial for trial in missing if planned[trial] not in skipped)
    found += [f"trials/{trial}: planned, and has no row" for trial in lost]
    return found


def without_own(parts: dict[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """What is sent of a run of this machine, and a line for each thing that was left out."""
    kept: dict[str, bytes] = {}
    said: list[str] = []
    for name, content in parts.items():
        value = json.loads(content)
        if name == "run.json":
            for place, knob in list(foreign_knobs(value)):
                _, group, _, stack, *_ = place.removeprefix("run.json: ").split("/")
                del value["groups"][group]["started_with"][stack]["knobs"][knob]
                said.append(f"{place}: left out")
        now = shortened(value)
        said += [f"{name}: {key}: path shortened" for key, text in texts(value) if own(text)]
        same = now == json.loads(content)
        kept[name] = content if same else json.dumps(now, indent=1, ensure_ascii=False).encode()
    return kept, said


def own(text: str) -> bool:
    """Whether a text names a path of this machine."""
    return OWN_PATH.search(text) is not None


def pack(run_id: str, parts: dict[str, bytes], to: Path) -> None:
    """Write the pack: the same run makes the same bytes. Raises OSError."""
    held = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as archive,
    ):
        for name, content in sorted(parts.items()):
            member = tarfile.TarInfo(f"{run_id}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    to.write_bytes(held.getvalue())


def submit(run_id: str, results: Path, to: Path) -> list[str]:
    """Check and pack one run of a results folder; returns what was left out.

    Raises Refused, and FolderError without such a folder.
    """
    if not RUN_ID.fullmatch(run_id):
        raise Refused(f"RUN={run_id}: not a run's id; they look like 20261121-181655-26a4")
    check_folder(str(results))
    folder = results / run_id
    if not folder.is_dir():
        known = sorted(each.parent.name for each in results.glob("*/run.json"))
        raise Refused(f"RUN={run_id}: no such run in {results}; there are: {', '.join(known)}")
    parts = read_folder(folder, sent=False)
    if found := schema_faults(run_id, parts):
        raise Refused("\n".join(found))
    parts, said = without_own(parts)
    if found := check(run_id, parts):
        raise Refused("\n".join(found))
    pack(run_id, parts, to)
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack a run or check one. Returns 0, or 2 with a line for each fault."""
    parser = argparse.ArgumentParser(prog="reports.submit", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    parser.add_argument("--run", help="the run to check and pack")
    parser.add_argument("--to", help="the file to write (default: <run>.tar.gz here)")
    parser.add_argument("--check", metavar="PATH", help="only check: a pack, or a run's folder")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.check:
            path = Path(chosen.check)
            run_id, parts = (
                (path.resolve().name, read_folder(path, sent=True))
                if path.is_dir()
                else read_pack(path)
            )
            if found := check(run_id, parts):
                raise Refused("\n".join(found))
            print(f"{run_id}: {len(parts)} files, as a submitted run should be")
            return 0
        if not chosen.run:
            raise Refused("say which run: make submit RUN=20261121-181655-26a4")
        to = Path(chosen.to or f"{chosen.run}.tar.gz")
        said = submit(chosen.run, Path(results_folder(chosen.results).address), to)
    except (Refused, FolderError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for line in said:
        print(line)
    print(f"{to}: {to.stat().st_size:,} bytes. Look at it (tar tzf), then send it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
