"""The same views over object storage, from a local server that speaks S3."""

from collections.abc import Generator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from golden import RUN
from metrics import store_records
from reports.ask import QuestionError, ask
from reports.files import Folder, FolderError
from reports.load import open_results

from .conftest import RECORDS, Golden, trials

ADDRESS = "s3://study/results"
TRIAL = "alpha.rest.closed-4.pretrained.b1"


@pytest.fixture
def storage(
    golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[s3fs.S3FileSystem]:
    """A bucket that holds golden results and one trial's raw records."""
    folder = golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
    records = tmp_path / "records.csv"
    records.write_text(f"{RECORDS}0,0,3,100,110,150,200,0,,,200,true,1,99,\n")
    store_records(records, folder / RUN / "raw" / TRIAL / "requests.parquet")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    found = s3fs.S3FileSystem()
    found.mkdir("study")
    found.put(f"{folder}/", f"{ADDRESS}/", recursive=True)
    yield found
    found.rm("study", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_the_views_over_object_storage(storage: s3fs.S3FileSystem) -> None:
    """Every kind of file arrives, raw records included, and a torn one is named. Broken by a path
    that is taken for a local one."""
    storage.pipe(f"{ADDRESS}/{RUN}/trials/torn.json", b"{")
    with open_results(Folder(ADDRESS), raw=True) as loaded:
        rows = {
            view: ask(loaded.db, f"select count(*) from {view}")[0].rows[0][0]
            for view in ("runs", "stacks", "trials", "latest", "requests")
        }
        answer = ask(loaded.db, "select trial_id, done_ns from requests")[0].rows
        assert ask(loaded.db, "select count(*) > 0 from comparisons")[0].rows == [(True,)]
    assert rows == {"runs": 1, "stacks": 2, "trials": 6, "latest": 6, "requests": 1}
    assert answer == [(TRIAL, 200)]
    assert [w for w in loaded.warnings if "torn.json: not whole JSON" in w] == list(loaded.warnings)


def test_object_storage_is_only_read(storage: s3fs.S3FileSystem) -> None:
    """SQL writes nothing there. Broken by handing DuckDB the file system itself."""
    record = f"{RUN}/raw/{TRIAL}/requests.parquet"
    before = storage.cat(f"{ADDRESS}/{record}")
    with open_results(Folder(ADDRESS), raw=True) as loaded:
        for target in (f"records://{record}", f"{ADDRESS}/{record}", f"{ADDRESS}/new.csv"):
            with pytest.raises(QuestionError):
                ask(loaded.db, f"with a as (copy (select 1) to '{target}') select * from a")
    assert storage.cat(f"{ADDRESS}/{record}") == before
    assert not storage.exists(f"{ADDRESS}/new.csv")


def test_storage_that_is_not_there_is_one_line(storage: s3fs.S3FileSystem) -> None:
    with pytest.raises(FolderError, match="s3://nowhere/x"), open_results(Folder("s3://nowhere/x")):
        pass


def test_an_unknown_kind_of_storage_is_one_line() -> None:
    with pytest.raises(FolderError, match="what://x"), open_results(Folder("what://x")):
        pass
