"""What a run tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpunet.history import Curve, EpochReport, History, missing_history, side_by_side


def history_of(networks, epochs=2, offset=0.0):
    """Figures that tell networks, epochs and curves apart."""

    def curve(base):
        figures = np.arange(networks)[:, None] + 10.0 * np.arange(epochs) + base + offset
        return Curve(figures, figures + 0.5)

    steps = np.full((networks, epochs, 3), offset)
    return History(curve(100), None, curve(200), steps, steps + 1, epochs, 1.0, False)


def test_report_gives_the_figures_of_an_epoch():
    assert history_of(1).report(1) == EpochReport(2, 2, 110.0, 110.5, None, None, 210.0, 210.5)
    assert all(type(value) is float for value in history_of(1).report(0)[2:] if value is not None)


def test_report_of_a_population_gives_means_of_those_still_training():
    history = history_of(4)
    assert history.report(0) == EpochReport(1, 2, 101.5, 102.0, None, None, 201.5, 202.0)
    history.train.loss[2, 1] = history.validation.loss[2, 1] = np.nan
    report = history.report(1)
    assert report.train_loss == np.mean([110, 111, 113]) and report.validation_loss == np.mean([210, 211, 213])
    history.train.loss[:, 1] = np.inf
    assert history.report(1).train_loss == np.inf


def test_side_by_side_holds_all_networks_in_order():
    first, second = history_of(2), history_of(1, offset=0.25)
    whole = side_by_side([first, replace(second, interrupted=True)])
    assert whole.train.loss.tolist() == [[100, 110], [101, 111], [100.25, 110.25]]
    assert whole.validation.accuracy[:, 0].tolist() == [200.5, 201.5, 200.75]
    assert whole.train_after is None
    assert whole.step_loss.shape == (3, 2, 3) and whole.step_loss[2].min() == 0.25
    assert (whole.epochs, whole.seconds, whole.interrupted) == (2, 2.0, True)


def test_missing_history_is_nan_in_the_shape_of_another():
    missing = missing_history(history_of(1), 3)
    assert missing.train_after is None
    for figures in (missing.train.loss, missing.validation.accuracy, missing.step_loss, missing.step_accuracy):
        assert len(figures) == 3 and np.isnan(figures).all()
    assert side_by_side([history_of(1), missing]).train.loss.shape == (4, 2)
