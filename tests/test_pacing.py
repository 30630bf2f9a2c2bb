"""Plateaus and early stopping: the rules, beside PyTorch's, and that each network of a population goes its own way."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, SGD, Adam, EarlyStopping, Plateau, Population, train
from gpunet.pacing import Pace
from gpunet.resume import Checkpoints

IMAGES, LABELS = images_and_labels(40, 3, 8)
LABELS = np.where(np.arange(40) % 4 == 1, (LABELS + 1) % 3, LABELS)  # a quarter wrong, so that networks overfit
TRAIN, VALIDATION = np.arange(24), np.arange(24, 40)
OPTIONS = {"optimizer": Adam(0.05), "epochs": 40, "batch_size": 8}
STOPPING = EarlyStopping(patience=2)
SEEDS = (0, 1, 2, 3, 4)


def trained(seed, ops=None, early_stopping=STOPPING, **options):
    network = MLP((8, 12, 3), seed=seed, ops=ops)
    rows = TRAIN, VALIDATION
    return network, train(network, IMAGES, LABELS, *rows, early_stopping=early_stopping, **OPTIONS | options)


# The rules


def test_plateau_is_pytorchs():
    torch = pytest.importorskip("torch")
    losses = np.abs(np.random.default_rng(3).standard_normal((60, 3))).round(1)
    losses[5, 1] = np.nan
    plateau = Plateau(patience=2, factor=0.5, threshold=0.1, cooldown=3, min_factor=0.2)
    pace, scales = Pace(3, plateau), []
    for epoch in losses:
        pace.epoch_ended(epoch)
        scales.append(pace.lr_scale)
    for network in range(3):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        options = {"patience": 2, "factor": 0.5, "threshold": 0.1, "cooldown": 3, "min_lr": 0.2}
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        for epoch in range(60):
            scheduler.step(losses[epoch, network])
            assert scales[epoch][network] == optimizer.param_groups[0]["lr"]
    assert len(set(np.ravel(scales))) == 4  # 1, a half, a quarter, a fifth


def test_early_stopping_by_hand():
    losses = [3.0, 2.0, 1.9, np.nan, 2.5, 1.0]
    pace = Pace(1, early_stopping=EarlyStopping(patience=3, min_delta=0.5))
    improved = [bool(pace.epoch_ended(np.array([loss]))[0]) for loss in losses]
    # 1.9 is less than 2.0, but not by more than half: three epochs after the second it is over.
    assert improved == [True, True, False, False, False, False]
    assert pace.stopped_after.tolist() == [5] and pace.best_epoch.tolist() == [2]
    assert [scale[0] for scale in pace.scales] == [1, 1, 1, 1, 1, 0]


# Runs


def test_run_ends_and_goes_back_to_its_best_weights(ops):
    network, history = trained(0, ops)
    best, stopped = int(history.weights_of[0]), int(history.stopped_after[0])
    assert stopped == best + 2 == history.epochs < 40
    assert history.validation.loss[0].argmin() == best - 1
    as_long, _ = trained(0, ops, early_stopping=None, epochs=best)
    assert_same_bits(ops.to_host(network.parameters), ops.to_host(as_long.parameters))
    assert history.final(history.validation.loss)[0] == history.validation.loss[0].min()


def test_run_keeps_its_last_weights_if_asked_to():
    network, history = trained(0, early_stopping=EarlyStopping(2, restore_best=False))
    as_long, _ = trained(0, early_stopping=None, epochs=history.epochs)
    assert_same_bits(network.parameters, as_long.parameters)
    assert history.weights_of.tolist() == history.stopped_after.tolist() == [history.epochs]


def test_run_that_never_stops_has_its_best_weights_too():
    network, history = trained(0, early_stopping=EarlyStopping(100))
    assert history.stopped_after.tolist() == [0] and history.epochs == 40
    as_long, _ = trained(0, early_stopping=None, epochs=int(history.weights_of[0]))
    assert history.weights_of[0] < 40
    assert_same_bits(network.parameters, as_long.parameters)


@pytest.mark.parametrize("restore_best", [True, False])
def test_networks_side_by_side_stop_as_alone(ops, restore_best):
    stopping = EarlyStopping(2, restore_best=restore_best)
    together, history = trained(SEEDS, ops, stopping, schedule=Plateau(0, 0.5))
    parameters = ops.to_host(together.parameters)
    assert len(set(history.stopped_after.tolist())) > 1  # each at its own time
    for place, seed in enumerate(SEEDS):
        alone, own = trained(seed, ops, stopping, schedule=Plateau(0, 0.5))
        assert_same_bits(ops.to_host(alone.parameters)[0], parameters[place])
        assert history.stopped_after[place] == own.epochs == own.stopped_after[0]
        assert history.weights_of[place] == own.weights_of[0]
        np.testing.assert_array_equal(history.train.loss[place, : own.epochs], own.train.loss[0])
        np.testing.assert_array_equal(history.learning_rate[place, : own.epochs], own.learning_rate[0])
        assert not history.learning_rate[place, own.epochs :].any()
        # The figures of its last epoch go on.
        for curve in (history.train, history.validation):
            assert set(curve.loss[place, own.epochs :]) <= {curve.loss[place, own.epochs - 1]}


def test_population_in_chunks_is_the_population_in_one():
    histories, populations = [], []
    for at_a_time in (2, 5):
        population = Population((8, 12, 3), seeds=SEEDS, at_a_time=at_a_time)
        rows = TRAIN, VALIDATION
        histories.append(population.train(IMAGES, LABELS, *rows, early_stopping=STOPPING, **OPTIONS))
        populations.append(population)
    first, second = histories
    assert len(populations[0].chunks) == 3 and first.epochs == second.epochs
    assert_same_bits(populations[0].parameters, populations[1].parameters)
    for name in ("step_loss", "learning_rate", "stopped_after", "weights_of"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.validation.loss, second.validation.loss)


def test_reports_of_epochs_are_those_of_the_history():
    reports = []
    _, history = trained(SEEDS, on_epoch=lambda report: reports.append(report))
    assert [report.has_stopped for report in reports] == [False] * (len(reports) - 1) + [True]
    for epoch, report in enumerate(reports):
        expected = history.report(epoch)
        assert report._replace(epochs=expected.epochs) == expected


def test_run_that_is_interrupted_goes_back_to_its_best_weights_too():
    def interrupt(report):
        if report.epoch == at:
            raise KeyboardInterrupt

    at = int(trained(0)[1].stopped_after[0]) - 1
    network, history = trained(0, on_epoch=interrupt)
    as_long, _ = trained(0, early_stopping=None, epochs=at - 1)
    assert history.interrupted and history.epochs == at
    assert (history.stopped_after.tolist(), history.weights_of.tolist()) == ([0], [at - 1])
    assert_same_bits(network.parameters, as_long.parameters)


def test_plateau_slows_training_down():
    _, history = trained(0, early_stopping=None, schedule=Plateau(patience=1, factor=0.5))
    rates = history.learning_rate[0]
    assert rates[0] == 0.05 and rates[-1] < 0.02 and (np.diff(rates) <= 0).all()
    assert history.stopped_after is None and history.weights_of is None


def test_run_row_by_row_stops():
    """Where one operation makes all steps of an epoch, a network at a halt stays as it is."""
    options = {"optimizer": SGD(0.5), "batch_size": 1, "epochs": 30}
    histories, weights = [], []
    for seeds in ((0, 1, 2), 0, 1, 2):
        network = MLP((8, 5, 1), "sigmoid", seed=seeds)
        rows = TRAIN, VALIDATION
        histories.append(train(network, IMAGES, LABELS % 2, *rows, early_stopping=EarlyStopping(1), **options))
        weights.append(network.parameters)
    assert len(set(histories[0].stopped_after.tolist())) > 1
    assert_same_bits(weights[0], np.concatenate(weights[1:]))


def test_run_on_the_kernels_stops():
    cuda_ops = pytest.importorskip("gpunet.ops.cuda_ops")
    network, seen = MLP((8, 3), seed=(1, 2), ops=cuda_ops.CudaOps()), []

    def look(report):
        seen.append(network.ops.to_host(network.parameters))

    # The first network's rate makes its loss worse, the second's better.
    options = {"optimizer": SGD((30.0, 0.1)), "epochs": 3, "batch_size": 2, "shuffle": "never", "on_epoch": look}
    stopping = EarlyStopping(1, restore_best=False)
    history = train(network, IMAGES, np.arange(40) % 3, [0, 1], [1], early_stopping=stopping, **options)
    assert history.stopped_after.tolist() == [2, 0]
    assert_same_bits(seen[2][0], seen[1][0])
    assert (seen[2][1] != seen[1][1]).any() and (seen[1][0] != seen[0][0]).any()


def test_run_that_is_taken_up_again_stops_where_it_would_have(tmp_path):
    class Killed(Exception):
        pass

    def die(report):
        if report.epoch == at:
            raise Killed

    options = {"schedule": Plateau(0, 0.5)}
    whole, expected = trained(SEEDS, **options)
    first, last = expected.stopped_after.min(), expected.stopped_after.max()
    for at in (2, int(first) + 1, int(last)):
        folder = tmp_path / str(at)
        with pytest.raises(Killed):
            trained(SEEDS, checkpoints=Checkpoints(folder, 1), on_epoch=die, **options)
        network, history = trained(SEEDS, checkpoints=Checkpoints(folder, 1), **options)
        assert_same_bits(network.parameters, whole.parameters)
        for name in ("step_loss", "learning_rate", "stopped_after", "weights_of"):
            np.testing.assert_array_equal(getattr(history, name), getattr(expected, name))


# What is refused


@pytest.mark.parametrize(
    ("stopping", "words"),
    [
        (EarlyStopping(patience=0), ("patience", 0)),
        (EarlyStopping(patience=1.5), ("patience", 1.5)),
        (EarlyStopping(min_delta=-1), ("min_delta", -1)),
        (EarlyStopping(min_delta=np.nan), ("min_delta", "nan")),
    ],
)
def test_early_stopping_out_of_range_is_refused(stopping, words):
    with refused(*words):
        trained(0, early_stopping=stopping)


def test_watching_without_validation_is_refused():
    for options in ({"early_stopping": STOPPING}, {"schedule": Plateau()}):
        with refused("validation_rows"):
            train(MLP((8, 3)), IMAGES, LABELS, **options)
