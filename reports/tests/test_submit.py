"""`make submit` and what CI asks of a run that somebody sent."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.columns import RESULTS
from reports.submit import main

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A real run, copied. It is one that can be sent as it is."""
    run = max(RESULTS.glob("2*/run.json")).parent
    shutil.copytree(run, tmp_path / "results" / run.name)
    return tmp_path / "results"


def run_of(results: Path) -> Path:
    return next(results.iterdir())


def edit(file: Path, change: Change) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def submit(results: Path, to: Path) -> int:
    return main(["--results", str(results), "--run", run_of(results).name, "--to", str(to)])


def packed(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as archive:
        names = [name for name in archive.getnames() if name.endswith(".json")]
        return {
            name.partition("/")[2]: json.load(archive.extractfile(name) or io.BytesIO())
            for name in names
        }


def test_a_pack_is_the_runs_json_and_nothing_else(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs and raw records hold prompts, paths and whatever a server prints: they stay at home."""
    run = run_of(results)
    (run / "raw").mkdir(exist_ok=True)
    (run / "raw" / "stderr.log").write_text("secret")
    (run / "notes.json").write_text("{}")
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    assert submit(results, first) == 0 == submit(results, second), capsys.readouterr().err
    assert first.read_bytes() == second.read_bytes()
    found = packed(first)
    assert {name.split("/")[0] for name in found} <= {
        *("run.json", "comparisons.json", "stacks", "trials")
    }
    assert found["run.json"] == json.loads((run / "run.json").read_text())
    assert len([name for name in found if name.startswith("trials/")]) == len(
        list((run / "trials").iterdir())
    )
    assert main(["--check", str(first)]) == 0
    assert main(["--check", str(run)]) == 2, "a folder that is sent may hold nothing else either"
    assert "notes.json" in capsys.readouterr().err
    (run / "notes.json").unlink()
    shutil.rmtree(run / "raw")
    assert main(["--check", str(run)]) == 0


def test_paths_and_variables_of_the_machine_are_left_out(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user name in a log line, or a variable that no stack reads, would be published for good."""
    run = run_of(results)

    def change(value: dict[str, Any]) -> None:
        started = next(iter(value["groups"].values()))["started_with"]
        next(iter(started.values()))["knobs"] = {"OMP_WAIT_POLICY": "active", "MY_PROJECT": "x"}

    def fault(value: dict[str, Any]) -> None:
        value["detail"] = "File /home/ada/study/server.py, line 3; see /dev/shm"

    edit(run / "run.json", change)
    trial = min((run / "trials").iterdir())
    edit(trial, fault)
    assert main(["--check", str(run)]) == 2
    said = capsys.readouterr().err
    assert "/home/ada/study/server.py" in said and "MY_PROJECT" in said
    to = tmp_path / "pack.tar.gz"
    assert submit(results, to) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "path shortened" in said and "MY_PROJECT: left out" in said
    found = packed(to)
    assert "/ada/" not in json.dumps(found) and "MY_PROJECT" not in json.dumps(found)
    detail = found[f"trials/{trial.name}"]["detail"]
    assert detail == "File …/server.py, line 3; see /dev/shm"
    assert "OMP_WAIT_POLICY" in json.dumps(found["run.json"])
    assert main(["--check", str(to)]) == 0


def unfinished(value: dict[str, Any]) -> None:
    value["exit_code"] = None


def misspelt(value: dict[str, Any]) -> None:
    value["throughput"] = 5


def leaking(value: dict[str, Any]) -> None:
    value["detail"] = "token hf_" + "a" * 30


def anothers(value: dict[str, Any]) -> None:
    value["run_id"] = "20200101-000000-abcd"


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("run.json", unfinished, "has not ended"),
        ("trials", misspelt, "throughput"),
        ("trials", leaking, "looks like a credential"),
        ("trials", anothers, "run_id: not"),
    ],
)
def test_a_run_that_should_not_be_sent_is_refused(
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    change: Change,
    said: str,
) -> None:
    """Half a run, a wrong column or a token must not leave the machine. Nothing is written."""
    run = run_of(results)
    edit(run / part if part.endswith(".json") else min((run / part).iterdir()), change)
    assert submit(results, tmp_path / "pack.tar.gz") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "pack.tar.gz").exists()


def test_a_planned_trial_without_a_row_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Leaving out the trials that one dislikes would make any stack win."""
    trial = min((run_of(results) / "trials").iterdir())
    trial.unlink()
    assert submit(results, tmp_path / "pack.tar.gz") == 2
    assert f"trials/{trial.stem}: planned, and has no row" in capsys.readouterr().err


def hostile(kind: str, file: Path) -> None:
    """A pack as an attacker would make it."""
    run = "20200101-000000-abcd"
    if kind == "torn":
        file.write_bytes(gzip.compress(b"x" * 5000)[:-9])
        return
    names = {"outside": "../../etc/run.json", "absolute": "/etc/run.json", "else": f"{run}/a.py"}
    member = tarfile.TarInfo(names.get(kind, f"{run}/run.json"))
    if kind == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    if kind == "folder":
        member.type = tarfile.DIRTYPE
    if kind == "large":
        member.size = 10_000_000
    with tarfile.open(file, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(b"0" * member.size))


@pytest.mark.parametrize("kind", ["torn", "outside", "absolute", "else", "link", "folder", "large"])
def test_a_strangers_pack_can_do_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI opens packs that anyone may send: no file but a run's JSON is even read."""
    hostile(kind, tmp_path / "pack.tar.gz")
    assert main(["--check", str(tmp_path / "pack.tar.gz")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    assert ("not a plain file" in said) == (kind in ("link", "folder", "large"))
    assert [file.name for file in tmp_path.iterdir()] == ["pack.tar.gz"]


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_run_folder_holds_plain_files(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """A link would send a file from elsewhere; what can't be read as one is named. Broken by
    reading whatever has a run's names."""
    odd = run_of(results) / "trials" / "odd.json"
    odd.mkdir() if kind == "folder" else odd.symlink_to(min(odd.parent.iterdir()))
    assert submit(results, tmp_path / "pack.tar.gz") == 2
    assert capsys.readouterr().err == "trials/odd.json: not a plain file\n"
    assert not (tmp_path / "pack.tar.gz").exists()
