"""The flake, evaluated offline against a nixpkgs that holds only names known to exist.

Nothing can be built without a network. What can be shown: for every system every shell, template
and check evaluates, and what they name is in nixpkgs.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.folders import all_groups, find_stacks
from bench.paths import ROOT
from bench.stack import load_stack

STUB = Path(__file__).parent / "nixpkgs"
LINUX = ("x86_64-linux", "aarch64-linux")

pytestmark = [
    pytest.mark.skipif(not shutil.which("nix"), reason="no nix"),
    # Without git Nix would copy all of .build into its store.
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout"),
]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store of its own, so that any user can evaluate and nothing is left behind."""
    home = tmp_path_factory.mktemp("nix")
    settings = ("experimental-features = nix-command flakes", "sandbox = false")
    return {
        **os.environ,
        "HOME": str(home),
        "NIX_STORE_DIR": f"{home}/store",
        "NIX_STATE_DIR": f"{home}/state",
        "NIX_LOG_DIR": f"{home}/log",
        "NIX_CONF_DIR": f"{home}/etc",
        "NIX_CONFIG": "\n".join((*settings, "build-users-group =", "substituters =")),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def nix(environ: dict[str, str], *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    offline = ("--offline", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{STUB}")
    return subprocess.run(
        ["nix", *words, *offline], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


def evaluated(environ: dict[str, str], what: str, apply: str, cwd: Path = ROOT) -> Any:
    done = nix(environ, "eval", "--json", f".#{what}", "--apply", apply, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stack_names() -> dict[str, Path]:
    folders = find_stacks(all_groups(), None)
    return {f"group{each.parent.name.split('-')[0]}-{each.name}": each for each in folders}


def test_everything_evaluates_on_every_system(environ: dict[str, str]) -> None:
    """A misspelt package fails on the machine of the first who asks for that shell."""
    done = nix(environ, "flake", "check", "--no-build")
    assert done.returncode == 0, done.stderr


def test_each_stack_has_a_shell_and_a_template(environ: dict[str, str]) -> None:
    """They are found in the folders: no list can be forgotten when a stack is added."""
    names = set(stack_names())
    shells = evaluated(environ, "devShells", "builtins.mapAttrs (_: builtins.attrNames)")
    for system in LINUX:
        assert set(shells[system]) == {"default", *names}
    assert shells["aarch64-darwin"] == ["default"]
    assert set(evaluated(environ, "templates", "builtins.attrNames")) == names
    assert set(re.findall(r"\.#([\w-]+)", (ROOT / "README.md").read_text())) <= names


def test_a_shell_brings_what_its_stack_requires(environ: dict[str, str]) -> None:
    """A shell without the Java or the library that stack.toml asks for would have the stack skipped
    in it."""
    packages = evaluated(
        environ, f"devShells.{LINUX[0]}", "builtins.mapAttrs (_: shell: shell.packages)"
    )
    what = "builtins.mapAttrs (_: shell: shell.NIX_LD_LIBRARY_PATH)"
    libraries = evaluated(environ, f"devShells.{LINUX[0]}", what)
    providers = {"libnuma.so.1": "numactl", "libpython{python}.so.1.0": "python312"}
    asked: set[str] = set()
    for name, folder in stack_names().items():
        requires = load_stack(folder).requires
        java = "java" in {each.command for each in requires}
        assert any("jdk17" in package for package in packages[name]) == java, name
        required = {each.shared_library for each in requires if each.shared_library}
        for library, package in providers.items():
            assert (package in libraries[name]) == (library in required), name
            assert package in libraries["default"]
        asked |= required
    assert asked == set(providers)
    everything = " ".join(packages["default"])
    for one in ("python312", "uv", "go_1_26", "jdk17", "gnumake", "duckdb", "chromium"):
        assert one in everything


def test_a_new_stack_needs_no_edit_and_an_unknown_need_is_named(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Whoever adds a stack edits no list; whoever needs a new program is told where to name it."""
    shutil.copy(ROOT / "flake.nix", tmp_path)
    for file in ROOT.glob("groups/*/group.toml"):
        shutil.copytree(
            file.parent,
            tmp_path / "groups" / file.parent.name,
            ignore=lambda _, names: {n for n in names if "." in n and not n.endswith(".toml")},
        )
    added = tmp_path / "groups" / min(stack_names().values()).parent.name / "added"
    shutil.copytree(min(stack_names().values()), added)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, env=environ)

    def shell() -> subprocess.CompletedProcess[str]:
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True, env=environ)
        what = f".#devShells.{LINUX[0]}.group1-added.drvPath"
        return nix(environ, "eval", "--json", what, cwd=tmp_path)

    assert shell().returncode == 0, shell().stderr
    known = (added / "stack.toml").read_text()
    for kind, name in (("command", "erl"), ("shared_library", "liberl.so.1")):
        need = f'\n[[requires]]\n{kind} = "{name}"\nfix = "apt-get install erlang"\n'
        (added / "stack.toml").write_text(known + need)
        done = shell()
        assert done.returncode != 0
        assert f"added requires {name}: add what provides it to flake.nix" in done.stderr


def test_a_template_is_the_stack_with_what_it_needs(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """`nix flake init -t` must hand out a folder in which `make run` finds everything.

    It is evaluated without nixpkgs: nobody should fetch that to copy a folder.
    """
    name, folder = min(stack_names().items())
    done = subprocess.run(
        ["nix", "flake", "init", "--offline", "-t", f"{ROOT}#{name}"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stacks = [file.parent.name for file in tmp_path.glob("groups/*/*/stack.toml")]
    assert stacks == [folder.name]
    group = tmp_path / "groups" / folder.parent.name
    engine = load_stack(folder).engine
    assert [file.name for file in (group / "engines").iterdir()] == [engine]
    assert (group / "payloads" / "manifest.json").exists() and (group / "model/build.py").exists()
    dry = subprocess.run(
        ["make", "-n", "-C", str(group / folder.name), "run"], capture_output=True, check=False
    )
    assert dry.returncode == 0
    assert (tmp_path / "Makefile").exists() and (tmp_path / "shared/tools.mk").exists()


def test_the_shells_uv_is_the_one_that_make_uses(environ: dict[str, str]) -> None:
    """In the shell nothing is downloaded a second time: no pip, no uv of our own."""
    shell = evaluated(
        environ,
        f"devShells.{LINUX[0]}.default",
        "shell: { inherit (shell) STUDY_UV PYTHON; }",
    )
    dry = subprocess.run(
        ["make", "-n", "-B", "tools", f"PYTHON={shell['PYTHON']}"],
        cwd=ROOT,
        env={**os.environ, "STUDY_UV": shell["STUDY_UV"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, dry.stderr
    assert f"{shell['STUDY_UV']} pip sync" in dry.stdout
    assert "-m pip" not in dry.stdout and "tools/venv" not in dry.stdout
