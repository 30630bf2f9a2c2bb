"""The figure of `gpunet equivalence`: errors in units of their tolerances, of each operation and of each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpunet.reporting.figures import FOOTER, HEADER, INK, MARGIN, MUTED, TRAINING, VALIDATION, WARNING, WIDTH, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.2  # inches, of an operation
STEPS_HEIGHT = 2.9  # inches, of the panel of steps
FLOOR, CEILING = 1e-5, 1e3  # of the axes; what is exact or smaller, or infinite, is drawn at the edge

COLOURS = {"row_loss": INK, "parameters": TRAINING, "m": VALIDATION, "v": "#009E73"}
LABELS = {"row_loss": "row losses", "parameters": "parameters", "m": "first moment", "v": "second moment"}


@in_style
def equivalence_figure(results: dict[str, Any]) -> Figure:
    """From the document that equivalence.json holds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    operations, steps = results["operations"], results["steps"]
    operations_height = 0.75 + ROW * len(operations)
    whole = HEADER + operations_height + STEPS_HEIGHT + FOOTER
    figure = Figure(figsize=(WIDTH, whole), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(rect=(0, FOOTER / whole, 1, 1 - (HEADER + FOOTER) / whole), hspace=0.02)
    )
    upper, lower = figure.subplots(2, 1, height_ratios=(operations_height, STEPS_HEIGHT))
    _operations(upper, operations)
    _steps(lower, steps)
    verdict, colour = ("agrees", INK) if results["agrees"] else ("DISAGREES", WARNING)
    left, right = MARGIN / WIDTH, 1 - MARGIN / WIDTH
    name = "NumPy in float32" if results["backend"] == "numpy" else results["device"]
    title = f"{name} {verdict} with NumPy in float64"
    figure.text(left, 1 - 0.12 / whole, title, va="top", fontsize=11.5, fontweight="bold", color=colour)
    experiment = results["experiment"]
    network = "-".join(map(str, experiment["sizes"]))
    run = f"{experiment['task']} {experiment['exp']}, {network}, batch {experiment['batch_size']}, {len(steps)} steps"
    foot = {"va": "center", "fontsize": 8, "color": MUTED}
    figure.text(left, FOOTER / 2 / whole, f"{run}; data: {experiment['data']}".replace("$", r"\$"), **foot)
    figure.text(right, FOOTER / 2 / whole, f"{results['backend']}, {results['date']}", ha="right", **foot)
    return figure


def _operations(axes: Axes, operations: Sequence[dict[str, Any]]) -> None:
    """A row each: a dot for every array that it writes, the largest one filled."""
    axes.set_title("operations, each given the same input")
    for place, row in enumerate(operations):
        for error in row["errors"].values():
            style = {"color": _colour(error), "markerfacecolor": "white", "clip_on": False}
            axes.plot(_place(error), place, "o", markersize=4, **style)
        axes.plot(_place(row["error"]), place, "o", markersize=5, color=_colour(row["error"]), clip_on=False, zorder=4)
        if row["error"] == 0:
            axes.annotate(" exact", (FLOOR, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    names = [f"{row['operation']}, {row['where']}" for row in operations]
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(len(operations) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(FLOOR, _upper_edge(operations))
    axes.set_xlabel("error in units of its tolerance")
    axes.axvline(1, color=WARNING, linewidth=1.2)
    axes.annotate("tolerance ", (1, -0.45), ha="right", va="top", fontsize=8, color=WARNING)


def _steps(axes: Axes, steps: Sequence[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("whole steps, each begun from the same state")
    numbers = [step["step"] for step in steps]
    marker = {"marker": "o", "markersize": 3.5} if len(steps) <= 40 else {}
    for name in [name for name in COLOURS if steps and name in steps[0]["errors"]]:
        errors = [_place(step["errors"][name]) for step in steps]
        axes.plot(numbers, errors, color=COLOURS[name], label=LABELS[name], linewidth=1.4, clip_on=False, **marker)
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, _upper_edge(steps))
    axes.set_xlabel("step")
    axes.set_ylabel("error / tolerance")
    axes.axhline(1, color=WARNING, linewidth=1.2)
    if steps:
        # Below the panel, its end at the panel's: the names to the left of the panels leave it room.
        axes.legend(loc="upper right", bbox_to_anchor=(1, -0.24), borderaxespad=0, borderpad=0, ncols=4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.set_xlim(1 - 0.02 * max(numbers), max(numbers) * 1.02)


def _place(error: float | None) -> float:
    """Where an error is drawn; None is infinite."""
    return CEILING if error is None else min(max(error, FLOOR), CEILING)


def _colour(error: float | None) -> str:
    return TRAINING if error is not None and error <= 1 else WARNING


def _upper_edge(rows: Sequence[dict[str, Any]]) -> float:
    """A little beyond the tolerance, or as far as the errors go."""
    largest = max((_place(row["error"]) for row in rows), default=1)
    return 10 if largest <= 1 else CEILING
