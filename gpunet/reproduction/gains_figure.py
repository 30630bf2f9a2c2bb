"""The figure beyond the reports: how much each idea brings, with the 95 % confidence interval of its mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpunet.reporting.figures import INK, MUTED, TRAINING, VALIDATION, in_style, new_figure
from gpunet.reproduction.beyond import REFERENCES
from gpunet.reproduction.gains import Gain, gains
from gpunet.reproduction.running import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "beyond_gains"
DESCRIPTION = "What each idea beyond the reports brings in test accuracy, with its 95% confidence interval"
ROW_HEIGHT, AXIS_HEIGHT = 0.27, 0.62  # inches
FEWEST_WITH_INTERVAL = 3  # seeds: that of two, 13 standard errors to either side, would dwarf all others
COLOURS = {"multiclass": TRAINING, "binary": VALIDATION}


@in_style
def gains_figure(outcome: Outcome) -> Figure:
    """A row an idea: a dot, its interval, and the figure itself; each task below a line that names its reference."""
    found = gains(outcome)
    by_task = {task: [gain for gain in found if gain.idea.experiment.task == task] for task in REFERENCES}
    by_task = {task: own for task, own in by_task.items() if own}
    rows = len(found) + len(by_task)
    some = outcome.results[found[0].idea.training]
    title, height = "What each idea beyond the reports brings", rows * ROW_HEIGHT + AXIS_HEIGHT
    figure = new_figure(height, some, title, what=f"up to {max(gain.n for gain in found)} seeds each")
    axes = figure.add_subplot()
    names, at = {}, 0
    for task, own in by_task.items():
        names[at] = f"{task}, beside {REFERENCES[task][1]}"
        for gain in own:
            at += 1
            names[at] = gain.idea.experiment.name
            _draw(axes, gain, at)
        at += 1
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(list(names), list(names.values()))
    for label in axes.get_yticklabels():
        if ", beside " in label.get_text():
            label.set(color=MUTED, fontsize=8.5)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.16)  # room for the figures beside the lines
    axes.set_xlabel("gain in points of test accuracy, with 95% confidence intervals")
    return figure


def _draw(axes: Axes, gain: Gain, at: int) -> None:
    colour, right = COLOURS[gain.idea.experiment.task], gain.gain
    if gain.n >= FEWEST_WITH_INTERVAL:
        right = gain.high
        axes.plot([100 * gain.low, 100 * gain.high], [at, at], color=colour, linewidth=1.6)
    axes.plot(100 * gain.gain, at, "o", color=colour, markersize=5)
    axes.annotate(
        f"{100 * gain.gain:+.1f}", (100 * right, at), (5, 0), textcoords="offset points", va="center", fontsize=8.5
    )
