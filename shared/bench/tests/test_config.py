"""Files that people write: each fault is named with its file, its key and the way out."""

import json
import shutil
from pathlib import Path

import pytest

from bench import tools
from bench.artefact import Payload, payloads_of, read_payloads
from bench.errors import UserError
from bench.folders import all_groups, engine_folders, find_groups, find_stacks, stack_folders
from bench.group import load_group
from bench.paths import ROOT
from bench.settings import read_settings
from bench.setup import select
from bench.stack import load_engine, load_stack

FIXTURES = Path(__file__).parent / "fixtures" / "groups" / "9-echo"


def edited(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of a fixture folder in which one text is replaced."""
    folder = tmp_path / "copy"
    shutil.copytree(FIXTURES if name == "group.toml" else FIXTURES / "steady", folder)
    file = folder / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return folder


def test_every_committed_file_is_valid() -> None:
    """A group, stack or engine file that the runner rejects can't be committed."""
    groups = all_groups()
    assert groups
    for folder in groups:
        load_group(folder)
        for stack in stack_folders(folder):
            load_stack(stack)
        for engine in engine_folders(folder):
            load_engine(engine)


def test_an_unknown_key_names_file_key_and_nearest(tmp_path: Path) -> None:
    folder = edited(tmp_path, "stack.toml", "ready_timeout_s", "redy_timeout_s")
    with pytest.raises(UserError, match=r"stack\.toml.*redy_timeout_s.*'ready_timeout_s'"):
        load_stack(folder)


def test_a_load_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = edited(tmp_path, "group.toml", '["closed-2", "constant-2"]', '["closed-3"]')
    with pytest.raises(UserError, match=r"group\.toml.*every_interface.*'closed-3'.*'closed-2'"):
        load_group(folder)


def test_an_interface_on_an_unknown_port_is_named(tmp_path: Path) -> None:
    folder = edited(tmp_path, "stack.toml", 'port = "http"', 'port = "htp"')
    with pytest.raises(UserError, match=r"interfaces\.rest\.port.*'htp'.*'http'"):
        load_stack(folder)


def test_a_precision_may_be_for_one_device(tmp_path: Path) -> None:
    """What is hopeless on a CPU is measured on a GPU alone. Broken by one list for all devices."""
    told = '{ cpu = "fp32", cuda = ["fp32", "fp16"] }'
    folder = edited(
        tmp_path, "stack.toml", 'engine = "plain"', f'engine = "plain"\nprecision = {told}'
    )
    assert load_stack(folder, "cpu").precisions == ("fp32",)
    assert load_stack(folder, "cuda").precisions == ("fp32", "fp16")
    text = (folder / "stack.toml").read_text().replace("cuda = [", "gpu = [")
    (folder / "stack.toml").write_text(text)
    with pytest.raises(UserError, match=r"stack\.toml.*precision.*gpu"):
        load_stack(folder)


def test_broken_toml_says_where(tmp_path: Path) -> None:
    folder = edited(tmp_path, "stack.toml", 'title = "steady"', "title = ")
    with pytest.raises(UserError, match=r"stack\.toml: not valid TOML.*line 1"):
        load_stack(folder)


def test_an_open_load_needs_its_share(tmp_path: Path) -> None:
    folder = edited(tmp_path, "group.toml", "share = 0.02\n", "")
    with pytest.raises(UserError, match=r"loads\.constant-2.*share"):
        load_group(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "search"', 'kind = "serach"', r"loads\.search\.kind.*'serach'.*'search'"),
        ("burst_share = 0.3", "burst_shar = 0.3", r"loads\.burst.*'burst_shar'.*'burst_share'"),
        ("burst_s = 1\n", "", r"loads\.burst.*'burst_s'"),
        ("low = 0.02", "low = 0.5", r"loads\.search\.low.*0\.5.*high, 0\.24"),
        ("low = 0.02", "client_batch = 8", r"loads\.search\.client_batch"),
        ("[slo.cpu]\nlatency_ms = 150", "[slo.cpu]", r"loads\.search.*latency_ms.*slo\.cpu"),
    ],
)
def test_a_load_that_cannot_be_run_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    """A search without limits or a burst without length would be found out an hour later."""
    folder = edited(tmp_path, "group.toml", old, new)
    with pytest.raises(UserError, match=r"group\.toml.*" + says):
        load_group(folder)


def test_groups_and_stacks_are_found_by_number_and_name() -> None:
    groups = find_groups("1")
    assert [group.name for group in groups] == ["1-image-classification"]
    assert find_groups("1-image-classification") == groups
    names = {stack.name for stack in find_stacks(groups, None)}
    assert {"triton", "torchserve", "fastapi-onnxruntime"} <= names
    assert [s.name for s in find_stacks(groups, "triton")] == ["triton"]
    with pytest.raises(UserError, match=r"STACK=trition.*'triton'"):
        find_stacks(groups, "trition")
    with pytest.raises(UserError, match="GROUP=77"):
        find_groups("77")


def test_a_name_goes_before_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services lie side by side under names of their owner's. Breaks if `embed` means both."""
    for name in ("embed", "embed-fast"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "group.toml").write_text("")
    monkeypatch.setattr("bench.folders.GROUPS", tmp_path)
    assert [group.name for group in find_groups("embed")] == ["embed"]
    assert [group.name for group in find_groups("embed-fast")] == ["embed-fast"]


def test_a_stack_is_not_looked_for_by_its_last_name_alone() -> None:
    """STACK=<no group>/triton once meant a run of no stack that ended well."""
    every = all_groups()
    for name in ("1/triton", "1-image-classification/triton"):
        (found,) = find_stacks(every, name)
        assert found.parent.name == "1-image-classification"
    with pytest.raises(UserError, match=r"STACK=no-group/triton: no such stack, .*/triton'"):
        find_stacks(every, "no-group/triton")
    with pytest.raises(UserError, match="STACK=: no such stack"):
        find_stacks(every, ",")
    with pytest.raises(UserError, match=r"STACK=vllm: .* leave GROUP out or set GROUP=2-text-gen"):
        find_stacks(find_groups("1"), "vllm")


