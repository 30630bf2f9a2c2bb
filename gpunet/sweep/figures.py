"""The figure of a sweep: validation accuracy over the fields that were swept.

One field: a dot for each value, with all its seeds. Two of which every combination was trained: a heat map. More, or
two of which only some combinations were drawn: parallel coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.reporting.facts import data_name, is_drawn, run_name, shortened
from gpunet.reporting.figures import (
    FOOTER,
    GRID,
    HEADER,
    INK,
    MARGIN,
    MUTED,
    TRAINING,
    VALIDATION,
    WARNING,
    WIDTH,
    in_style,
    message,
)
from gpunet.sweep.ranking import Ranked
from gpunet.sweep.running import SweepResult
from gpunet.sweep.space import FIELDS, cell_text, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_WRITTEN = 10  # values of a field, beyond which the tiles of a heat map hold no figures
MOST_LETTERS = 60  # of the names below a heat map, beyond which they stand upright
MOST_NAMED = 12  # values of a field, beyond which an axis has a scale instead of their names
FAN = 0.3  # of the distance between two values: how far lines through one of them are spread, so that each is seen
ACCURACY = "validation accuracy"


@in_style
def sweep_figure(result: SweepResult) -> Figure:
    """Of the combinations that are finished."""
    fields = result.plan.fields
    shown = [each for each in result.ranking if each.validation_accuracy is not None]
    if not shown:
        return message(_figure(1, result, layout=False), "None: every network that is finished has diverged.")
    if len(fields) == 1:
        return _one_field(result, shown)
    if len(fields) == 2 and _is_whole_grid(result):
        return _heat_map(result, shown)
    return _parallel_coordinates(result, shown)


def _one_field(result: SweepResult, shown: list[Ranked]) -> Figure:
    """The mean of each value, and its networks as small dots."""
    (name,) = result.plan.fields
    figure = _figure(3.6, result)
    axes = figure.add_subplot()
    scale = _Scale(result, name)
    shown = sorted(shown, key=lambda each: scale.place(_value(result, each, name)))
    places = [scale.place(_value(result, each, name)) for each in shown]
    for place, each in zip(places, shown, strict=True):
        networks = [v for v in result.records[each.cell]["validation_accuracy"] if v is not None]
        axes.plot([place] * len(networks), networks, "o", color=TRAINING, alpha=0.35, markersize=4, markeredgewidth=0)
    line = {"color": TRAINING, "linewidth": 1.4, "markersize": 6, "markerfacecolor": "white", "zorder": 4}
    axes.plot(places, [each.validation_accuracy.mean for each in shown], "-o" if scale.ordered else "o", **line)
    best = result.ranking[0]
    if best.validation_accuracy is not None:
        place = scale.place(_value(result, best, name))
        axes.plot(place, best.validation_accuracy.mean, "D", color=VALIDATION, markersize=7, zorder=5)
        words = f"best: {value_text(_value(result, best, name))}, {best.validation_accuracy.mean:.1%}"
        axes.annotate(words, (0.995, 1.015), xycoords="axes fraction", ha="right", color=VALIDATION, fontsize=9)
    axes.set_ylabel(ACCURACY)
    axes.set_xlabel(_label(name))
    scale.write_ticks(axes.xaxis)
    axes.set_xlim(-0.04, 1.04)
    _percent(axes.yaxis)
    return figure


def _heat_map(result: SweepResult, shown: list[Ranked]) -> Figure:
    """Means as tiles, those of the field with more values across; the best one framed."""
    across, down = sorted(result.plan.fields, key=lambda name: -len(_values(result, name)))
    columns, rows = _values(result, across), _values(result, down)
    means, sds = np.full((2, len(rows), len(columns)), np.nan)
    for each in shown:
        place = rows.index(_value(result, each, down)), columns.index(_value(result, each, across))
        means[place] = each.validation_accuracy.mean
        sds[place] = np.nan if each.validation_accuracy.sd is None else each.validation_accuracy.sd
    figure = _figure(min(1.15 + 0.62 * len(rows), 6.5), result)
    axes = figure.add_subplot()
    norm, colours = _colours(means[np.isfinite(means)])
    colours = colours.with_extremes(bad=GRID)
    tiles = axes.imshow(np.ma.masked_invalid(means), cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    _colour_bar(figure, tiles, axes)
    for (row, column), mean in np.ndenumerate(means):
        if len(rows) <= MOST_WRITTEN and len(columns) <= MOST_WRITTEN:
            bright = np.isfinite(mean) and np.dot(colours(norm(mean))[:3], (0.299, 0.587, 0.114)) > 0.48
            text = "-" if np.isnan(mean) else f"{100 * mean:.1f}"
            text += "" if np.isnan(sds[row, column]) else f"\n± {100 * sds[row, column]:.1f}"
            colour = INK if bright or np.isnan(mean) else "white"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5, linespacing=1.15)
    _frame(axes, result, (rows, down), (columns, across))
    names = list(map(value_text, columns))
    upright = len(names) * max(map(len, names)) > MOST_LETTERS
    axes.set_xticks(range(len(columns)), names, rotation=90 if upright else 0)
    axes.set_yticks(range(len(rows)), list(map(value_text, rows)))
    axes.set_xlabel(_label(across))
    axes.set_ylabel(_label(down))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _frame(axes: Axes, result: SweepResult, down: tuple[list[Any], str], across: tuple[list[Any], str]) -> None:
    from matplotlib.patches import Rectangle

    best = result.ranking[0]
    row, column = (values.index(_value(result, best, name)) for values, name in (down, across))
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VALIDATION, linewidth=2.5, clip_on=False))


def _parallel_coordinates(result: SweepResult, shown: list[Ranked]) -> Figure:
    """A line a combination, through its values and its accuracy; the best ones on top, the best of all thick."""
    fields = result.plan.fields
    means = np.array([each.validation_accuracy.mean for each in shown])
    norm, colours = _colours(means)
    figure = _figure(4.2, result)
    axes = figure.add_subplot()
    scales = [_Scale(result, name) for name in fields]
    last = _Linear(means)
    heights = np.linspace(0.5, -0.5, len(shown)) if len(shown) > 1 else np.zeros(1)  # in a fan, the best uppermost
    for each, mean, height in reversed(list(zip(shown, means, heights, strict=True))):
        values = [_value(result, each, name) for name in fields]
        places = [scale.place(value) + scale.fan * height for scale, value in zip(scales, values, strict=True)]
        style = {"linewidth": 1.3, "color": colours(norm(mean)), "alpha": 0.8, "zorder": 2}
        if each is result.ranking[0]:
            style = {"linewidth": 3.2, "color": VALIDATION, "zorder": 3}
        axes.plot([*places, last.place(mean)], clip_on=False, **style)
    for number, scale in enumerate([*scales, last]):
        axes.axvline(number, color=MUTED, linewidth=1, zorder=1)
        _write_beside(axes, number, scale, left=number < len(fields))
    axes.set_xticks(range(len(fields) + 1), [*(_label(name, "\n") for name in fields), "validation\naccuracy"])
    axes.set_xlim(-0.15, len(fields) + 0.15)
    axes.set_ylim(-0.1, 1.1)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=6)
    best = result.ranking[0]
    if best.validation_accuracy is not None:
        words = f"best: {best.validation_accuracy.mean:.1%}, {cell_text(result.plan.swept(best.cell))}"
        axes.set_title(shortened(words, 100), fontsize=8.5, color=VALIDATION, loc="left")
    return figure


def _write_beside(axes: Axes, number: int, scale: Any, *, left: bool) -> None:
    """The axis's values, on its left or right, on white so that lines do not run through them."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    for place, text in scale.ticks():
        axes.annotate(
            text,
            (number, place),
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=8.5,
            bbox=box,
            zorder=5,
        )


