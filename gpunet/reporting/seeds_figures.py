"""The figures of a run with many seeds, in the manner of `gpunet.reporting.figures`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.reporting.figures import (
    GRID,
    INK,
    TRAINING,
    VALIDATION,
    confusion_panel,
    curve_panels,
    in_style,
    new_figure,
    number,
)
from gpunet.reporting.seeds_facts import BAND, band, spread
from gpunet.seed_runs import SeedsResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@in_style
def learning_curves(result: SeedsResult) -> Figure:
    """Loss and accuracy by epoch: the means over the networks, shaded between two percentiles of them."""

    def draw(axes: Axes, x: np.ndarray, values: np.ndarray, kind: str, label: str, **style: Any) -> None:
        values = values[result.sound]
        mean = values.mean(axis=0)
        axes.plot(x, mean, label=f"{label}: {number(mean[-1], kind)}", **style)
        if style["linestyle"] == "-":  # a third band would only be the other bands' colour
            axes.fill_between(x, *band(values), color=style["color"], alpha=0.25, linewidth=0)

    low, high = BAND
    networks = int(result.sound.sum())
    return curve_panels(result, f"Means of {networks} networks; shaded: {low}th to {high}th percentile", draw)


@in_style
def confusion_matrix(result: SeedsResult) -> Figure:
    """Mean counts of the test sets, shaded by their share of the true class."""
    matrix = result.test.confusion_matrix[result.sound].mean(axis=0)
    networks, accuracy = int(result.sound.sum()), result.test.accuracy[result.sound].mean()
    title = f"Mean confusion matrix of {networks} networks: {accuracy:.1%} read right"
    return confusion_panel(result, matrix, title, "{:.1f}".format)


@in_style
def test_accuracy(result: SeedsResult) -> Figure:
    """How the test accuracies of the networks are distributed, and where their mean and the report's lie."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    accuracy = result.test.accuracy[result.sound]
    figures, reported = spread(accuracy), result.config.experiment.reported.test_accuracy
    figure = new_figure(3.2, result, f"Test accuracy of {len(accuracy)} networks")
    axes = figure.add_subplot()
    axes.hist(accuracy, bins=_edges(accuracy, len(result.split.test)), color=TRAINING, edgecolor="white", alpha=0.75)
    sd = "" if figures.sd is None else f" ± {100 * figures.sd:.2g}"
    axes.axvline(figures.mean, color=INK, linewidth=1.4, label=f"mean: {100 * figures.mean:.1f}{sd}%")
    kept = result.test.accuracy[result.kept.index]
    axes.plot(kept, 0, "^", color=INK, clip_on=False, zorder=5, label=f"kept, seed {result.kept_seed}: {kept:.1%}")
    source = "as reported" if result.dataset.source == "signs" else "reported, on other images"
    if reported is not None:
        axes.axvline(reported, color=VALIDATION, linestyle="--", linewidth=1.4, label=f"{source}: {reported:.1%}")
    axes.set_xlabel("test accuracy")
    axes.set_ylabel("networks")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}%"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color=GRID)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), borderaxespad=0, borderpad=0, ncols=3)
    return figure


def _edges(accuracy: np.ndarray, images: int) -> np.ndarray:
    """Bars for a few networks each, between the accuracies that so many images can give, so that every bar holds as
    many of these as the others."""
    hits = np.round(accuracy * images).astype(np.int64)
    width = math.ceil((np.ptp(hits) + 1) / (2 * math.sqrt(len(hits))))
    return (np.arange(hits.min(), hits.max() + width + 1, width) - 0.5) / images


FIGURES = {"learning_curves": learning_curves, "confusion_matrix": confusion_matrix, "test_accuracy": test_accuracy}
