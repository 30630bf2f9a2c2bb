"""The figure of a results file of bench_train.py: a line a contender, time a step on a logarithmic axis."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.figure import DPI, GRID, INK, MUTED, STYLE

from gpunet.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LINE, HEADER, FOOTER = 8.0, 0.19, 0.72, 0.88  # inches
MARGIN, LABELS, FIGURES = 0.015, 0.32, 0.9  # shares of the width: where labels begin, the axes, and the figures beside

# Okabe and Ito's colours, by what a contender's name begins with.
COLOURS = {"gpunet": "#0072B2", "PyTorch": "#D55E00", "JAX": "#009E73", "scikit-learn": "#CC79A7", "TrainKernel": INK}
PACKAGES = ("numpy", "torch", "jax", "scikit-learn")
COLD = {"second": ("second process, with what the first one has compiled", "<"), "first": ("first process", ">")}


def write_figure(results: dict[str, Any], path: Path) -> None:
    """Draw a results file into a PNG."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = [(entry, fastest_by_threads(entry["us_per_step"])) for entry in results["experiments"]]
    lines = sum(len(fastest) + 1.4 for _, fastest in groups) - 0.4
    with style.context(["default", STYLE]):
        height = HEADER + FOOTER + LINE * (lines + 1)
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((LABELS, FOOTER / height, FIGURES - LABELS, 1 - (HEADER + FOOTER) / height))
        _draw(axes, groups, results["cold"], results["cold_experiment"])
        axes.set_ylim(lines, -0.8)
        figure.text(MARGIN, 1 - 0.1 / height, "Training: time a step", va="top", fontsize=11, fontweight="bold")
        figure.text(MARGIN, 0.09 / height, _footer(results), va="bottom", fontsize=7.5, color=MUTED, linespacing=1.4)
        handles, labels = axes.get_legend_handles_labels()
        legend = {"loc": "upper left", "bbox_to_anchor": (0.0, 1 - 0.3 / height), "borderaxespad": 0.2}
        figure.legend(handles, labels, ncols=3, frameon=False, fontsize=8, **legend)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def fastest_by_threads(us_per_step: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of contenders that were timed with several numbers of threads the fastest, in the order of the medians."""
    fastest: dict[str, str] = {}
    for name, times in us_per_step.items():
        contender = name.partition(", ")[0] if name.endswith(("thread", "threads")) else name
        best = fastest.setdefault(contender, name)
        if times["median"] < us_per_step[best]["median"]:
            fastest[contender] = name
    return {name: us_per_step[name] for name in sorted(fastest.values(), key=lambda name: us_per_step[name]["median"])}


def _draw(
    axes: Axes, groups: list[tuple[dict[str, Any], dict[str, Any]]], cold: dict[str, Any], cold_experiment: str
) -> None:
    at, places, labels = 0.0, [], []
    left = (MARGIN - LABELS) / (FIGURES - LABELS)  # in widths of the axes
    for entry, fastest in groups:
        network = f"{'-'.join(map(str, entry['sizes']))}, batch {entry['batch_size']}"
        across = axes.get_yaxis_transform()
        axes.text(left, at, f"{entry['experiment']}: {network}", transform=across, va="center", fontweight="bold")
        for name, times in fastest.items():
            at += 1
            colour = COLOURS[name.partition(" ")[0].rstrip(",")]
            axes.hlines(at, times["p20"], times["p80"], color=colour, linewidth=1)
            axes.plot(times["median"], at, "o", color=colour, markersize=5, zorder=3)
            axes.text(1.12, at, _figure_of(times["median"]), transform=across, va="center", ha="right")
            if name in cold and entry["experiment"] == cold_experiment:
                for kind, (_, marker) in COLD.items():
                    us = cold[name][kind]["us_per_step"]
                    axes.plot(us, at, marker, color=colour, markerfacecolor="white", markersize=5, zorder=2)
            places.append(at)
            labels.append(name)
        at += 1.4
    axes.plot([], [], "o", color=MUTED, markersize=5, label="warm")
    for label, marker in COLD.values() if cold else ():
        axes.plot([], [], marker, color=MUTED, markerfacecolor="white", markersize=5, linestyle="none", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("microseconds a step, median; the line goes from the 20th to the 80th percentile")
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _figure_of(us: float) -> str:
    return f"{us:,.0f} us" if us >= 10 else f"{us:.1f} us"


def _footer(results: dict[str, Any]) -> str:
    machine, device = results["machine"], results["device"]
    found = {name: machine[name] for name in PACKAGES if machine[name] != "not installed"}
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    where = f"{machine['cores']} cores of {machine['processor']}, of several thread counts the fastest"
    if device:
        where = f"{device['device']} and {where}"
    return f"{where}\n{versions}, Python {machine['python']}; {machine['date']}"
