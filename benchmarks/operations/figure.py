"""The figure of a results file of bench_kernels.py: one line a case, time on a logarithmic axis."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
WIDTH, LINE, HEADER, FOOTER = 8.0, 0.19, 0.68, 0.78  # inches
SHORTEST = 0.1  # microseconds: floors below it are left out
MARGIN, LABELS = 0.015, 0.38  # shares of the width

# Okabe and Ito's colours, told apart with every kind of colour vision.
CONTENDERS = {
    "NumPy": ("NumPy on the CPU", "#D55E00", "o"),
    "CuPy": ("CuPy: cuBLAS and array expressions", "#009E73", "s"),
    "cuBLAS": ("cuBLAS: the product alone", "#009E73", "|"),
    "kernel": ("gpunet's kernel", "#0072B2", "D"),
    "kernel, again": ("gpunet's kernel, data in the L2 cache", "#56B4E9", "D"),
}
INK, MUTED, GRID = "#222222", "#5F6368", "#E3E5E8"
STYLE = {"font.size": 8.5, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": MUTED}


def write_figure(results: dict[str, Any], path: Path) -> None:
    """Draw a results file into a PNG."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        places, headings = _places(results["rows"])
        height = HEADER + FOOTER + LINE * (max(places) + 2)
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((LABELS, FOOTER / height, 0.975 - LABELS, 1 - (HEADER + FOOTER) / height))
        _draw(axes, results["rows"], places)
        for kernel, at in headings:
            left = (MARGIN - LABELS) / (0.975 - LABELS)  # in widths of the axes
            axes.text(left, at, kernel, transform=axes.get_yaxis_transform(), va="center", fontweight="bold")
        figure.text(
            MARGIN, 1 - 0.1 / height, "Single operations: time a call", va="top", fontsize=11, fontweight="bold"
        )
        figure.text(MARGIN, 0.09 / height, _footer(results), va="bottom", fontsize=7.5, color=MUTED, linespacing=1.4)
        handles, labels = axes.get_legend_handles_labels()
        legend = {"loc": "upper left", "bbox_to_anchor": (0.0, 1 - 0.27 / height), "borderaxespad": 0.2}
        figure.legend(handles, labels, ncols=3, frameon=False, fontsize=8, **legend)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def _places(rows: list[dict[str, Any]]) -> tuple[list[float], list[tuple[str, float]]]:
    """Where each case is drawn, from the top down, and each kernel's name above its cases."""
    places, headings, at = [], [], 0.0
    for index, row in enumerate(rows):
        if not index or row["kernel"] != rows[index - 1]["kernel"]:
            at += 0.4 if index else 0
            headings.append((row["kernel"], at))
            at += 1
        places.append(at)
        at += 1
    return places, headings


def _draw(axes: Axes, rows: list[dict[str, Any]], places: list[float]) -> None:
    for name, (label, colour, marker) in CONTENDERS.items():
        found = [(row["us"][name], at) for row, at in zip(rows, places, strict=True) if name in row["us"]]
        if not found:
            continue
        medians, ats = [times["median"] for times, _ in found], [at for _, at in found]
        axes.hlines(ats, *([times[p] for times, _ in found] for p in ("p20", "p80")), color=colour, linewidth=1)
        hollow = {"markerfacecolor": "white"} if name == "kernel, again" else {}
        size = 9 if marker == "|" else 4.5
        axes.plot(medians, ats, marker, color=colour, markersize=size, label=label, clip_on=False, zorder=3, **hollow)
    floors = [(row["floor_us"], at) for row, at in zip(rows, places, strict=True) if row["floor_us"] is not None]
    if floors:
        axes.plot(*zip(*floors, strict=True), "_", color=INK, markersize=6, label="the device's floor")
    axes.set_xscale("log")
    axes.set_xlim(left=max(axes.get_xlim()[0], SHORTEST))
    axes.set_xlabel("microseconds a call, median; the line goes from the 20th to the 80th percentile")
    axes.set_ylim(max(places) + 0.8, -0.8)
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _label(row: dict[str, Any]) -> str:
    return f"{row['shape']}, {row['detail']}" if row["detail"] else row["shape"]


def _footer(results: dict[str, Any]) -> str:
    machine, device = results["machine"], results["device"]
    cpu = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''} of {machine['processor']}"
    where = "Not measured on a GPU"
    if device:
        where = f"{device['device']} (CUDA {device['CUDA of CuPy']}, CuPy {device['cupy']})"
    return f"{where}; NumPy {machine['numpy']} on {cpu}; {machine['date']}"
