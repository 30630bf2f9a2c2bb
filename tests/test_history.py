"""What a run tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpunet.history import Curve, EpochReport, History, held, missing_history, side_by_side


def history_of(networks, epochs=2, offset=0.0):
    """Figures that tell networks, epochs and curves apart."""

    def curve(base):
        figures = np.arange(networks)[:, None] + 10.0 * np.arange(epochs) + base + offset
        return Curve(figures, figures + 0.5)

    steps = np.full((networks, epochs, 3), offset)
    return History(curve(100), None, curve(200), steps, steps + 1, epochs, 1.0, False)


def test_report_gives_the_figures_of_an_epoch():
    assert history_of(1).report(1) == EpochReport(2, 2, 110.0, 110.5, None, None, 210.0, 210.5)
    rates = np.array([[0.5, 0.25]])
    report = replace(history_of(1), learning_rate=rates).report(1)
    assert report.learning_rate == 0.25 and report.has_stopped is False
    assert all(type(value) is float for value in report[2:-1] if value is not None)


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


def stopped_history(networks, epochs, offset=0.0):
    """As early stopping leaves it: all of its networks have stopped, the last of them at the end."""
    stopped = np.arange(epochs - networks + 1, epochs + 1)
    history = history_of(networks, epochs, offset)
    return replace(history, learning_rate=history.train.loss / 100, stopped_after=stopped, weights_of=stopped - 1)


def test_side_by_side_draws_out_what_has_stopped_before():
    whole = side_by_side([stopped_history(2, 3), stopped_history(1, 5, offset=0.25)])
    assert whole.epochs == 5 and whole.step_loss.shape == (3, 5, 3)
    assert whole.train.loss[1].tolist() == [101, 111, 121, 121, 121]
    assert whole.validation.accuracy[2].tolist() == [200.75, 210.75, 220.75, 230.75, 240.75]
    np.testing.assert_allclose(whole.learning_rate[1], [1.01, 1.11, 1.21, 0, 0])
    assert whole.stopped_after.tolist() == [2, 3, 5] and whole.weights_of.tolist() == [1, 2, 4]
    assert [whole.report(epoch).has_stopped for epoch in range(5)] == [False] * 4 + [True]
    missing = side_by_side([stopped_history(2, 3), missing_history(stopped_history(2, 3), 1)])
    assert missing.stopped_after.tolist() == [2, 3, 0] and np.isnan(missing.learning_rate[2]).all()


def test_final_figures_are_those_of_the_weights():
    history = stopped_history(2, 4)
    assert history.final(history.train.loss).tolist() == [110, 121]
    assert history_of(2).final(history_of(2).train.loss).tolist() == [110, 111]


def test_held_figures_go_on_after_a_network_has_stopped():
    figures = np.arange(12).reshape(3, 4)
    assert held(figures, np.array([2, 0, 4])).tolist() == [[0, 1, 1, 1], [4, 5, 6, 7], [8, 9, 10, 11]]
    steps = np.arange(12).reshape(2, 3, 2)
    assert held(steps, np.array([1, 0])).tolist() == [[[0, 1]] * 3, [[6, 7], [8, 9], [10, 11]]]


def test_missing_history_is_nan_in_the_shape_of_another():
    missing = missing_history(history_of(1), 3)
    assert missing.train_after is None
    for figures in (missing.train.loss, missing.validation.accuracy, missing.step_loss, missing.step_accuracy):
        assert len(figures) == 3 and np.isnan(figures).all()
    assert side_by_side([history_of(1), missing]).train.loss.shape == (4, 2)
