"""What the console shows while everything is trained: what runs, and about how long is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpunet.data.dataset import Dataset
from gpunet.reporting.facts import clean, data_name, duration, is_drawn, seeds_text
from gpunet.reporting.progress import REFRESHES_PER_SECOND
from gpunet.reproduction.findings import value_text, values_beside
from gpunet.reproduction.printed import Printed, Training
from gpunet.reproduction.running import Outcome, Plan

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def watched(console: Console) -> Iterator[ConsoleWatcher]:
    """A watcher for `reproduce` that tells the console; on a terminal with a bar that keeps moving."""
    if not console.is_terminal or console.quiet:
        yield ConsoleWatcher(console)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), TaskProgressColumn())
    left = TextColumn("{task.fields[left]}", markup=False)
    with Progress(*columns, left, console=console, refresh_per_second=REFRESHES_PER_SECOND, expand=True) as display:
        yield BarWatcher(console, display)


class ConsoleWatcher:
    """One line when a training has ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total, self.done, self.began, self.begun = 0.0, 0.0, 0.0, 0.0
        self.number = ""

    def start(self, plan: Plan, dataset: Dataset, backend: str, total: float) -> None:
        self.total, self.began = total, time.perf_counter()
        seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
        quick = ", a quick look" if plan.quick else ""
        self.say(f"Both reports, every experiment with {seeds_text(seeds)}{quick}")
        self.say(f"on {backend}")
        self.say(f"data: {clean(data_name(dataset))}, {len(dataset):,} images")
        if is_drawn(dataset):
            self.say(f"NOTE: {clean(dataset.note)}", "bold yellow")

    def begin(self, training: Training, number: int, of: int) -> None:
        self.number = f"{number:{len(str(of))}}/{of}"
        self.begun = time.perf_counter()

    def advance(self, done: float) -> None:
        self.done = done

    def end(self, training: Training, outcome: Outcome) -> None:
        if training in outcome.results:
            accuracy = values_beside(Printed("0.0%", "test_accuracy", (training,), ""), outcome)
            found = f"test accuracy {value_text(Printed('0.0%', 'test_accuracy', (), ''), accuracy.mean())}"
        else:
            found = "diverged" if training in outcome.diverged else "interrupted"
        seconds = duration(time.perf_counter() - self.begun)
        left = "" if outcome.interrupted or self.done >= self.total else f", {self.left()}"
        self.say(f"{self.number}  {training.name:32}  {found}  in {seconds}{left}")

    def left(self) -> str:
        """Of the time that it has taken so far, in proportion to what is left."""
        if self.done <= 0:
            return ""
        seconds = (time.perf_counter() - self.began) * (self.total - self.done) / self.done
        return f"about {max(1, round(seconds))} s left" if seconds < 59.5 else f"about {duration(seconds)} left"

    def say(self, text: str, style: str | None = None) -> None:
        # Lines are broken for a person's terminal only, never in a file or a pipe.
        self.console.print(text, style=style, soft_wrap=not self.console.is_terminal)


class BarWatcher(ConsoleWatcher):
    """A bar besides, with what is being trained."""

    def __init__(self, console: Console, display) -> None:
        super().__init__(console)
        self.display = display
        self.task = display.add_task("loading the data", total=None, left="")

    def begin(self, training: Training, number: int, of: int) -> None:
        super().begin(training, number, of)
        self.display.update(self.task, total=self.total, description=f"{number}/{of} {training.name}")

    def advance(self, done: float) -> None:
        super().advance(done)
        self.display.update(self.task, completed=done, left=self.left())
