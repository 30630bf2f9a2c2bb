"""A run with many seeds: its networks are the single runs of their seeds; the test set does not choose among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet.augmentation import Augmentation
from gpunet.history import Curve, History
from gpunet.ops import NumpyOps
from gpunet.runs import RunConfig, run
from gpunet.seed_runs import choose_kept, run_seeds

BOTH = {"epochs": 2, "batch_size": 9, "hidden": (6,), "dropout": 0.3, "weight_decay": 0.01, "seed": 5}
CONFIGS = {
    "multiclass": ("multiclass", "exp2", BOTH),
    "multiclass, limited": ("multiclass", "exp2", BOTH | {"limit": 83}),
    "augmented, limited": ("multiclass", "exp2", BOTH | {"limit": 83, "augmentation": Augmentation(20, 2, 0.1)}),
    "binary": ("binary", "base", BOTH),
    "binary, limited": ("binary", "base", BOTH | {"limit": 31}),
    "one image a step": ("binary", "numpy", {"epochs": 2, "seed": 5}),
    "one image a step, two outputs": ("binary", "softmax", {"epochs": 2, "seed": 5}),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    images, labels = images_and_labels(200, classes=10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return str(path)


@pytest.mark.parametrize("cache_bytes", [None, 1], ids=["together", "one by one"])
@pytest.mark.parametrize("name", CONFIGS)
def test_each_network_is_the_single_run_of_its_seed(name, cache_bytes, digits, monkeypatch):
    """Weights, every figure of every epoch, and the figures of its own test set; images of its own where limited."""
    monkeypatch.setattr(NumpyOps, "cache_bytes", cache_bytes)
    task, exp, changes = CONFIGS[name]
    config = RunConfig.from_experiment(task, exp, data=digits, **changes)
    result = run_seeds(config, 3)
    assert result.seeds == (5, 6, 7) and len(result.population.chunks) == (3 if cache_bytes else 1)
    for index, seed in enumerate(result.seeds):
        alone = run(replace(config, seed=seed))
        assert_same_bits(result.population.parameters[index], alone.network.parameters[0])
        assert_same_bits(result.history.step_loss[index], alone.history.step_loss[0])
        for curve in ("train", "train_after", "validation"):
            ours, single = (getattr(each.history, curve) for each in (result, alone))
            if single is None:
                assert ours is None and task == "binary"
            else:
                assert_same_bits(ours.loss[index], single.loss[0])
                assert_same_bits(ours.accuracy[index], single.accuracy[0])
        assert (result.test.loss[index], result.test.accuracy[index]) == (alone.test.loss, alone.test.accuracy)
        assert_same_bits(result.test.confusion_matrix[index], alone.test.confusion_matrix)
        tested = result.dataset.images[result.splits[index].test]
        assert_same_bits(tested, alone.dataset.images[alone.split.test])
    assert_same_bits(result.network.parameters[0], result.population.parameters[result.kept.index])


def test_kept_is_asked_for_by_its_seed(digits):
    result = run_seeds(RunConfig.from_experiment("binary", "base", data=digits, epochs=1, seed=5), 3, keep=6)
    assert (result.kept.index, result.kept.why, result.kept_seed) == (1, "as asked for", 6)
    assert result.network.seeds == (6,)


# Which is kept


def history_of(validation_accuracy=None, validation_loss=None, training_loss=(0.0,) * 4, epochs=1):
    def curve(loss, accuracy):
        return Curve(*(np.tile(np.array(each, float)[:, None], (1, epochs)) for each in (loss, accuracy)))

    after = curve(training_loss, np.zeros(4))
    validation = None if validation_accuracy is None else curve(validation_loss or np.zeros(4), validation_accuracy)
    steps = np.zeros((4, epochs, 1))
    return History(after, after, validation, steps, steps, epochs, 1.0, False)


ALL = np.ones(4, bool)


@pytest.mark.parametrize(
    ("history", "sound", "asked", "index", "words"),
    [
        (history_of([0.5, 0.9, 0.7, 0.8]), ALL, None, 1, "validation accuracy"),
        (history_of([0.9, 0.5, 0.9, 0.9], [3, 1, 2, 2]), ALL, None, 2, "validation accuracy"),
        (history_of([0.5, 0.9, 0.7, 0.8]), np.array([True, False, True, True]), None, 3, "validation accuracy"),
        (history_of([0.5, np.nan, 0.7, 0.8]), np.array([True, False, True, True]), None, 3, "validation accuracy"),
        (history_of(training_loss=(3, 2, 1, 4)), ALL, None, 2, "training loss"),
        (history_of(training_loss=(np.nan, 2, 3, 4)), ALL, None, 1, "training loss"),
        (history_of([0.5, 0.9, 0.7, 0.8]), ALL, 2, 2, "asked for"),
        (history_of([0.5, 0.9, 0.7, 0.8]), np.array([True, True, False, True]), 2, 1, "that asked for having diverged"),
        (history_of([0.5, 0.9, 0.7, 0.8], epochs=0), np.array([False, True, True, False]), None, 1, "the first"),
    ],
)
def test_kept_is_the_best_that_is_no_test_figure(history, sound, asked, index, words):
    kept = choose_kept(history, sound, asked)
    assert kept.index == index and words in kept.why


# How it ends, and what it refuses


def test_diverged_seeds_are_named_and_left_out(digits, monkeypatch):
    from gpunet import network

    initial = network.initial_parameters

    def damaged(layout, init, seeds):
        flat = initial(layout, init, seeds)
        flat[np.array(seeds) == 6] = np.inf
        return flat

    monkeypatch.setattr(network, "initial_parameters", damaged)
    result = run_seeds(RunConfig.from_experiment(data=digits, epochs=1, seed=5), 3, keep=6)
    assert result.diverged_seeds == (6,) and result.sound.tolist() == [True, False, True]
    assert result.kept_seed != 6 and "diverged" in result.kept.why


@pytest.mark.parametrize(
    ("seed", "count", "keep", "words"),
    [
        (0, 0, None, ["seeds", "0"]),
        (0, -3, None, ["seeds", "-3"]),
        (2**32 - 2, 3, None, ["4294967295", "3"]),
        (5, 3, 4, ["keep", "5 to 7", "4"]),
        (5, 3, 8, ["keep", "8"]),
    ],
)
def test_seeds_are_refused_before_any_data_is_touched(seed, count, keep, words):
    with refused(*words):
        run_seeds(RunConfig.from_experiment(data="nowhere.npz", seed=seed), count, keep=keep)
