"""The figures of a run. Each says in its footer where the data came from, so that drawn images never pass for real.

matplotlib is used through its objects, never through pyplot: no window system, no figures kept in memory.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.data import IMAGE_SIDE
from gpunet.reporting.facts import (
    AnyResult,
    data_name,
    interruption,
    is_drawn,
    misread_order,
    run_name,
    seeds_text,
    shortened,
)
from gpunet.runs import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
WIDTH, MARGIN = 7.0, 0.1  # inches
MISREAD_SHOWN = 24
MOST_NUMBERED_CLASSES = 20  # beyond, a count no longer fits its cell

# Okabe and Ito's colours, told apart with every kind of colour vision.
TRAINING, VALIDATION, WARNING = "#0072B2", "#D55E00", "#B3261E"
INK, MUTED, GRID = "#222222", "#5F6368", "#E3E5E8"

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
}
HEADER, FOOTER = 0.36, 0.36  # inches
CAPTION_LINE = 0.125  # inches, above each misread image


def in_style(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Run with matplotlib's defaults and STYLE, whatever the user's matplotlibrc says."""

    @wraps(draw)
    def drawn(*arguments: Any) -> Any:
        from matplotlib import style

        with style.context(["default", STYLE]):
            return draw(*arguments)

    return drawn


@in_style
def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a class named in a script the font lacks
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()


@in_style
def learning_curves(result: RunResult) -> Figure:
    """Loss and accuracy by epoch: training (mean over each epoch, and after it), validation, and what was reported."""

    def draw(axes: Axes, x: np.ndarray, values: np.ndarray, kind: str, label: str, **style: Any) -> None:
        label = f"{label}: {number(values[0, -1], kind)}"
        axes.plot(x, values[0], label=label, **style)

    return curve_panels(result, "Learning curves", draw)


def curve_panels(result: AnyResult, title: str, draw: Callable[..., None]) -> Figure:
    """A panel of losses and one of accuracies, by epoch, with what was reported.

    draw(axes, x, values, kind, label, **style) draws one curve: x ``[epochs]``, values ``[P, epochs]``, kind "loss" or
    "accuracy", style as for `Axes.plot`.
    """
    history, reported = result.history, result.config.experiment.reported
    if not history.epochs:
        figure = new_figure(1, result, title, layout=False)
        return message(figure, "None: the run was interrupted before its first epoch ended.")
    figure = new_figure(4, result, title)
    after = np.arange(1, history.epochs + 1)
    # A mean over an epoch tells of the weights half an epoch earlier, and is drawn there.
    curves = [
        (history.train, after - 0.5, "training, mean over the epoch", TRAINING, ":"),
        (history.train_after, after, "training, after the epoch", TRAINING, "-"),
        (history.validation, after, "validation", VALIDATION, "-"),
    ]
    source = "as reported" if result.dataset.source == "signs" else "reported, on other images"
    last = max(history.epochs, result.config.experiment.epochs)
    panels = zip(
        figure.subplots(1, 2),
        ("loss", "accuracy"),
        ((reported.train_loss, reported.validation_loss), (reported.train_accuracy, reported.validation_accuracy)),
        strict=True,
    )
    for axes, kind, targets in panels:
        for curve, x, label, colour, line in curves:
            if curve is not None:
                marker = {"marker": "o", "markersize": 3} if history.epochs <= 20 else {}
                if line == ":":
                    marker["markerfacecolor"] = "white"
                style = {"linestyle": line, "color": colour, "linewidth": 1.6, **marker}
                draw(axes, x, getattr(curve, kind), kind, label, **style)
        for target, part, colour in zip(targets, ("training", "validation"), (TRAINING, VALIDATION), strict=True):
            if target is not None:
                axes.plot(
                    result.config.experiment.epochs,
                    target,
                    "D",
                    color=colour,
                    markerfacecolor="white",
                    markersize=6,
                    linestyle="none",
                    clip_on=False,
                    label=f"{part}, {source}: {target}",
                )
        _finish_panel(axes, kind, last)
    return figure


def _finish_panel(axes: Axes, kind: str, last: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_title(kind)
    axes.set_xlim(0, last * 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    # As many ticks whatever the size: labels that widen when the layout has been found are cut off.
    axes.yaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10]))
    if kind == "loss":
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(top=1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}%"))
    # Below the panel: within it, there is no place that a curve could not take.
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), borderaxespad=0, borderpad=0)


@in_style
def confusion_matrix(result: RunResult) -> Figure:
    """Counts of the test set, shaded by their share of the true class."""
    matrix = result.test.confusion_matrix
    right = f"{result.test.accuracy:.1%} of {int(matrix.sum()):,} test images read right"
    return confusion_panel(result, matrix, f"Confusion matrix: {right}", "{:d}".format)


