"""`make doctor`: what this machine can and can't run, and why."""

import os
import shutil
import sys

from rich.console import Console
from rich.table import Table

from bench import gpu
from bench.containers import find_engine
from bench.cpus import format_cpus, split_cpus
from bench.environments import find_python
from bench.errors import StackSkipped, UserError
from bench.folders import find_groups, find_stacks
from bench.install import is_installed, why_not
from bench.paths import ROOT, TOOLS
from bench.settings import Settings, resolve_device
from bench.stack import load_stack
from bench.tools import go_on_path

NEEDED_GB = 20


def machine_lines() -> list[tuple[bool, str, str]]:
    """(fine, what, finding) for the machine itself."""
    split = split_cpus(dict(os.environ))
    free = shutil.disk_usage(ROOT).free / 1e9
    devices = gpu.describe(gpu.handles())
    outdated = gpu.outdated_driver() if devices else None
    try:
        engine = find_engine().name
    except StackSkipped as none:
        engine = f"none: {none}"
    go = go_on_path()
    return [
        (True, "Python", sys.version.split()[0]),
        (
            not split.shared,
            "CPUs",
            f"server {format_cpus(split.server)}, client {format_cpus(split.client)}"
            + (": one CPU for both, rows will be SHARED_CPUS" if split.shared else ""),
        ),
        (free > NEEDED_GB, "disk", f"{free:.0f} GB free, a full set-up takes about {NEEDED_GB} GB"),
        (
            not outdated,
            "GPU",
            "; ".join([*(d["name"] for d in devices), *([outdated] if outdated else [])])
            or "none: DEVICE=auto means cpu",
        ),
        (True, "Go", go or "none new enough on PATH: a pinned one is set up"),
        (True, "container engine", engine),
        (True, "k6", "built" if (TOOLS / "bin" / "k6").exists() else "built by the first run"),
    ]


def diagnose(settings: Settings, console: Console) -> int:
    """Print the findings. Returns 0; it informs, it doesn't judge."""
    device = resolve_device(settings.device)
    about = Table(title="This machine", title_justify="left", show_header=False)
    for fine, what, finding in machine_lines():
        about.add_row("[green]ok[/]" if fine else "[yellow]mind[/]", what, finding)
    console.print(about)
    shown = Table(title=f"Stacks with DEVICE={device}", title_justify="left")
    for name in ("stack", "interfaces", "here", "why, and what would change it"):
        shown.add_column(name)
    for folder in find_stacks(find_groups(settings.group), settings.stack):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            stack = load_stack(folder, device)
        except UserError as error:
            shown.add_row(name, "", "[red]broken[/]", str(error))
            continue
        interfaces = ", ".join(interface.name for interface in stack.interfaces)
        skipped = why_not(stack, device, settings.runtime)
        if skipped:
            fix = f"; {skipped.fix}" if skipped.fix else ""
            shown.add_row(name, interfaces, "[yellow]skipped[/]", f"{skipped}{fix}")
        else:
            if settings.runtime == "container":
                how = "as a container: its image is built or pulled by the first run"
            else:
                done = "installed" if is_installed(stack, device) else "installed by the first run"
                how = f"{done}, {find_python(stack.python) or ''}"
            shown.add_row(name, interfaces, "[green]runs[/]", how)
    console.print(shown)
    return 0
