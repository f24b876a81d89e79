"""`python -m bench TARGET`: what the Makefile's targets call. Settings come from variables."""

import argparse
import os
import signal
import sys
from types import FrameType

from rich.console import Console

from bench import doctor
from bench.cpus import split_cpus
from bench.crosscheck import crosscheck
from bench.errors import StackFailed, StackSkipped, UserError
from bench.goals import calibrate_fully
from bench.images import image_target
from bench.lock import INTERRUPTS, machine_to_ourselves
from bench.overhead import overhead
from bench.processes import adopt_orphans
from bench.progress import Reporter
from bench.recompute import recompute
from bench.recording import requests_target
from bench.replay import replay
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


def run_bench(settings: Settings, console: Console) -> int:
    """`make bench`."""
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    with Reporter(console) as report, machine_to_ourselves(report):
        return bench(settings, cpus, report)


def run_replay(settings: Settings, console: Console) -> int:
    """`make replay`."""
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    with Reporter(console) as report, machine_to_ourselves(report):
        return replay(settings, cpus, report)


def run_doctor(settings: Settings, console: Console) -> int:
    """`make doctor`."""
    return doctor.diagnose(settings, console)


def run_serve(settings: Settings, console: Console) -> int:
    """`make serve`."""
    adopt_orphans()
    with Reporter(console) as report:
        return serve(settings, split_cpus(dict(os.environ)), report)


def run_k6_build(_settings: Settings, console: Console) -> int:
    """Build the generator, so that tests find it."""
    with Reporter(console) as report:
        ensure_k6(report)
    return 0


def run_calibrate(_settings: Settings, console: Console) -> int:
    """`make calibrate`."""
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    with Reporter(console) as report, machine_to_ourselves(report):
        k6 = ensure_k6(report)
        os.sched_setaffinity(0, cpus.client)
        found, file = calibrate_fully(k6, cpus, report)
    print_calibration(console, found, file)
    return 0


def run_overhead(_settings: Settings, console: Console) -> int:
    """`make overhead`."""
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    with Reporter(console) as report, machine_to_ourselves(report):
        k6 = ensure_k6(report)
        os.sched_setaffinity(0, cpus.client)
        overhead(k6, cpus, report, console)
    return 0


def run_crosscheck(settings: Settings, console: Console) -> int:
    """`make crosscheck`."""
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    with Reporter(console) as report, machine_to_ourselves(report):
        k6 = ensure_k6(report)
        os.sched_setaffinity(0, cpus.client)
        crosscheck(settings, k6, cpus, report, console)
    return 0


def run_requests(settings: Settings, console: Console) -> int:
    """`make requests`."""
    adopt_orphans()
    with Reporter(console) as report:
        return requests_target(settings, split_cpus(dict(os.environ)), report)


def run_image(settings: Settings, console: Console) -> int:
    """`make image`."""
    with Reporter(console) as report:
        return image_target(settings, report)


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
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