class _Scale:
    """Where a field's values stand on an axis from 0 to 1: numbers of which there are many by their size (or its
    logarithm), anything else evenly. fan: by how much lines through one value may differ."""

    def __init__(self, result: SweepResult, name: str) -> None:
        self.values = _values(result, name)
        numbers = all(_number(value) is not None for value in self.values)
        self.ordered = numbers
        # Few values stand evenly, each with its name, as far apart as can be read.
        self.even = not numbers or len(self.values) <= MOST_NAMED
        positive = numbers and min(map(_number, self.values)) > 0
        self.fan = FAN / max(2, len(self.values) - 1) if self.even else 0.0
        self.log = numbers and positive and FIELDS[name].scale == "log"

    def place(self, value: Any) -> float:
        if self.even:
            return self.values.index(value) / (len(self.values) - 1) if len(self.values) > 1 else 0.5
        return float(self._place(_number(value)))

    def _place(self, number: float) -> float:
        low, high, number = (np.log(x) if self.log else x for x in (*self._ends(), number))
        return (number - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        numbers = list(map(_number, self.values))
        return min(numbers), max(numbers)

    def ticks(self) -> list[tuple[float, str]]:
        if self.even:
            return [(self.place(value), value_text(value)) for value in self.values]
        from matplotlib.ticker import LogLocator, MaxNLocator

        low, high = self._ends()
        # From a decade on the powers of ten, below it whatever is round.
        locator = LogLocator(subs=(1, 3)) if self.log and high / low >= 10 else MaxNLocator(5)
        return [(self._place(tick), f"{tick:g}") for tick in locator.tick_values(low, high) if low <= tick <= high]

    def write_ticks(self, axis: Any) -> None:
        ticks = self.ticks()
        axis.set_ticks([place for place, _ in ticks], [text for _, text in ticks])


class _Linear:
    """The last axis of parallel coordinates: shares, from the lowest to the highest."""

    def __init__(self, shares: np.ndarray) -> None:
        self.low, self.high = float(shares.min()), float(shares.max())

    def place(self, share: float) -> float:
        return (share - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        from matplotlib.ticker import MaxNLocator

        inner = MaxNLocator(7).tick_values(100 * self.low, 100 * self.high) / 100
        return [(self.place(tick), f"{100 * tick:g}%") for tick in inner if self.low <= tick <= self.high]


def _colours(means: np.ndarray) -> tuple[Any, Any]:
    """From the accuracies to their colours: half of the scale is for the better half of the combinations, since the
    differences among these are what a sweep is about, and a single one that learnt nothing must not hide them."""
    from matplotlib import colormaps
    from matplotlib.colors import TwoSlopeNorm

    low, middle, high = float(means.min()), float(np.median(means)), float(means.max())
    if not low < middle < high:
        middle = (low + high) / 2
    if not low < high:
        low, high = low - 0.01, high + 0.01
    return TwoSlopeNorm(middle, low, high), colormaps["viridis"]


def _colour_bar(figure: Figure, tiles: Any, axes: Axes) -> None:
    norm = tiles.norm
    bar = figure.colorbar(tiles, ax=axes, ticks=[norm.vmin, norm.vcenter, norm.vmax], format=lambda x, _: f"{x:.1%}")
    bar.set_label(ACCURACY)
    bar.outline.set_visible(False)


def _is_whole_grid(result: SweepResult) -> bool:
    first, second = (_values(result, name) for name in result.plan.fields)
    return len(result.plan.cells) == len(first) * len(second)


def _values(result: SweepResult, name: str) -> list[Any]:
    """Of all combinations, planned ones too: numbers by their size, layers by how many and how large they are,
    names as they were given."""
    values = list(dict.fromkeys(cell[name] for cell in result.plan.cells))
    if name == "hidden":
        return sorted(values, key=lambda sizes: (len(sizes), sizes))
    if all(_number(value) is not None for value in values):
        return sorted(values, key=_number)
    return values


def _value(result: SweepResult, each: Ranked, name: str) -> Any:
    return result.plan.cells[each.cell][name]


def _number(value: Any) -> float | None:
    """A value as a number; of hidden layers the size of a single one, 0 without any."""
    if isinstance(value, tuple):
        return None if len(value) > 1 else float(value[0] if value else 0)
    return None if isinstance(value, str) else float(value)


def _label(name: str, between: str = " ") -> str:
    words = {"hidden": "hidden layers"}.get(name, name.replace("_", " "))
    return words.replace(" ", between)


def _percent(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}%"))


def _figure(height: float, result: SweepResult, *, layout: bool = True) -> Figure:
    """As `reporting.figures.new_figure`: a title, and a footer that says what the images are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    whole = HEADER + height + FOOTER
    figure = Figure(figsize=(WIDTH, whole), facecolor="white")
    FigureCanvasAgg(figure)
    if layout:
        figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.01, FOOTER / whole, 0.98, height / whole)))
    plan, done = result.plan, len(result.records)
    left, right, foot = MARGIN / WIDTH, 1 - MARGIN / WIDTH, FOOTER / 2 / whole
    seeds = f"means of {plan.seeds} seeds" if plan.seeds > 1 else f"seed {plan.base.seed}"
    figure.text(left, 1 - 0.12 / whole, f"Sweep: {ACCURACY}, {seeds}", va="top", fontsize=11.5, fontweight="bold")
    loud = {"color": WARNING, "fontweight": "bold"} if is_drawn(result.dataset) else {"color": MUTED}
    source = f"Data: {shortened(data_name(result.dataset), 50)}".replace("$", r"\$")
    figure.text(left, foot, source, va="center", fontsize=8, **loud)
    of_all = "" if done == len(plan.cells) else f" of {len(plan.cells):,}"
    count = f"{done:,}{of_all} combination{'s' * (len(plan.cells) > 1)}"
    figure.text(right, foot, f"{run_name(plan.base)}, {count}", va="center", ha="right", fontsize=8, color=MUTED)
    return figure
