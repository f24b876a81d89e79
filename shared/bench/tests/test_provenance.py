"""What run.json says a run was made with."""

import re
import shutil
from pathlib import Path

import pytest

from bench import gpu
from bench.inputs import changed, digest, source_digests
from bench.install import Installed
from bench.knobs import COMMON, knobs_of
from bench.machine import chosen, describe_machine
from bench.paths import BUILD, ROOT
from bench.settings import VARIABLES
from bench.stack import load_stack
from bench.starting import started_with
from bench.tools import tool_versions

GROUP = Path(__file__).parent / "fixtures" / "groups" / "9-echo"


def test_a_machine_is_described_without_being_asked() -> None:
    """Every property is there, null where the kernel doesn't tell; none is written by hand."""
    found = describe_machine()
    assert found["cpu_model"] and found["kernel"] and found["cpus"] > 0 and found["memory_mb"] > 0
    assert {"governor", "boost", "cpu_min_mhz", "cpu_max_mhz", "cpu_mhz", "gpus"} <= set(found)
    assert chosen("always [madvise] never") == "madvise" and chosen("") is None


def test_a_gpu_is_described_with_clocks_and_power_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one device doesn't tell is null and costs no other property."""

    def answers(name: str):
        def ask(*_: object) -> object:
            if name == "nvmlDeviceGetApplicationsClock":
                raise gpu.nvml.NVMLError(gpu.nvml.NVML_ERROR_NOT_SUPPORTED)
            return {"nvmlDeviceGetName": b"GPU", "nvmlDeviceGetMemoryInfo": None}.get(name, 1000)

        return ask

    for name in dir(gpu.nvml):
        if name.startswith(("nvmlDeviceGet", "nvmlSystemGet")):
            monkeypatch.setattr(gpu.nvml, name, answers(name))
    (found,) = gpu.describe([object()])
    assert found["name"] == "GPU" and found["power_limit_w"] == 1 and found["driver"]
    assert found["sm_clock_mhz"] == found["max_sm_clock_mhz"] == 1000
    assert found["applications_sm_clock_mhz"] is None


def test_the_tools_say_their_versions() -> None:
    found = tool_versions(BUILD / "tools" / "bin" / "k6")
    assert set(found) == {"k6", "go", "uv", "python", "duckdb"}
    assert all(any(sign.isdigit() for sign in text) for text in found.values())


def test_inherited_variables_that_matter_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack reads its knobs from the environment: two runs that differ in one are not the same.
    What it doesn't read, secrets and this machine's paths of the checkout stay out."""
    shutil.copytree(GROUP / "steady", tmp_path / "steady")
    (tmp_path / "steady" / "server.py").write_text(
        'environ["QUEUE_LIMIT"], environ["HUB_TOKEN"], environ["CACHE_HOME"], STACK = HERE'
    )
    (tmp_path / "steady" / "tests").mkdir()
    (tmp_path / "steady" / "tests" / "test_it.py").write_text('environ["ONLY_TESTED"]')
    for name, value in (
        ("QUEUE_LIMIT", "3"),
        ("HUB_TOKEN", "secret"),
        ("CACHE_HOME", f"{ROOT}/.build/x"),
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("UNRELATED", "1"),
        ("ONLY_TESTED", "1"),
        ("STACK", "steady"),
    ):
        monkeypatch.setenv(name, value)
    installed = Installed(load_stack(tmp_path / "steady"), None, None, None, None)
    found = started_with(installed, {"THREADS": "2"})
    knobs = found["knobs"]
    assert knobs["QUEUE_LIMIT"] == "3" and knobs["OMP_WAIT_POLICY"] == "PASSIVE"
    assert knobs["CACHE_HOME"] == ".build/x"
    assert not {"HUB_TOKEN", "UNRELATED", "THREADS", "STACK", "ONLY_TESTED"} & set(knobs)
    assert found["variables"]["OMP_NUM_THREADS"] == found["variables"]["THREADS"] == "2"
    assert found["command"][0] == "python"


@pytest.mark.parametrize("file", sorted(ROOT.glob("groups/*/*/settings.py")), ids=str)
def test_every_setting_of_a_server_is_a_knob(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by BATCH_TOKENS taken for a secret: a server retuned by it ran under the rows of one
    that was not, and a container never got it."""
    read = set(re.findall(r'(?:environ\.get|_[a-z]+)\(\s*"([A-Z][A-Z0-9_]+)"', file.read_text()))
    assert len(read) > 15
    for name in read:
        monkeypatch.setenv(name, "1")
    assert set(knobs_of(file.parent, ())) >= read - {*COMMON, *VARIABLES}


def test_a_difference_is_named_by_the_file_where_one_is_known(tmp_path: Path) -> None:
    """Broken by a digest that leaves files out, or that counts prose and tests."""
    stack = tmp_path / "stack"
    shutil.copytree(GROUP / "steady", stack)
    (stack / "server.py").write_text("1")
    before = {name: digest(tmp_path / name) or "" for name in ("stack", "stack/k6.js")}
    assert all(before.values()) and changed(before, tmp_path) == []
    (stack / "README.md").write_text("prose")
    assert changed(before, tmp_path) == []
    (stack / "server.py").write_text("2")
    assert changed(before, tmp_path) == ["stack"]
    (stack / "k6.js").write_text("//")
    assert changed(before, tmp_path) == ["stack/k6.js"]
    (stack / "k6.js").unlink()
    assert changed(before, tmp_path) == ["stack/k6.js"]
    assert len(source_digests()) == 5 and changed(source_digests(), ROOT) == []
