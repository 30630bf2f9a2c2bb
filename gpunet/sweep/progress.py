"""What the console shows while a sweep trains."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from gpunet.reporting.facts import clean, data_name, is_drawn, run_name
from gpunet.reporting.progress import REFRESHES_PER_SECOND
from gpunet.sweep.ranking import Ranked
from gpunet.sweep.space import cell_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from gpunet.sweep.plan import Plan
    from gpunet.sweep.running import Start


class ConsoleObserver:
    """A `running.Observer`: on a terminal a bar, elsewhere a line a group. A context manager, which ends the bar."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._total = 0
        self._plan: Plan | None = None
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> ConsoleObserver:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end_bar()

    def begins(self, start: Start) -> None:
        self._plan, self._total = start.plan, sum(group.networks for group in start.groups)
        for text, style in _announcement(start):
            self.console.print(text, style=style, soft_wrap=not self.console.is_terminal)
        if self.console.is_terminal and self._total:
            self._bar = _bar(self._total, self.console)

    def trains(self, networks: int) -> None:
        if self._bar is not None:
            display, task = self._bar
            display.update(task, completed=networks)

    def finished(self, networks: int, ranking: list[Ranked]) -> None:
        if self._bar is not None:
            display, task = self._bar
            display.update(task, completed=networks, best=self._best(ranking))
        else:
            done = f"networks {networks:{len(str(self._total))}}/{self._total}"
            print(f"{done}  {self._best(ranking)}", file=self.console.file, flush=True)

    def judges(self) -> None:
        self._end_bar()
        self.console.print("Training the winner as a single run, and judging it on its test images ...")

    def _best(self, ranking: list[Ranked]) -> str:
        best = ranking[0]
        if best.validation_accuracy is None:
            return "all have diverged so far"
        return f"best so far {best.validation_accuracy.mean:.1%}: {cell_text(self._plan.swept(best.cell))}"

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def _announcement(start: Start) -> list[tuple[str, str | None]]:
    plan, material = start.plan, start.material
    fields = ", ".join(f"{name} ({len({cell[name] for cell in plan.cells})})" for name in plan.fields)
    count = f"{len(plan.cells):,} combination{'s' * (len(plan.cells) > 1)}"
    seeds = f"{plan.seeds} seed{'s' * (plan.seeds > 1)} each: {plan.networks:,} networks"
    train, validation = (rows.shape[1] for rows in (material.train_rows, material.validation_rows))
    lines: list[tuple[str, str | None]] = [
        (f"sweep of {run_name(plan.base)} over {fields}: {count}, {seeds}", None),
        (f"on {clean(start.backend)}", None),
        (f"data: {data_name(material.dataset)}; {train:,} images to train, {validation:,} to validate", None),
    ]
    if plan.base.task == "binary":
        lines.append(("the experiment has no validation images: a fifth of its training images serve as such", None))
    if is_drawn(material.dataset):
        lines.append((f"NOTE: {clean(material.dataset.note)}", "bold yellow"))
    if start.kept:
        lines.append((f"{start.kept:,} of the combinations are finished already", "bold"))
    return lines


def _bar(total: int, console: Console) -> tuple[Progress, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    columns = (
        TextColumn("networks"),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TextColumn("{task.fields[best]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    display = Progress(*columns, console=console, refresh_per_second=REFRESHES_PER_SECOND, expand=True)
    display.start()
    return display, display.add_task("training", total=total, best="")
