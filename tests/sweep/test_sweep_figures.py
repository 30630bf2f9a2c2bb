"""The figure of a sweep: which one, and that it shows what was found."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet.data.dataset import Dataset
from gpunet.reporting.figures import png
from gpunet.sweep.figures import sweep_figure
from gpunet.sweep.groups import FIGURES, Material
from gpunet.sweep.plan import make_plan
from gpunet.sweep.running import SweepResult
from gpunet.sweep.space import draw, read_space


def result_of(plan, accuracy, source="synthetic", finished=None) -> SweepResult:
    """A sweep that found these accuracies ``[cells]``, the seeds a hundredth apart; NaN: diverged."""
    images, labels = images_and_labels(10, classes=2)
    dataset = Dataset(images, labels, ("a", "b"), source, "made up")
    records = {}
    for cell, value in enumerate(accuracy[:finished]):
        lost = bool(np.isnan(value))
        values = [None if lost else float(value) + 0.01 * seed for seed in range(plan.seeds)]
        records[cell] = {"diverged": [lost] * plan.seeds, **dict.fromkeys(FIGURES, values)}
    rows = np.zeros((plan.seeds, 1), np.int32)
    return SweepResult(plan, Material(dataset, rows, rows), "NumPy", 1, records, None, finished is not None, 1.0)


def texts(figure) -> list[str]:
    from matplotlib.text import Text

    return [each.get_text() for each in figure.findobj(Text) if each.get_text()]


def test_two_fields_are_a_heat_map(plan_of):
    plan = plan_of("lr=0.01,0.1,1", "hidden=none,8")
    figure = sweep_figure(result_of(plan, np.array([0.5, 0.6, 0.7, np.nan, 0.9, 0.8])))
    axes = figure.axes[0]
    (image,) = axes.images
    found = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_allclose(found, [[0.505, 0.705, 0.905], [0.605, np.nan, 0.805]])
    assert [each.get_text() for each in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["none", "8"]
    assert {"90.5\n± 0.7", "-", "learning rate", "hidden layers"} <= set(texts(figure))
    (frame,) = axes.patches
    assert frame.get_xy() == (1.5, -0.5)
    assert any("DRAWN" in text for text in texts(figure))


def test_one_field_is_a_dot_for_each_network(plan_of):
    figure = sweep_figure(result_of(plan_of("hidden=8,none,16-8"), np.array([0.5, 0.4, 0.8]), "digits.npz"))
    axes = figure.axes[0]
    curves = [line.get_ydata().tolist() for line in axes.lines]
    np.testing.assert_allclose(curves[:3], [[0.4, 0.41], [0.5, 0.51], [0.8, 0.81]])
    np.testing.assert_allclose(curves[3], [0.405, 0.505, 0.805])
    assert [each.get_text() for each in axes.get_xticklabels()] == ["none", "8", "16-8"]
    assert "best: 16-8, 80.5%" in texts(figure)
    assert not any("DRAWN" in text for text in texts(figure))


def test_more_fields_are_parallel_coordinates(plan_of):
    plan = plan_of("lr=0.01,0.1", "hidden=4,8", "activation=relu,tanh")
    figure = sweep_figure(result_of(plan, np.linspace(0.2, 0.9, 8)))
    axes = figure.axes[0]
    lines = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 4]
    assert len(lines) == 8
    assert {"learning\nrate", "hidden\nlayers", "activation", "validation\naccuracy"} <= set(texts(figure))
    best = max(lines, key=lambda line: line[-1])
    assert best[-1] == 1 and best[:-1].min() > 0.9  # 0.1, 8, tanh: the upper end of every axis
    assert "best: 90.5%, learning_rate 0.1, hidden 8, activation tanh" in texts(figure)


def test_drawn_numbers_stand_by_their_size(plan_of):
    base = plan_of("lr=0.1").base
    plan = make_plan(base, 2, draw(read_space(["lr=1e-4..1", "dropout=0..0.5"]), 40, seed=0))
    rates = np.array([cell["learning_rate"] for cell in plan.cells])
    figure = sweep_figure(result_of(plan, np.linspace(0.2, 0.9, 40)))
    lines = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    assert len(lines) == 40  # the best one drawn last
    logarithms = np.log(rates)
    expected = (logarithms - logarithms.min()) / np.ptp(logarithms)
    np.testing.assert_allclose([line[0] for line in lines], expected)
    assert {"0.001", "0.1"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("definitions", "accuracy", "finished"),
    [
        (["lr=0.1"], [0.5], None),
        (["lr=0.1,0.2", "hidden=4,8"], [0.5, 0.6, 0.5, 0.5], 1),
        (["lr=0.1,0.2", "hidden=4,8"], [0.5] * 4, None),
        (["lr=0.1,0.2", "hidden=4,8", "batch=1,2"], [0.5] * 8, 3),
        (["lr=0.1,0.2"], [np.nan, np.nan], None),
        (["lr=" + ",".join(map(str, range(1, 30))), "hidden=4,8"], np.linspace(0, 1, 58), None),
    ],
)
def test_figures_of_few_and_many_are_drawn(plan_of, definitions, accuracy, finished):
    figure = sweep_figure(result_of(plan_of(*definitions), np.array(accuracy), finished=finished))
    assert png(figure).startswith(b"\x89PNG")