def test_what_another_group_has_is_said() -> None:
    """MODEL= of one group was refused in the name of another; a typo's hint named one group's."""
    with pytest.raises(UserError, match=r"MODEL=minilm: 1-\S+ has none .* add GROUP=3-embeddings"):
        select(read_settings({"MODEL": "minilm"}), "cpu")
    with pytest.raises(UserError, match=r"MODEL=gpt3: 1-.*, 2-.* did you mean 'gpt2'\?"):
        select(read_settings({"MODEL": "gpt3"}), "cpu")


def test_only_stacks_with_the_interface_are_set_up() -> None:
    """Broken by groups that are built and installed for no trial at all."""
    chosen = select(read_settings({"INTERFACE": "ws"}), "cpu")
    assert [group.id for group, *_ in chosen] == ["2-text-generation"]
    assert all("ws" in (i.name for i in s.interfaces) for *_, stacks in chosen for s in stacks)


def test_the_runner_knows_no_stack_and_no_group() -> None:
    """A stack's or a group's name in shared/ would be a rule that only some stacks follow."""
    root = ROOT / "shared"
    names = {stack.name for group in all_groups() for stack in stack_folders(group)}
    names |= {group.name for group in all_groups()}
    assert len(names) > 3
    for package in ("bench/bench", "metrics", "k6"):
        for file in (root / package).rglob("*"):
            if file.suffix in {".py", ".go", ".js", ".sql"} and "tests" not in file.parts:
                text = file.read_text()
                found = [name for name in names if f'"{name}"' in text or f"'{name}'" in text]
                assert not found, f"{file} names {found}"


@pytest.mark.parametrize(
    ("held", "says"), [(3, "3 payloads are marked `audit`; mark 7 or more"), (20, "held back")]
)
def test_payloads_held_back_can_tell_something(tmp_path: Path, held: int, says: str) -> None:
    """Too few pairs prove nothing whatever they show, and a load needs payloads too."""
    folder = edited(tmp_path, "group.toml", "Echo", "Echo")
    manifest = folder / "payloads" / "manifest.json"
    entries = json.loads(manifest.read_text())
    for place, entry in enumerate(entries):
        entry["audit"] = place < held
    manifest.write_text(json.dumps(entries))
    with pytest.raises(UserError, match=f"manifest.json: .*{says}"):
        read_payloads(load_group(folder))


def test_a_load_is_sent_its_own_set_of_payloads(tmp_path: Path) -> None:
    """A load without a set gets the main set only, never what is held back or of another set; a set
    that no payload is of would be a load that sends nothing."""
    folder = edited(tmp_path, "group.toml", "users = 2\n[", 'users = 2\npayloads = "long"\n[')
    manifest = folder / "payloads" / "manifest.json"
    with pytest.raises(UserError, match=r"loads\.closed-2\.payloads.*'long'.*\(main\)"):
        read_payloads(load_group(folder))
    entries = json.loads(manifest.read_text())
    long = [entry["name"] for entry in entries[:2]]
    for entry in entries[:2]:
        entry |= {"set": "long", "audit": False}
    manifest.write_text(json.dumps(entries))
    group = load_group(folder)
    payloads = read_payloads(group)
    assert [p.name for p in payloads_of(payloads, group.loads["closed-2"])] == long
    main = {p.name for p in payloads_of(payloads, group.loads["constant-2"])}
    assert main == {e["name"] for e in entries if not e.get("set") and not e.get("audit")}


def test_a_text_may_stand_in_the_manifest_itself(tmp_path: Path) -> None:
    """A text is sent as its UTF-8 and its change changes the digest; an entry that has neither text
    nor file would be a payload of nothing."""
    folder = edited(tmp_path, "group.toml", "", "")
    manifest = folder / "payloads" / "manifest.json"
    entries = json.loads(manifest.read_text())

    def first(**entry: str) -> Payload:
        manifest.write_text(json.dumps([{"name": "greeting", **entry}, *entries]))
        return read_payloads(load_group(folder))[0]

    hello, other = first(text="grüß dich"), first(text="hello")
    assert hello.data() == "grüß dich".encode() and hello.sha256 != other.sha256
    assert hello.planned() == {"name": "greeting", "text": "grüß dich"}
    with pytest.raises(UserError, match=r"manifest\.json: .greeting. has neither a file"):
        first()


@pytest.mark.parametrize("flags", ["-e HF_TOKEN=hf_1", "-eHF_TOKEN=hf_1", "--env=HF_TOKEN=hf_1"])
def test_a_secret_is_not_taken_where_it_would_be_written_down(flags: str) -> None:
    """run.json keeps the flags, and results are sent to others."""
    with pytest.raises(UserError, match="HF_TOKEN would be written") as refused:
        read_settings({"CONTAINER_FLAGS": flags})
    assert "hf_1" not in str(refused.value)
    kept = "--memory=2g -e HF_TOKEN -e MAX_BATCH_TOKENS=8"
    assert read_settings({"CONTAINER_FLAGS": kept}).container_flags == kept


def test_the_shells_uv_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `nix develop` the one that make set up before may not even run. Broken by a runner that
    takes another uv than make does."""
    monkeypatch.setenv("STUDY_UV", "/nix/store/uv")
    assert tools.uv() == "/nix/store/uv"
    monkeypatch.delenv("STUDY_UV")
    assert tools.uv() != "/nix/store/uv"