def confusion_panel(result: AnyResult, matrix: np.ndarray, title: str, text: Callable[[Any], str]) -> Figure:
    """A matrix of counts ``[C, C]``, written as `text` does, those of zero left out; shaded by their share of the true
    class."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    classes = len(result.dataset.class_names)
    images = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(images, 1)
    figure = new_figure(min(1 + 0.8 * classes, 5.3), result, title)
    axes = figure.add_subplot()
    # The square root, so that single mistakes among a hundred images can be seen.
    norm = PowerNorm(0.5, 0, 1)
    shading = axes.imshow(share, cmap="Blues", norm=norm, interpolation="nearest")
    bar = figure.colorbar(shading, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    _label_classes(axes, result.dataset.class_names)
    if classes <= MOST_NUMBERED_CLASSES:
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2)
        axes.tick_params(which="minor", length=0)
        size = min(9.5, 120 / classes)
        for (row, column), value in np.ndenumerate(matrix):
            if text(value) != text(matrix.dtype.type(0)):
                colour = "white" if norm(share[row, column]) > 0.6 else INK
                axes.text(column, row, text(value), ha="center", va="center", color=colour, fontsize=size)
    return figure


def _label_classes(axes: Axes, class_names: tuple[str, ...]) -> None:
    step = -(-len(class_names) // 40)  # every class named as long as the names fit
    places = np.arange(0, len(class_names), step)
    names = [_text(shortened(class_names[place], 12)) for place in places]
    size = 9.5 if len(places) <= 20 else 7
    upright = max(map(len, names)) > 3 or (len(places) > 20 and max(map(len, names)) > 1)
    axes.set_xticks(places, names, fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlabel("read as")
    axes.set_ylabel("true class")


@in_style
def misread(result: RunResult) -> Figure:
    """The test images that were misread most confidently, with what they are and what they were taken for."""
    order = misread_order(result)
    tested = result.split.test
    if not len(order):
        figure = new_figure(1, result, "Misread images", layout=False)
        return message(figure, f"None: all {len(tested):,} test images were read right.")
    shown, columns, gap = order[:MISREAD_SHOWN], 8, 0.08
    rows = -(-len(shown) // columns)
    side = (WIDTH - 2 * MARGIN + gap) / columns - gap
    if len(shown) == len(order):
        all_of_them = "The one misread image" if len(order) == 1 else f"All {len(order)} misread images"
        title = f"{all_of_them} (of {len(tested):,} tested)"
    else:
        which = "most confidently misread" if result.test.confidence is not None else "first"
        title = f"The {len(shown)} {which} of {len(order):,} misread images (of {len(tested):,} tested)"
    names = [_text(shortened(name, 8)) for name in result.dataset.class_names]
    confidence = result.test.confidence
    # A long name leaves no room beside it.
    between = " " if max(map(len, names)) <= 2 else "\n"
    caption = CAPTION_LINE * (3 if confidence is not None and between == "\n" else 2) + 0.08
    figure = new_figure(rows * (side + caption), result, title, layout=False)
    height = figure.get_figheight()
    for index, place in enumerate(shown):
        row, column = divmod(index, columns)
        left, bottom = MARGIN + column * (side + gap), height - HEADER - (row + 1) * (side + caption)
        axes = figure.add_axes((left / WIDTH, bottom / height, side / WIDTH, side / height))
        image = result.dataset.grey(tested[place]).reshape(IMAGE_SIDE, IMAGE_SIDE)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        true, read = names[result.dataset.labels[tested[place]]], names[result.test.predictions[place]]
        sure = "" if confidence is None else f"{between}({confidence[place]:.2f})"
        axes.set_title(f"true {true}\nread {read}{sure}", fontsize=7.5, pad=2, linespacing=1.1)
    return figure


FIGURES = {"learning_curves": learning_curves, "confusion_matrix": confusion_matrix, "misread": misread}


def new_figure(height: float, result: AnyResult, title: str, *, layout: bool = True, what: str | None = None) -> Figure:
    """A figure with so many inches between its title and its footer. layout: place its axes to fit there. what: it
    shows, for the footer (default: the run and its seeds)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    whole = HEADER + height + FOOTER
    figure = Figure(figsize=(WIDTH, whole), facecolor="white")
    FigureCanvasAgg(figure)
    if layout:
        figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, FOOTER / whole, 1, height / whole), compress=True))
    left, right = MARGIN / WIDTH, 1 - MARGIN / WIDTH
    figure.text(left, 1 - 0.12 / whole, title, va="top", fontsize=11.5, fontweight="bold")
    loud = {"color": WARNING, "fontweight": "bold"} if is_drawn(result.dataset) else {"color": MUTED}
    foot = FOOTER / 2 / whole
    figure.text(left, foot, _text(f"Data: {shortened(data_name(result.dataset), 50)}"), va="center", fontsize=8, **loud)
    if what is None:
        what = ", ".join(filter(None, (run_name(result.config), seeds_text(result.seeds), interruption(result))))
    figure.text(right, foot, what, va="center", ha="right", fontsize=8, color=MUTED)
    return figure


def message(figure: Figure, text: str) -> Figure:
    figure.text(0.5, 0.55, text, ha="center", va="center", fontsize=10.5)
    return figure


def number(value: float, kind: str) -> str:
    return f"{value:.3f}" if kind == "accuracy" else f"{value:.3g}"


def _text(text: str) -> str:
    """Text as it stands: a dollar would begin a formula."""
    return text.replace("$", r"\$")
