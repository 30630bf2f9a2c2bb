"""The figure of roofline.py's results file: operations a second over operations a byte, a panel for each device."""

from __future__ import annotations

import io
from math import atan2, degrees, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.figure import DPI, GRID, INK, MUTED, STYLE

from gpunet.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, HEIGHT = 4.8, 5.3  # inches
INTENSITY = (1.5, 150.0)  # operations a byte
LOWEST, HIGHEST = 1 / 400, 2.0  # shares of the float32 peak
APART = 1.22  # times: rates of which each has its own label
KERNELS = {"dense_forward": ("#009E73", "s"), "dense_head": ("#E69F00", "^"), "dense_update": ("#CC79A7", "v")}
STEP, MEASURED = "#0072B2", "#D55E00"


def write_figure(results: dict[str, Any], path: Path) -> None:
    """Draw a results file into a PNG."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    devices = results["devices"]
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(PANEL * len(devices), HEIGHT), facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(devices), squeeze=False)[0]
        figure.subplots_adjust(left=0.66 / PANEL / len(devices), right=0.985, top=0.79, bottom=0.185, wspace=0.2)
        for axes, device in zip(panels, devices, strict=True):
            _draw(axes, device, {kernel["name"]: kernel for kernel in results["kernels"]})
        panels[0].set_ylabel("operations a second")
        sizes = "-".join(map(str, results["sizes"]))
        title = f"A training step of {sizes}, batch {results['batch_size']}: what a device cannot beat (modelled)"
        figure.text(0.01, 0.98, title, va="top", fontsize=11, fontweight="bold")
        figure.text(0.01, 0.015, _footer(results), va="bottom", fontsize=7.5, color=MUTED, linespacing=1.4)
        handles = {}
        for axes in panels:  # crosses may be in one of them only
            handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        place = {"loc": "upper left", "bbox_to_anchor": (0.0, 0.945), "borderaxespad": 0.2}
        figure.legend(handles.values(), handles, ncols=4, frameon=False, fontsize=8, handletextpad=0.3, **place)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def _draw(axes: Axes, device: dict[str, Any], kernels: dict[str, dict[str, Any]]) -> None:
    limits, rows = device["limits"], device["rows"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(INTENSITY)
    axes.set_ylim(limits["flops"] * LOWEST, limits["flops"] * HIGHEST)
    _draw_roof(axes, limits)
    for name, (colour, marker) in KERNELS.items():
        for row, face in ((rows[0], "white"), (rows[-1], colour)):
            rate = row["networks"] * kernels[name]["flops"] / row["modelled_kernels_us"][name] * 1e6
            look = {
                "color": colour,
                "markerfacecolor": face,
                "markersize": 6,
                "label": f"{name}, P = {row['networks']}",
            }
            axes.plot(kernels[name]["intensity"], rate, marker, **look)
    found = [row for row in rows if row["measured_us"] is not None]
    _draw_steps(axes, kernels["step"]["intensity"], rows, found)
    axes.set_title(device["name"] + ("" if found else ": nothing measured"), fontsize=9.5, loc="left", pad=5)
    axes.set_xlabel("operations a byte (everything read once, written once)")
    _ticks(axes)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_roof(axes: Axes, limits: dict[str, float]) -> None:
    peak, (left, right) = limits["flops"], INTENSITY
    for bandwidth, line, words in ((limits["bandwidth"], "-", "memory"), (limits["l2_bandwidth"], "--", "L2 cache")):
        axes.plot([left, peak / bandwidth], [left * bandwidth, peak], line, color=INK, linewidth=1.2)
        at = {"x": left * 1.12, "y": left * 1.12 * bandwidth * 1.15, "s": f"{words}, {bandwidth / 1e12:.3g} TB/s"}
        axes.text(**at, rotation=_angle(axes), rotation_mode="anchor", fontsize=7.5, color=INK, va="bottom")
    axes.plot([peak / limits["l2_bandwidth"], right], [peak, peak], "-", color=INK, linewidth=1.2)
    words = f"float32, {peak / 1e12:.3g} TFLOP/s"
    axes.text(right, peak * 1.1, words, ha="right", va="bottom", fontsize=7.5, color=INK)


def _draw_steps(axes: Axes, intensity: float, rows: list[dict[str, Any]], measured: list[dict[str, Any]]) -> None:
    """Whole steps, of which all have the same intensity: one above the other."""
    modelled = {row["networks"]: row["flops"] / row["modelled_us"]["together"] * 1e6 for row in rows}
    look = {"color": STEP, "markersize": 4.5, "linewidth": 1, "zorder": 3, "label": "whole step, modelled"}
    axes.plot([intensity] * len(modelled), list(modelled.values()), "-o", **look)
    _write_labels(axes, intensity, modelled, STEP)
    if measured:
        rates = {row["networks"]: row["flops"] / row["measured_us"] * 1e6 for row in measured}
        look = {"color": MEASURED, "markersize": 6, "zorder": 3, "label": "whole step, measured"}
        axes.plot([intensity] * len(rates), list(rates.values()), "x", **look)
        _write_labels(axes, intensity, rates, MEASURED)


def _write_labels(axes: Axes, intensity: float, rates: dict[int, float], colour: str) -> None:
    for rate, words in _labels(rates):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85}
        place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(words, (intensity, rate), fontsize=7.5, color=colour, bbox=box, **place)


def _labels(rates: dict[int, float]) -> list[tuple[float, str]]:
    """Where to write which numbers of networks: one label for rates that are too close to each other for two."""
    groups: list[list[int]] = []
    order = list(rates)
    for networks in sorted(rates, key=rates.get):
        if groups and rates[networks] < APART * rates[groups[-1][0]]:
            groups[-1].append(networks)
        else:
            groups.append([networks])
    labels = []
    for group in groups:
        first, last = min(group), max(group)
        in_a_row = len(group) > 2 and len(group) == order.index(last) - order.index(first) + 1
        words = f"{first}\N{EN DASH}{last}" if in_a_row else ", ".join(map(str, sorted(group)))
        labels.append(((rates[group[0]] * rates[group[-1]]) ** 0.5, f"P = {words}"))
    return labels


def _ticks(axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator

    axes.xaxis.set_major_locator(FixedLocator((2, 5, 10, 20, 50, 100)))
    axes.xaxis.set_minor_locator(FixedLocator(()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1e12:g} T")


def _angle(axes: Axes) -> float:
    """In degrees, of a line of slope one on the axes' logarithmic scales."""
    box = axes.get_window_extent()
    return degrees(atan2(box.height / log(HIGHEST / LOWEST), box.width / log(INTENSITY[1] / INTENSITY[0])))


def _footer(results: dict[str, Any]) -> str:
    return (
        "Every point but crosses is modelled: of each kernel the longest of operations, memory and L2 traffic, and a "
        "graph's node.\nWhere all fits the L2 cache, the memory's roof does not bind. Peaks from data sheets, the L2 "
        f"cache's bandwidth as others measured it. gpunet {results['gpunet']}, {results['date']}."
    )
