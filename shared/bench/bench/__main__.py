"""`python -m bench TARGET`: what the Makefile's targets call. Settings come from variables."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench import doctor
from bench.cpus import CpuSplit, split_cpus
from bench.crosscheck import crosscheck
from bench.errors import StackFailed, StackSkipped, UserError
from bench.goals import calibrate_fully
from bench.images import image_target
from bench.lock import INTERRUPTS, machine_to_ourselves
from bench.overhead import overhead
from bench.paths import results_dir
from bench.processes import adopt_orphans
from bench.progress import Reporter
from bench.recompute import recompute
from bench.recorder import ensure_writable
from bench.recording import requests_target
from bench.replay import replay
from bench.resume import find_run
from bench.run import bench
from bench.serve import serve
from bench.settings import Settings, read_settings
from bench.table import print_calibration
from bench.template import template
from bench.tools import ensure_k6


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end a run: everything is stopped first.

    SIGINT too is caught here: a shell that starts us in the background has it ignored.
    """
    raise KeyboardInterrupt


@contextmanager
def measuring(console: Console, run: str | None = None) -> Generator[tuple[CpuSplit, Reporter]]:
    """The machine's CPUs and a reporter, while nothing else of this checkout measures.

    `run`: an earlier one that it is about. Raises UserError before a folder is made, if it isn't
    there.
    """
    if run:
        find_run(run)
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    ensure_writable(results_dir())
    with Reporter(console) as report, machine_to_ourselves(report):
        yield cpus, report


@contextmanager
def on_null_server(console: Console) -> Generator[tuple[Path, CpuSplit, Reporter]]:
    """The same for what needs no stack: k6 is built and this process keeps to the client's CPUs."""
    with measuring(console) as (cpus, report):
        k6 = ensure_k6(report)
        os.sched_setaffinity(0, cpus.client)
        yield k6, cpus, report


def run_bench(settings: Settings, console: Console) -> int:
    """`make bench`."""
    with measuring(console, settings.run) as (cpus, report):
        return bench(settings, cpus, report)


def run_replay(settings: Settings, console: Console) -> int:
    """`make replay`."""
    with measuring(console, settings.run) as (cpus, report):
        return replay(settings, cpus, report)


def run_calibrate(_settings: Settings, console: Console) -> int:
    """`make calibrate`."""
    with on_null_server(console) as (k6, cpus, report):
        found, file = calibrate_fully(k6, cpus, report)
    print_calibration(console, found, file)
    return 0


def run_overhead(_settings: Settings, console: Console) -> int:
    """`make overhead`."""
    with on_null_server(console) as (k6, cpus, report):
        overhead(k6, cpus, report, console)
    return 0


def run_crosscheck(settings: Settings, console: Console) -> int:
    """`make crosscheck`."""
    with on_null_server(console) as (k6, cpus, report):
        crosscheck(settings, k6, cpus, report, console)
    return 0


def run_serve(settings: Settings, console: Console) -> int:
    """`make serve`."""
    adopt_orphans()
    with Reporter(console) as report:
        return serve(settings, split_cpus(dict(os.environ)), report)


def run_requests(settings: Settings, console: Console) -> int:
    """`make requests`."""
    adopt_orphans()
    with Reporter(console) as report:
        return requests_target(settings, split_cpus(dict(os.environ)), report)


def run_doctor(settings: Settings, console: Console) -> int:
    """`make doctor`."""
    return doctor.diagnose(settings, console)


def run_image(settings: Settings, console: Console) -> int:
    """`make image`."""
    with Reporter(console) as report:
        return image_target(settings, report)


def run_k6_build(_settings: Settings, console: Console) -> int:
    """Build the generator, so that tests find it."""
    with Reporter(console) as report:
        ensure_k6(report)
    return 0


# What a user can mend of what the system refuses; anything else is a defect of ours.
WAYS_OUT = {
    errno.ENOSPC: "free some space; make clean frees what can be built again",
    errno.EDQUOT: "free some space; make clean frees what can be built again",
    errno.EROFS: "work in a checkout that can be written to, or name another folder with RESULTS=",
    errno.EACCES: "make it writable for this user, or name another folder with RESULTS=",
}

TARGETS = {
    "crosscheck": run_crosscheck,
    "bench": run_bench,
    "doctor": run_doctor,
    "image": run_image,
    "k6": run_k6_build,
    "serve": run_serve,
    "calibrate": run_calibrate,
    "overhead": run_overhead,
    "requests": run_requests,
    "replay": run_replay,
    "recompute": recompute,
    "template": template,
}


def main() -> int:
    """Parse, run, and turn every foreseen error into one line and an exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    chosen = parser.parse_args()
    for one in INTERRUPTS:
        signal.signal(one, interrupt)
    # Where there is no terminal there is no edge to wrap at: logs get whole lines.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        return TARGETS[chosen.target](read_settings(), console)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except (StackFailed, StackSkipped) as error:
        print(error, file=sys.stderr)
        return 3
    except OSError as error:
        if error.errno not in WAYS_OUT:
            raise
        place = error.filename or "writing below .build/ or the results"
        print(f"{place}: {error.strerror}: {WAYS_OUT[error.errno]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
