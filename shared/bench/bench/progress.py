"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def spell(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Reporter:
    """Prints steps; keeps the estimate of the time left (in seconds of planned work)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self.planned_s = 0.0
        self.done_s = 0.0
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self.live,
        )
        self.task = self.progress.add_task("starting", total=None, left="")

    def __enter__(self) -> "Reporter":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def plan(self, seconds: float) -> None:
        """Say how much measuring lies ahead."""
        self.planned_s, self.done_s = seconds, 0.0
        self.progress.update(self.task, total=seconds, completed=0)

    def extend(self, seconds: float) -> None:
        """Say that more lies ahead than was planned."""
        self.planned_s += seconds
        self.progress.update(self.task, total=self.planned_s)

    def spent(self, seconds: float) -> None:
        """Count planned seconds as done."""
        self.done_s += seconds
        self.progress.update(self.task, completed=self.done_s, left=self.left())

    def left(self) -> str:
        """The time left, in words; empty while nothing is planned."""
        remaining = self.planned_s - self.done_s
        return f"about {spell(remaining)} left" if remaining > 0 else ""

    def step(self, text: str) -> None:
        """Say what is being done now."""
        if self.live:
            self.progress.update(self.task, description=text, left=self.left())
        else:
            left = self.left()
            self.note(f"{text}{f'  ({left})' if left else ''}")

    def detail(self, text: str) -> None:
        """A passing detail of the step (a download line); shown on a terminal only."""
        if self.live:
            self.progress.update(self.task, description=text.strip()[:100])

    def note(self, text: str) -> None:
        """A line that stays."""
        stamp = time.strftime("%H:%M:%S")
        self.console.print(f"{stamp}  {text}", markup=False, highlight=False, soft_wrap=True)
