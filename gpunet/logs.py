"""Logs of a run as it goes, for `on_epoch`: CSV and JSON lines, line by line, and TensorBoard's event files.

    with file_log("run.jsonl") as log, tensorboard_log("runs/board") as board:
        train(network, images, labels, on_epoch=in_turn(log, board))

Every line is on disk when the next epoch begins. A log that cannot be written any more (the disk is full) is a warning,
and training goes on.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gpunet.errors import InputError
from gpunet.history import EpochReport

FIGURES = tuple(name for name in EpochReport._fields if name not in ("epoch", "epochs", "has_stopped"))
COLUMNS = ("time", "first_network", "last_network", "epoch", "epochs", *FIGURES)  # of a line

OnEpoch = Callable[..., Any]  # (EpochReport), of a population (EpochReport, range of its networks)

logger = logging.getLogger(__name__)


def in_turn(*calls: OnEpoch | None) -> Callable[..., bool]:
    """One `on_epoch` that makes all these calls, None left out, and ends the run if any of them says so."""
    kept = [call for call in calls if call is not None]
    return lambda *report: any([call(*report) for call in kept])


def file_log(path: str | os.PathLike, *, append: bool = False) -> Any:
    """A context manager that gives an `on_epoch`, which writes one line an epoch (see `COLUMNS`) to a .csv or .jsonl
    file. Times are seconds since 1970; what was not measured is empty, or null; the networks are those that the figures
    are means of, counted from 0.

    append: to a file that is there already, as when a run is taken up again; epochs that are trained again, since they
    ended after the last checkpoint, then have a second line.
    Raises `InputError` for another ending, for a file that is there already, and where it cannot be written.
    """
    return _file_log(log_path(path, append=append), append)


def log_path(path: str | os.PathLike, *, append: bool = False) -> Path:
    """Where the log goes; raises `InputError` as `file_log` does, but creates nothing."""
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() not in _LINES:
        raise InputError(f"a log's name must end in {' or '.join(_LINES)}, and {path.name!r} does not: name another")
    if not append and os.path.lexists(path):
        raise InputError(f"the log {path} is there already and is not overwritten: name another")
    return path


@contextmanager
def _file_log(path: Path, append: bool) -> Iterator[OnEpoch]:
    kind = _LINES[path.suffix.lower()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a" if append else "x", encoding="utf-8", newline="")
        if file.tell() == 0:
            file.write(kind.first)
            file.flush()
    except OSError as error:
        raise InputError(f"the log {path} cannot be written ({error.strerror or error}): name another") from error

    def write(report: EpochReport, networks: range | None) -> None:
        file.write(kind.line(_values(report, networks)))
        file.flush()

    try:
        yield _watched(write, path)
    finally:
        _close(file.close)


class _Lines(NamedTuple):
    """How a file begins, and from an epoch's values to its line."""

    first: str
    line: Callable[[dict[str, Any]], str]


def _values(report: EpochReport, networks: range | None) -> dict[str, Any]:
    networks = networks or range(1)
    figures = {name: _plain(getattr(report, name)) for name in FIGURES}
    place = {"time": round(time.time(), 3), "first_network": networks[0], "last_network": networks[-1]}
    return place | {"epoch": report.epoch, "epochs": report.epochs} | figures


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _csv_line(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return text.getvalue()


_LINES = {
    ".csv": _Lines(_csv_line(COLUMNS), lambda values: _csv_line(values.values())),
    ".jsonl": _Lines("", lambda values: json.dumps(values, allow_nan=False) + "\n"),
}


@contextmanager
def tensorboard_log(folder: str | os.PathLike) -> Iterator[OnEpoch]:
    """Gives an `on_epoch` that writes the figures of each epoch to event files, which `tensorboard --logdir` shows.

    Tags are "loss/train", "accuracy/validation", "learning_rate" and so on. Of a population each part of the networks
    that are trained side by side has a folder of its own: networks-0-19.
    Raises `InputError` where the package tensorboard is not installed and where the folder cannot be written.
    """
    new_writer, event_of = _tensorboard()
    folder, writers = Path(os.path.expanduser(folder)), {}

    def writer_of(networks: range | None) -> Any:
        place = folder if networks is None else folder / f"networks-{networks[0]}-{networks[-1]}"
        if place not in writers:
            writers[place] = new_writer(str(place))
        return writers[place]

    def write(report: EpochReport, networks: range | None) -> None:
        writer = writer_of(networks)
        writer.add_event(event_of(report))
        writer.flush()

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): name another folder") from error
    try:
        yield _watched(write, folder)
    finally:
        for writer in writers.values():
            _close(writer.close)


def check_tensorboard() -> None:
    """Raise `InputError` unless the package tensorboard is installed."""
    _tensorboard()


def _tensorboard() -> tuple[Callable[[str], Any], Callable[[EpochReport], Any]]:
    """TensorBoard's own writer of event files, without its SummaryWriter's frameworks; and from figures to an event."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise InputError('TensorBoard is not installed: pip install "gpunet[tensorboard]"') from error

    def event_of(report: EpochReport) -> Any:
        figures = [(name, getattr(report, name)) for name in FIGURES]
        values = [Summary.Value(tag=_tag(name), simple_value=value) for name, value in figures if value is not None]
        return Event(wall_time=time.time(), step=report.epoch, summary=Summary(value=values))

    return EventFileWriter, event_of


def _tag(name: str) -> str:
    """Of train_loss_after, loss/train_after."""
    for kind in ("loss", "accuracy"):
        part, found, rest = name.partition(f"_{kind}")
        if found:
            return f"{kind}/{part}{rest}"
    return name


def _watched(write: Callable[[EpochReport, range | None], None], where: Path) -> OnEpoch:
    """The `on_epoch` that writes until that fails once. It never ends a run."""
    failed = False

    def on_epoch(report: EpochReport, networks: range | None = None) -> None:
        nonlocal failed
        if failed:
            return
        try:
            write(report, networks)
        except OSError as error:
            failed = True
            why = error.strerror or error
            logger.warning(
                "the log %s ends before epoch %d, since it cannot be written (%s): training goes on",
                where,
                report.epoch,
                why,
            )

    return on_epoch


def _close(close: Callable[[], None]) -> None:
    """A disk that is full is full still: what could not be written has been told of."""
    try:
        close()
    except OSError:
        pass
