"""What the console says at the end of a run: plain text that fits 80 columns, coloured a little on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.reporting.facts import (
    DRAWN_WARNING,
    AnyResult,
    clean,
    compared_figures,
    differences,
    duration,
    early_end,
    interruption,
    is_drawn,
    loss_text,
    origin,
    reported_class,
    run_name,
)
from gpunet.runs import RunResult

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80
FIGURES_WIDTH, REPORTED_WIDTH = 33, 30  # of a row of the class table: the run's part, the report's
NAME_WIDTH = 14  # at least
MOST_CLASSES = 20  # listed one by one; of more, those read worst
MOST_CONFUSIONS = 10  # listed where the matrix is too wide

Line = tuple[str, str]  # text, and its style for rich


def summary_text(result: RunResult, folder: Path | None) -> str:
    """The summary of a run as plain text, lines of at most 80 columns (paths and notes' long words excepted).

    folder: where the artifacts lie; None if none were written.
    """
    return "\n".join(text for text, _ in _lines(result, folder)) + "\n"


def print_summary(console: Console, result: RunResult, folder: Path | None) -> None:
    """Print the summary; rich leaves the styles out where the console is no terminal."""
    print_lines(console, _lines(result, folder))


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    for text, style in lines:
        console.print(text, style=style or None, markup=False, highlight=False, soft_wrap=True, emoji=False)


def _lines(result: RunResult, folder: Path | None) -> list[Line]:
    test = result.test
    hits = int(test.confusion_matrix.trace())
    lines: list[Line] = [
        ("", ""),
        (f"{run_name(result.config)}: {test.accuracy:.1%} of the test images read right", "bold"),
        (f"{hits:,} of {len(test.predictions):,}; loss {loss_text(test.loss)}", ""),
    ]
    interrupted = interruption(result)
    if interrupted:
        lines += wrapped(f"The run was {interrupted}: these are the figures of what it had learnt.", "bold yellow")
    ended = early_end(result)
    if ended:
        lines += wrapped(ended, "")
    if is_drawn(result.dataset):
        lines += wrapped(DRAWN_WARNING, "bold yellow")
    lines += [("", ""), *_class_table(result), ("", ""), *_figure_table(result)]
    title = "Confusion matrix: true classes down, what they were read as across"
    lines += [("", ""), *like_for_like(result), ("", "")]
    lines += [*confusions(test.confusion_matrix, result.dataset.class_names, title, "{:d}".format), ("", "")]
    return lines + closing(result, folder, "model.safetensors is what predict reads")


def closing(result: AnyResult, folder: Path | None, about_the_model: str) -> list[Line]:
    """The data, the time it took, and where it was saved."""
    lines = wrapped(f"Data: {clean(result.dataset.source)} - {clean(result.dataset.note)}", "")
    spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in result.seconds.items())
    lines += wrapped(f"Time: {spent}", "")
    if folder is not None:
        lines.append((f"Saved in {clean(str(folder))}", "bold"))
        lines += wrapped(f"report.html shows it all; {about_the_model}", "dim")
    return lines


def _class_table(result: RunResult) -> list[Line]:
    """scikit-learn's classification report, beside what the report says of each class."""
    reported, found = result.config.experiment.reported, result.test.report
    names = result.dataset.class_names
    compare = any(reported_class(reported, name) for name in names)
    room = WIDTH - FIGURES_WIDTH - (REPORTED_WIDTH if compare else 0)
    width = name_width(names, room)
    head = f"{'':{width}}{'precision':>10}{'recall':>8}{'f1':>7}{'images':>8}"
    lines: list[Line] = []
    if compare:
        lines.append((f"{'':{width}}{'this run':>{FIGURES_WIDTH}}{'the report':>{REPORTED_WIDTH}}", "dim"))
        head += f"      {'precision':>10}{'recall':>8}{'f1':>6}"
    lines.append((head, "dim"))
    listed = list(names)
    if len(names) > MOST_CLASSES:
        listed = sorted(names, key=lambda name: found[name]["f1-score"])[:MOST_CLASSES]
    for name in listed:
        figures = reported_class(reported, name)
        line = _row(name, width, found[name])
        if compare:
            beside = figures or ("-", "-", "-")
            precision, recall, f1 = (value if value == "-" else f"{value:.2f}" for value in beside)
            line += f"      {precision:>10}{recall:>8}{f1:>6}"
        lines.append((line, ""))
    if len(listed) < len(names):
        lines.append((f"... the {len(listed)} of {len(names)} classes with the lowest f1; report.html has all", "dim"))
    lines += [(_row(name, width, found[name]), "") for name in ("macro avg", "weighted avg")]
    return lines


def _row(name: str, width: int, figures: dict[str, float]) -> str:
    return (
        f"{fit(name, width)}{figures['precision']:>10.3f}{figures['recall']:>8.3f}"
        f"{figures['f1-score']:>7.3f}{figures['support']:>8.0f}"
    )


def _figure_table(result: RunResult) -> list[Line]:
    reported = result.config.experiment.is_reported
    lines: list[Line] = [(f"{'':43}{'this run':>10}" + (f"{'the report':>14}" if reported else ""), "dim")]
    for figure in compared_figures(result):
        beside = f"{figure.reported_text:>14}" if reported else ""
        lines.append((f"{figure.name:43}{figure.run_text:>10}{beside}", ""))
    return lines


def like_for_like(result: AnyResult) -> list[Line]:
    lines = wrapped(origin(result.config), "dim")
    departures = differences(result)
    if departures:
        what = "NOT LIKE FOR LIKE" if result.config.experiment.is_reported else "UNLIKE THE EXPERIMENT"
        lines += wrapped(f"{what}: {'; '.join(departures)}.", "yellow")
    return lines


def confusions(matrix: np.ndarray, names: Sequence[str], title: str, text: Callable[[Any], str]) -> list[Line]:
    """A confusion matrix ``[C, C]``, its counts written as `text` does, or where it is too wide the commonest
    confusions."""
    width = name_width(names, NAME_WIDTH)
    room = (WIDTH - width) // len(names)
    cell = min(room, max(6, max(map(_width, names)) + 2))
    nothing = text(matrix.dtype.type(0))
    if cell > max(2, len(text(matrix.max()))):
        head = "".join(" " * (cell - min(_width(name), cell - 1)) + _cut(name, cell - 1) for name in names)
        lines: list[Line] = [(title, ""), (" " * width + head, "dim")]
        for name, row in zip(names, matrix, strict=True):
            counts = ("." if text(count) == nothing else text(count) for count in row)
            lines.append((fit(name, width) + "".join(f"{count:>{cell}}" for count in counts), ""))
        return lines
    pairs = [(matrix[t, p], t, p) for t, p in zip(*matrix.nonzero(), strict=True) if t != p]
    pairs.sort(key=lambda pair: -pair[0])
    lines = [("Commonest confusions (confusion_matrix.png has all)", "")]
    width = name_width(names, (WIDTH - 20) // 2)
    lines += [
        (f"{text(count):>6} x {fit(names[t], width)} read as {fit(names[p], width)}".rstrip(), "")
        for count, t, p in pairs[:MOST_CONFUSIONS]
    ]
    return lines if pairs else [("No image misread", "")]


def wrapped(text: str, style: str) -> list[Line]:
    # Long words are paths, which a person wants to copy whole.
    return [(line, style) for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]


def name_width(names: Iterable[str], room: int) -> int:
    """Columns for the class names and a space, as many as they need and there are."""
    return min(room, max(NAME_WIDTH, *(_width(name) + 1 for name in names)))


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(clean(text))


def fit(text: str, width: int) -> str:
    """The text in exactly so many columns, a space at its end; a letter of some scripts takes two of them."""
    text = clean(text) if _width(text) < width else _cut(text, width - 2) + "~"
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(clean(text), min(width, _width(text)))
