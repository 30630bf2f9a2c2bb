"""The figures: the PyTorch report's as `gpunet train --seeds` draws them, the NumPy report's loss curves study by
study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gpunet.reporting import seeds_figures
from gpunet.reporting.figures import FOOTER, HEADER, INK, MARGIN, TRAINING, VALIDATION, WIDTH, in_style, new_figure
from gpunet.reproduction import gains_figure, numpy_report, pytorch_report
from gpunet.reproduction.gains import gains
from gpunet.reproduction.numpy_report import network
from gpunet.reproduction.printed import Training
from gpunet.reproduction.running import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpunet.seed_runs import SeedsResult

PANEL_HEIGHT, SINGLE_PANEL_HEIGHT, LEGEND_HEIGHT = 1.9, 2.6, 0.42  # inches
MOST_COLUMNS = 3


class Panel(NamedTuple):
    """title; the networks whose losses are drawn, with how they are called; what the report prints of one run or
    several: (initial loss, final loss)."""

    title: str
    curves: tuple[tuple[str, Training], ...]
    printed: tuple[tuple[str, str], ...]


class Study(NamedTuple):
    name: str
    title: str
    panels: tuple[Panel, ...]


def _panels(rows: dict, title: str, curves: Callable) -> tuple[Panel, ...]:
    return tuple(Panel(title.format(f"{row:g}"), curves(row), (texts[:2],)) for row, texts in rows.items())


def _both(make: Callable) -> Callable:
    """The study with one neuron, as stated, and with ten."""
    names = ((1, f"{numpy_report.STATED}, as stated"), (10, numpy_report.OTHERWISE))
    return lambda row: tuple((name, make(neurons, row)) for neurons, name in names)


STUDIES = (
    Study(
        "numpy_epochs",
        "Number of epochs (rate 0.01)",
        _panels(numpy_report.EPOCHS, "{} epochs", _both(lambda neurons, epochs: network(neurons, 0.01, epochs))),
    ),
    Study(
        "numpy_neurons",
        "Number of hidden neurons (rate 0.01, 10 epochs)",
        _panels(numpy_report.NEURONS, "{} neurons", lambda neurons: (("", network(neurons, 0.01, 10)),)),
    ),
    Study(
        "numpy_learning_rates",
        "Learning rate (10 epochs)",
        _panels(numpy_report.LEARNING_RATES, "rate {}", _both(lambda neurons, rate: network(neurons, rate, 10))),
    ),
    Study(
        "numpy_repeats",
        "The chosen model, and the report's three tests of it",
        (
            Panel(
                "10 neurons, rate 0.1, 10 epochs",
                (("", numpy_report.FINAL),),
                tuple(texts[:2] for texts in numpy_report.REPEATS.values()),
            ),
        ),
    ),
)

# What a figure shows, for those who do not see it.
DESCRIPTIONS = {
    "binary_confusion_matrix": "Mean confusion matrix of the binary model",
    "base_curves": "Loss and accuracy of the base model by epoch",
    "exp1_curves": "Loss and accuracy of Exp 1 by epoch",
    "exp2_curves": "Loss and accuracy of Exp 2 by epoch",
    "exp2_confusion_matrix": "Mean confusion matrix of Exp 2",
    **{study.name: f"Training loss by epoch. {study.title}" for study in STUDIES},
    gains_figure.NAME: gains_figure.DESCRIPTION,
}


def figures(outcome: Outcome) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """(name, a function that draws it) of each figure whose networks were trained."""
    single = {
        "binary_confusion_matrix": (seeds_figures.confusion_matrix, pytorch_report.BINARY),
        "base_curves": (seeds_figures.learning_curves, pytorch_report.BASE),
        "exp1_curves": (seeds_figures.learning_curves, pytorch_report.EXP1),
        "exp2_curves": (seeds_figures.learning_curves, pytorch_report.EXP2),
        "exp2_confusion_matrix": (seeds_figures.confusion_matrix, pytorch_report.EXP2),
    }
    for name, (draw, training) in single.items():
        if training in outcome.results:
            yield name, partial(draw, outcome.results[training])
    for study in STUDIES:
        if any(training in outcome.results for panel in study.panels for _, training in panel.curves):
            yield study.name, partial(study_figure, study, outcome)
    if gains(outcome):
        yield gains_figure.NAME, partial(gains_figure.gains_figure, outcome)


@in_style
def study_figure(study: Study, outcome: Outcome) -> Figure:
    """The mean training loss of every epoch, taken while it trains: a thin line a network, a thick one their mean."""
    panels, curves = study.panels, [curve for panel in study.panels for curve in panel.curves]
    some = next(outcome.results[training] for _, training in curves if training in outcome.results)
    rows = 1 if len(panels) <= MOST_COLUMNS else 2
    columns = -(-len(panels) // rows)
    height = SINGLE_PANEL_HEIGHT if len(panels) == 1 else rows * PANEL_HEIGHT
    figure = new_figure(height + LEGEND_HEIGHT, some, study.title)
    _add_legend(figure, study, outcome)
    places = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _draw_panel(axes, panel, outcome)
    for axes in places[::columns]:
        axes.set_ylabel("loss")
    top = _top(curves, panels, outcome)
    for axes in places[: len(panels)]:
        axes.set_ylim(0, top)
    return figure


def _draw_panel(axes: Axes, panel: Panel, outcome: Outcome) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = panel.curves[0][1].config().epochs
    for colour, (_, training) in zip((TRAINING, VALIDATION), panel.curves, strict=False):
        if training in outcome.results:
            losses = _losses(outcome.results[training])
            x = np.arange(1, losses.shape[1] + 1) - 0.5  # a mean over an epoch is drawn in its middle
            axes.plot(x, losses.T, color=colour, linewidth=0.8, alpha=max(0.1, min(0.45, 9 / len(losses))))
            axes.plot(x, losses.mean(axis=0), color=colour, linewidth=2)
    for initial, final in panel.printed:
        axes.plot([0.5, epochs - 0.5], [float(initial), float(final)], **_DIAMONDS)
    axes.set_title(panel.title, fontsize=9.5)
    axes.set_xlim(0, epochs)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


_DIAMONDS = {
    "marker": "D",
    "linestyle": "none",
    "color": INK,
    "markerfacecolor": "white",
    "markersize": 5.5,
    "clip_on": False,
    "zorder": 5,
}


def _losses(result: SeedsResult) -> np.ndarray:
    return result.history.train.loss[result.sound]


def _top(curves: list[tuple[str, Training]], panels: tuple[Panel, ...], outcome: Outcome) -> float:
    """Above all that was reported and found, unless single networks shoot far beyond the others."""
    losses = [_losses(outcome.results[each]) for _, each in curves if each in outcome.results]
    usual = [each.mean(axis=0).max() for each in losses]
    usual += [float(text) for panel in panels for pair in panel.printed for text in pair]
    return 1.05 * min(max(*usual, *(each.max() for each in losses)), 1.8 * max(usual))


def _add_legend(figure: Figure, study: Study, outcome: Outcome) -> None:
    """Below the panels, once for all of them; they leave it room."""
    from matplotlib.lines import Line2D

    whole = figure.get_figheight()
    bottom = (FOOTER + LEGEND_HEIGHT) / whole
    figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - HEADER / whole - bottom))

    names = [name for name, _ in study.panels[0].curves]
    networks = max(len(_losses(result)) for result in outcome.results.values())
    handles = []
    for colour, name in zip((TRAINING, VALIDATION), names, strict=False):
        handles.append(Line2D([], [], color=colour, linewidth=2, label=f"mean of {networks}{name and f': {name}'}"))
    handles.append(Line2D([], [], color=INK, linewidth=0.8, alpha=0.6, label="each network"))
    source = "as reported" if outcome.is_evidence else "reported, on other images"
    handles.append(Line2D([], [], label=f"{source}: initial and final loss", **_DIAMONDS))
    place = {
        "loc": "lower left",
        "bbox_to_anchor": (MARGIN / WIDTH, FOOTER / whole),
        "borderaxespad": 0,
        "borderpad": 0,
    }
    figure.legend(handles=handles, ncols=2 if len(handles) > 3 else 3, **place)
