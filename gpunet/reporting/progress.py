"""What the console shows while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpunet.history import EpochReport
from gpunet.reporting.facts import loss_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

REFRESHES_PER_SECOND = 4  # drawing takes milliseconds that training would miss

OnEpoch = Callable[[EpochReport], None]
OnEpochOfChunk = Callable[[EpochReport, range], None]


@contextmanager
def progress(epochs: int, console: Console, *, quiet: bool = False) -> Iterator[OnEpoch | None]:
    """A display of so many epochs; gives the `on_epoch` for `gpunet.runs.run`, None if quiet.

    On a terminal one line that a thread redraws a few times a second, however many epochs pass; elsewhere one plain
    line an epoch.
    """
    if quiet:
        yield None
    elif console.is_terminal:
        with _live(epochs, console) as on_epoch:
            yield on_epoch
    else:
        yield _plain(console)


@contextmanager
def seeds_progress(networks: int, epochs: int, console: Console) -> Iterator[OnEpochOfChunk]:
    """As `progress`, for the `on_epoch` of `gpunet.seed_runs.run_seeds`: one bar for all networks; or a plain line for
    each chunk of networks that is done, and where all are in one, for each epoch. The figures are the chunk's means."""
    if not console.is_terminal:
        yield _plain_by_chunk(networks, console)
        return
    with _bar("networks", networks, console) as (display, task):

        def on_epoch(report: EpochReport, chunk: range) -> None:
            done = chunk.stop if report.has_stopped else chunk.start + len(chunk) * report.epoch // epochs
            display.update(task, completed=done, figures=_figures(report))

        yield on_epoch


def _plain_by_chunk(networks: int, console: Console) -> OnEpochOfChunk:
    of_all = _plain(console)

    def on_epoch(report: EpochReport, chunk: range) -> None:
        if len(chunk) == networks:
            of_all(report)
        elif report.epoch == report.epochs or report.has_stopped:
            done = f"networks {chunk.stop:{len(str(networks))}}/{networks}"
            print(f"{done}  {_figures(report)}", file=console.file, flush=True)

    return on_epoch


def _plain(console: Console) -> OnEpoch:
    def on_epoch(report: EpochReport) -> None:
        epoch = f"epoch {report.epoch:{len(str(report.epochs))}}/{report.epochs}"
        # Not console.print, whose layout takes longer than a small network's epoch.
        print(f"{epoch}  {_figures(report)}", file=console.file, flush=True)

    return on_epoch


@contextmanager
def _live(epochs: int, console: Console) -> Iterator[OnEpoch]:
    with _bar("epoch", epochs, console) as (display, task):

        def on_epoch(report: EpochReport) -> None:
            display.update(task, completed=report.epoch, figures=_figures(report))

        yield on_epoch


@contextmanager
def _bar(counted: str, total: int, console: Console) -> Iterator[tuple[Progress, TaskID]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    columns = (
        TextColumn(counted),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, refresh_per_second=REFRESHES_PER_SECOND, expand=True) as display:
        yield display, display.add_task("training", total=total, figures="")


def _figures(report: EpochReport) -> str:
    """'train loss 0.6719  79.2%  validation loss 0.8117  74.2%', the percentages being accuracies; of training the
    running figures."""
    text = f"train loss {loss_text(report.train_loss)} {report.train_accuracy:6.1%}"
    if report.validation_loss is not None and report.validation_accuracy is not None:
        text += f"  validation loss {loss_text(report.validation_loss)} {report.validation_accuracy:6.1%}"
    return text
