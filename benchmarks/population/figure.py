"""The figure of a results file of bench_population.py: networks a second over the size of the population."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.figure import DPI, GRID, MUTED, STYLE

from gpunet.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 8.0, 4.6  # inches
LABELS = 0.235  # of the width, at the right
APART = 0.05  # of the height of the axes: two lines' names at the least

# Okabe and Ito's colours, told apart with every kind of colour vision.
CONTENDERS = {
    "gpunet (NumPy)": ("#0072B2", "D"),
    "gpunet (jit)": ("#56B4E9", "D"),
    "gpunet (CUDA graph)": ("#0072B2", "D"),
    "torch.func.vmap": ("#E69F00", "s"),
    "torch.func.vmap, CUDA graph": ("#CC79A7", "s"),
    "JAX, vmap and scan": ("#009E73", "^"),
    "PyTorch, one after another": ("#D55E00", "o"),
}


def write_figure(results: dict[str, Any], path: Path) -> None:
    """Draw a results file into a PNG."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.085, 0.19, 0.985 - LABELS - 0.085, 0.69))
        _draw(axes, results["rows"])
        sizes = "-".join(map(str, results["sizes"]))
        title = f"Populations of {sizes}, batch {results['batch_size']}: networks trained a second"
        figure.text(0.015, 0.975, title, va="top", fontsize=11, fontweight="bold")
        figure.text(0.015, 0.02, _footer(results), va="bottom", fontsize=7.5, color=MUTED, linespacing=1.4)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def _draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
    ends = {}
    for name, (colour, marker) in CONTENDERS.items():
        found = [(row["networks"], row["rate"][name]) for row in rows if name in row["rate"]]
        if not found:
            continue
        networks, medians = [p for p, _ in found], [rate["median"] for _, rate in found]
        axes.vlines(networks, *([rate[p] for _, rate in found] for p in ("p20", "p80")), color=colour, linewidth=1)
        axes.plot(networks, medians, marker=marker, color=colour, markersize=4.5, linewidth=1.4, zorder=3)
        ends[name] = (medians[-1], colour)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _scale(axes, rows)
    axes.set_xlabel("P, networks in the population")
    axes.set_ylabel("networks a second")
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for name, place in _spread({name: _height(axes, end) for name, (end, _) in ends.items()}).items():
        axes.text(1.02, place, name, transform=axes.transAxes, va="center", color=ends[name][1], fontsize=8.5)


def _scale(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Ticks in plain numbers: at the sizes that were measured, and at 1, 2, 5 times the powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    sizes = [row["networks"] for row in rows]
    places = [p for p in sizes if p & (p - 1) == 0] or sizes  # 20 stands too close to 16
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    rates = [rate[p] for row in rows for rate in row["rate"].values() for p in ("p20", "p80")]
    axes.set_ylim(min(rates) / 1.4, max(rates) * 1.4)
    axes.set_xlim(min(sizes) / 1.1, max(sizes) * 1.1)


def _height(axes: Axes, value: float) -> float:
    """Where a value is, as a share of the axes' height."""
    return axes.transAxes.inverted().transform(axes.transData.transform((1, value)))[1]


def _spread(heights: dict[str, float]) -> dict[str, float]:
    """The same heights, moved apart until none is closer to the next than `APART`, and none below the axes."""
    places: dict[str, float] = {}
    lowest = 0.0
    for name in sorted(heights, key=heights.get):
        places[name] = max(heights[name], lowest)
        lowest = places[name] + APART
    return places


def _footer(results: dict[str, Any]) -> str:
    machine, device = results["machine"], results["device"]
    cpu = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''} of {machine['processor']}"
    where = f"{cpu}, not measured on a GPU"
    if device:
        where = f"{device['device']} (CUDA {device['CUDA of CuPy']})"
    versions = [f"{name} {machine[name]}" for name in ("numpy", "torch", "jax") if machine[name] != "not installed"]
    timed, rounds = results["epochs_timed"], results["rounds"]
    epochs = f"{timed} epoch{'s' if timed > 1 else ''}"
    return (
        f"Whole runs of ten epochs, by {epochs} timed; medians of up to {rounds} rounds, "
        f"20th to 80th percentile.\n{where}; {', '.join(versions)}; {machine['date']}"
    )
