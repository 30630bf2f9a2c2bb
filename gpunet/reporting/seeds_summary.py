"""The console's last words on a run with many seeds, in the manner of `gpunet.reporting.summary`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.reporting.facts import (
    DRAWN_WARNING,
    early_end,
    interruption,
    is_drawn,
    reported_class,
    run_name,
    seeds_text,
)
from gpunet.reporting.seeds_facts import Spread, best_and_worst, class_spreads, kept_text, left_out, named, spreads
from gpunet.reporting.summary import (
    MOST_CLASSES,
    WIDTH,
    Line,
    closing,
    confusions,
    fit,
    like_for_like,
    name_width,
    print_lines,
    wrapped,
)
from gpunet.seed_runs import SeedsResult

if TYPE_CHECKING:
    from rich.console import Console

FIGURES_WIDTH = 41  # of a row: mean, sd, min and max of 8 columns, the report's of 9


def seeds_summary_text(result: SeedsResult, folder: Path | None) -> str:
    """The summary as plain text; see `summary.summary_text`."""
    return "\n".join(text for text, _ in _lines(result, folder)) + "\n"


def print_seeds_summary(console: Console, result: SeedsResult, folder: Path | None) -> None:
    print_lines(console, _lines(result, folder))


def _lines(result: SeedsResult, folder: Path | None) -> list[Line]:
    names = result.dataset.class_names
    found = dict((figure.key, each) for figure, each in spreads(result))["test_accuracy"]
    headline = f"{run_name(result.config)}, {seeds_text(result.seeds)}: on average {found.mean:.1%} of the test images"
    lines: list[Line] = [("", ""), *wrapped(f"{headline} read right", "bold")]
    best, worst = best_and_worst(result)
    lines += wrapped(f"best: {found.max:.1%}, {named(best)}; worst: {found.min:.1%}, {named(worst)}", "")
    for text in (left_out(result), result.population.note):
        if text is not None:
            lines += wrapped(text, "bold yellow")
    interrupted = interruption(result)
    if interrupted:
        lines += wrapped(f"The run was {interrupted}: these are the figures of what was learnt.", "bold yellow")
    ended = early_end(result)
    if ended:
        lines += wrapped(ended, "")
    if is_drawn(result.dataset):
        lines += wrapped(DRAWN_WARNING, "bold yellow")
    lines += [("", ""), *_figure_table(result), ("", ""), *_class_table(result)]
    lines += [("", ""), *like_for_like(result), ("", "")]
    title = "Mean confusion matrix: true classes down, what they were read as across"
    matrix = result.test.confusion_matrix[result.sound].mean(axis=0)
    lines += [*confusions(matrix, names, title, "{:.1f}".format), ("", "")]
    return lines + closing(result, folder, f"model.safetensors is {kept_text(result)}")


def _figure_table(result: SeedsResult) -> list[Line]:
    width = WIDTH - FIGURES_WIDTH
    lines = [(_head(f"{int(result.sound.sum())} networks", width, result), "dim")]
    for figure, found in spreads(result):
        reported = figure.reported_text if result.config.experiment.is_reported else None
        lines.append((_row(f"{figure.name:{width}}", found, reported, is_share=figure.is_share), ""))
    return lines


def _class_table(result: SeedsResult) -> list[Line]:
    """The F1 of each class, beside the report's."""
    names, reported = result.dataset.class_names, result.config.experiment.reported
    found = dict(zip(names, class_spreads(result)["f1"], strict=True))
    width = name_width(("f1 by class", *names), WIDTH - FIGURES_WIDTH)
    lines = [(_head("f1 by class", width, result), "dim")]
    listed = list(names)
    if len(names) > MOST_CLASSES:
        listed = sorted(names, key=lambda name: found[name].mean)[:MOST_CLASSES]
    for name in listed:
        figures = reported_class(reported, name)
        beside = "-" if figures is None else f"{figures[2]:.2f}"
        beside = beside if result.config.experiment.is_reported else None
        lines.append((_row(fit(name, width), found[name], beside, is_share=True), ""))
    if len(listed) < len(names):
        lines.append((f"... the {len(listed)} of {len(names)} classes with the lowest f1; report.html has all", "dim"))
    return lines


def _head(first: str, width: int, result: SeedsResult) -> str:
    beside = f"{'report':>9}" if result.config.experiment.is_reported else ""
    return f"{first:{width}}{'mean':>8}{'sd':>8}{'min':>8}{'max':>8}{beside}"


def _row(name: str, found: Spread | None, reported: str | None, *, is_share: bool) -> str:
    """reported: None where there is no report to stand beside."""
    texts = ("-",) * 4 if found is None else found.texts(is_share=is_share)
    return name + "".join(f"{text:>8}" for text in texts) + ("" if reported is None else f"{reported:>9}")
