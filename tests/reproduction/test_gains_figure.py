"""The figure beyond the reports shows the gains and their intervals, where there are seeds enough for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpunet.reproduction.beyond import IDEAS
from gpunet.reproduction.gains import gains
from gpunet.reproduction.gains_figure import gains_figure


@pytest.fixture
def spread_out(outcome):
    """The outcome with accuracies that differ; two seeds of best, no networks of longer."""
    rng = np.random.default_rng(0)
    results = {}
    for training, result in outcome.results.items():
        if training.name == "multiclass longer":
            continue
        population = result.population
        if training.name == "multiclass best":
            population = type(population).__new__(type(population))
            population.__dict__ |= result.population.__dict__ | {"diverged": np.array([False, True, False])}
        test = replace(result.test, accuracy=rng.uniform(0.5, 0.9, 3))
        results[training] = replace(result, test=test, population=population)
    return replace(outcome, results=results)


def test_gains_figure_shows_the_gains(spread_out):
    found = gains(spread_out)
    assert len(found) == len(IDEAS) - 1 and [gain.n for gain in found if gain.idea.experiment.name == "best"] == [2]
    (axes,) = gains_figure(spread_out).axes
    rows = dict(zip((label.get_text() for label in axes.get_yticklabels()), axes.get_yticks(), strict=True))
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
    lines = {line.get_ydata()[0]: line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2}
    for gain in found:
        at, own = rows[gain.idea.experiment.name], spread_out.results[gain.idea.training]
        difference = own.test.accuracy - spread_out.results[gain.idea.reference].test.accuracy
        assert dots[at] == pytest.approx(100 * difference[own.sound].mean())
        if gain.n == 3:
            assert lines[at] == pytest.approx([100 * gain.low, 100 * gain.high])
        else:
            assert at not in lines
    assert "longer" not in rows and {"multiclass, beside exp2", "binary, beside the NumPy report's model"} < rows.keys()
