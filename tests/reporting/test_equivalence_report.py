"""The table and the figure of a comparison: whatever was found, they can be made, and say it."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpunet.reporting import figures
from gpunet.reporting.equivalence import comparison_lines
from gpunet.reporting.equivalence_figure import equivalence_figure

FOLDER = Path("runs/here")


def document(*, steps=5, error=0.25, stopped=None, repeat=None) -> dict:
    """As in equivalence.json; `error` is that of one operation and one step."""
    good = error is not None and error <= 1

    def operation(name, where, errors):
        worst = None if None in errors.values() else max(errors.values())
        row = {"operation": name, "where": where, "shapes": ["128 x 784 -> 64", "64 x 784 -> 64"], "calls": 1234}
        return row | {"errors": errors, "error": worst, "agrees": worst is not None and worst <= 1}

    step_errors = [{"row_loss": 0.001, "parameters": 0.1, "m": 0.2, "v": 0.05} for _ in range(steps)]
    if steps:
        step_errors[-1]["m"] = error
    drift = {"distance": 1e-7, "numpy_float32": 2e-7, "least": 1e-7, "ratio": 0.5, "error": 0.125, "agrees": True}
    if stopped:
        drift = {"distance": None, "numpy_float32": None, "least": 1e-7, "ratio": None, "error": None, "agrees": False}
    return {
        "backend": "cuda",
        "device": "NVIDIA H100 80GB HBM3 $1",
        "date": "2026-11-23",
        "experiment": {"task": "multiclass", "exp": "exp2", "sizes": [784, 64, 10], "batch_size": 128, "data": "a$b"},
        "agrees": good and not stopped,
        "stopped": stopped,
        "operations": [
            operation("shuffle", "epoch", {"out": 0.0}),
            operation("softmax_cross_entropy", "layer 3", {"row_loss": 0.1, "hits": 0.0, "dlogits": error}),
            operation("dense_update", "all layers", {"parameters": 0.2, "m": 0.01, "v": 1e-9}),
        ],
        "steps": [
            {"step": n, "loss": 0.5, "errors": each, "error": each["m"], "agrees": n < steps or good}
            for n, each in enumerate(step_errors, start=1)
        ],
        "free_running": {"allowed": 4, "losses": drift, "weights": drift},
        "repeat": repeat,
        "seconds": 61.2,
    }


DOCUMENTS = {
    "agrees": document(repeat={"same_bits": True, "agrees": True}),
    "one step": document(steps=1),
    "no step": document(steps=0),
    "many steps": document(steps=250),
    "disagrees": document(error=77.0, repeat={"same_bits": False, "agrees": False}),
    "disagrees infinitely": document(error=None, stopped="the loss was no finite number any more"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_equivalence_figure_is_a_png_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = figures.png(equivalence_figure(DOCUMENTS[name]))
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG" and image.width == round(figures.WIDTH * figures.DPI)
    ink = np.asarray(image.convert("L")) < 250
    assert ink.any()
    # Nothing is cut off: the outermost pixels are paper.
    assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def test_equivalence_figure_shows_every_error():
    axes = equivalence_figure(DOCUMENTS["disagrees"]).axes
    drawn = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes[0].lines if line.get_marker() == "o"}
    assert {(77.0, 1), (0.1, 1), (0.2, 2), (0.01, 2)} <= drawn
    curves = {line.get_label(): line.get_ydata() for line in axes[1].lines}
    assert list(curves["first moment"]) == [0.2, 0.2, 0.2, 0.2, 77.0]
    for panel, limits in zip(axes, (axes[0].get_xlim(), axes[1].get_ylim()), strict=True):
        assert limits[0] < 1 and limits[1] > 77, panel


@pytest.mark.parametrize("name", DOCUMENTS)
def test_comparison_lines_fit_and_say_the_verdict(name):
    results = DOCUMENTS[name]
    lines = [text for text, _ in comparison_lines(results, ["softmax_cross_entropy (layer 3)"], FOLDER)]
    assert all(len(line) <= 100 for line in lines)
    verdict = "AGREES: " if results["agrees"] else "DISAGREES: "
    assert sum(line.startswith(verdict) for line in lines) == 1
    wrong = [line for line in lines if line.endswith("<- DISAGREES")]
    rows = [*results["operations"], *results["steps"]]
    rows += [results["free_running"][part] for part in ("losses", "weights")]
    rows += [results["repeat"]] if results["repeat"] else []
    assert len(wrong) == sum(not row["agrees"] for row in rows)
    assert ("  softmax_cross_entropy (layer 3)" in lines) is not results["agrees"]
    json.dumps(results, allow_nan=False)


def test_comparison_lines_list_the_worst_of_many_steps():
    lines = [text.split() for text, _ in comparison_lines(DOCUMENTS["many steps"], [], FOLDER)]
    listed = [line[0] for line in lines if len(line) == 4 and line[0].isdigit()]
    assert listed[:4] == ["1", "2", "3", "4"] and "250" in listed and len(listed) <= 8
