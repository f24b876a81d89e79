"""The front page's list of stacks."""

import json
from pathlib import Path

from golden import RUN, trial_row
from reports.files import Folder
from reports.stack_list import stacks


def stack(folder: Path, title: str, more: str = "", lock: str = "cpu") -> None:
    folder.mkdir(parents=True)
    (folder / "stack.toml").write_text(
        f'title = "{title}"\n{more}\n[interfaces.rest]\n[interfaces.grpc]\n'
    )
    (folder / f"requirements.{lock}.lock").write_text("")


def test_each_stack_has_its_status(results: Path, tmp_path: Path) -> None:
    """A stack that was not measured, or whose every trial is INVALID, must not look as if it was,
    and says what it needs."""
    group = tmp_path / "groups" / "1-image-classification"
    stack(group / "alpha", "Alpha")
    stack(group / "boxed", "Boxed", "container_only = true")
    stack(group / "caged", "Caged", 'container_only = true\ncontainer.base.cuda = "x"')
    stack(group / "fast", "Fast", lock="cuda")
    stack(group / "new", "New")
    (group / "group.toml").write_text('title = "Images"\nquestion = "Which?"\n')
    nothing = dict.fromkeys(("throughput_per_s", "latency_p50_ms"))
    row = trial_row("new", 1, verdict="INVALID", reasons=["ERRORS"], **nothing)
    (results / RUN / "trials" / "new.json").write_text(json.dumps(row))
    lines = stacks(Folder(str(results)), tmp_path / "groups").splitlines()[2:]
    at = "groups/1-image-classification"
    assert lines == [
        f"| [Images]({at}/): Which? | [Alpha]({at}/alpha/) | rest, grpc | yes: CPU 2026-01-01 |",
        f"|  | [Boxed]({at}/boxed/) | rest, grpc | container only: not yet |",
        f"|  | [Caged]({at}/caged/) | rest, grpc | container only, needs a GPU: not yet |",
        f"|  | [Fast]({at}/fast/) | rest, grpc | needs a GPU: not yet |",
        f"|  | [New]({at}/new/) | rest, grpc | not yet |",
    ]
