"""The configuration of a run: what an experiment fills in, what may be overridden, and what is out of range."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet.augmentation import Augmentation
from gpunet.optimizers import SGD, Adam
from gpunet.pacing import EarlyStopping
from gpunet.runs import RunConfig, network_sizes, run, split_rows
from gpunet.schedules import Cosine, Plateau, Warmup

NEW = ("schedule", "early_stopping", "clip_norm")  # which older files lack


def test_config_takes_everything_from_its_experiment():
    config = RunConfig.from_experiment("multiclass", "exp2")
    assert (config.hidden, config.learning_rate, config.batch_size, config.epochs) == ((64,), 0.003, 128, 10)
    assert (config.optimizer, config.loss, config.dropout, config.weight_decay) == (
        "adam",
        "softmax_cross_entropy",
        0,
        0,
    )
    assert config.classes is None and config.limit is None and config.seed == 0
    assert config.experiment.name == "exp2"
    assert config.changed == ()


def test_config_of_a_binary_task_takes_the_reports_digits():
    assert RunConfig.from_experiment("binary", "numpy").classes == ("4", "9")


def test_config_overrides_fields_but_not_with_none():
    config = RunConfig.from_experiment("multiclass", "base", learning_rate=0.5, epochs=None, seed=3)
    assert (config.learning_rate, config.epochs, config.seed) == (0.5, 10, 3)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"limit": 100, "hidden": ()},
        {"augmentation": Augmentation(10, 2, 0.1, 3)},
        {"classes": ("1", "7")},
        {"schedule": (Warmup(2), Cosine(0.1)), "early_stopping": EarlyStopping(3), "clip_norm": 0.5},
    ],
    ids=str,
)
def test_config_comes_back_from_json(overrides):
    config = RunConfig.from_experiment("binary", "base", **overrides)
    written = json.loads(json.dumps(config.as_json() | {"changed": config.changed}))
    assert RunConfig.from_json(written) == config


def test_config_comes_back_from_files_that_know_no_schedules():
    config = RunConfig.from_experiment("binary", "base")
    older = {name: value for name, value in config.as_json().items() if name not in NEW}
    assert len(older) == len(config.as_json()) - len(NEW)
    assert RunConfig.from_json(older) == config


@pytest.mark.parametrize(
    ("overrides", "watches"),
    [
        ({}, False),
        ({"schedule": (Cosine(),)}, False),
        ({"schedule": (Warmup(), Plateau())}, True),
        ({"early_stopping": EarlyStopping()}, True),
    ],
    ids=str,
)
def test_split_has_validation_rows_where_training_depends_on_them(overrides, watches):
    config = RunConfig.from_experiment("binary", "base", **overrides)
    split = split_rows(config, np.arange(100) % 2, seed=0)
    assert config.watches_validation == watches and len(split.validation) == (16 if watches else 0)


def test_config_takes_an_augmentation_that_changes_nothing_for_none():
    assert RunConfig.from_experiment("multiclass", "augmented").augmentation is not None
    without = RunConfig.from_experiment("multiclass", "augmented", augmentation=Augmentation(0, 0, 0, 5))
    assert without.augmentation is None and without.changed == ("augmentation",)


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ({}, ()),
        ({"learning_rate": 0.001, "batch_size": 64, "hidden": (64,)}, ()),
        ({"seed": 5, "backend": "numpy", "data": "synthetic"}, ()),  # other runs of the same experiment
        ({"epochs": 3}, ("epochs",)),
        ({"hidden": ()}, ("hidden",)),
        ({"activation": "tanh", "dropout": 0.5, "weight_decay": 0.1}, ("activation", "dropout", "weight_decay")),
        ({"limit": 100}, ("limit",)),
        ({"optimizer": "sgd", "shuffle": "never", "init": "he"}, ("optimizer", "init", "shuffle")),
        ({"classes": ("4", "9")}, ()),
        ({"augmentation": Augmentation(0, 0, 0)}, ()),
        ({"augmentation": Augmentation(5, 0, 0)}, ("augmentation",)),
    ],
    ids=str,
)
def test_config_names_what_departs_from_the_experiment(overrides, changed):
    config = RunConfig.from_experiment("binary", "base", **overrides)
    assert set(config.changed) == set(changed) and len(config.changed) == len(changed)


def test_config_takes_what_lies_beyond_the_reports():
    config = RunConfig.from_experiment("multiclass", "best")
    assert config.dropout == config.experiment.dropout > 0 and config.changed == ()
    assert config.augmentation == config.experiment.augmentation is not None
    assert RunConfig.from_experiment("multiclass", "best", dropout=0.0).changed == ("dropout",)


def test_a_softmax_over_two_classes_has_two_outputs(tmp_path):
    images, labels = images_and_labels(60, classes=2)
    np.savez(tmp_path / "two.npz", dataset=images, labels=np.array(["4", "9"])[labels])
    result = run(RunConfig.from_experiment("binary", "softmax", data=str(tmp_path / "two.npz"), epochs=3))
    assert result.network.sizes == (784, 10, 2) and result.network.loss == "softmax_cross_entropy"
    assert result.test.confusion_matrix.shape == (2, 2) and result.test.accuracy > 0.8
    one = network_sizes(RunConfig.from_experiment("binary", "numpy"), result.dataset)
    assert one == (784, 10, 1)


@pytest.mark.parametrize(
    ("task", "exp", "optimizer"),
    [
        ("multiclass", "exp2", Adam(learning_rate=0.003, weight_decay=0.25)),
        ("binary", "numpy", SGD(learning_rate=0.1, weight_decay=0.25)),
    ],
)
def test_config_makes_its_optimizer(task, exp, optimizer):
    assert RunConfig.from_experiment(task, exp, weight_decay=0.25).make_optimizer() == optimizer


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"task": "ternary"}, ["task", "ternary", "multiclass"]),
        ({"exp": "exp3"}, ["experiment", "exp3", "exp1"]),
        ({"backend": "tpu"}, ["backend", "tpu", "numpy"]),
        ({"classes": ("1", "2")}, ["classes", "binary"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"epochs": -1}, ["epochs", "-1"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"limit": 0}, ["limit", "0"]),
        ({"learning_rate": 0}, ["learning_rate", "0"]),
        ({"learning_rate": -0.1}, ["learning_rate", "-0.1"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "nan"]),
        ({"learning_rate": float("inf")}, ["learning_rate", "inf"]),
        ({"weight_decay": -1e-3}, ["weight_decay", "-0.001"]),
        ({"weight_decay": float("nan")}, ["weight_decay", "nan"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 2**32}, ["seed", "4294967296"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"dropout": float("nan")}, ["dropout", "nan"]),
        ({"hidden": (64, 0)}, ["hidden", "64, 0"]),
        ({"hidden": (-3,)}, ["hidden", "-3"]),
        ({"activation": "gelu"}, ["activation", "gelu", "relu"]),
        ({"optimizer": "rmsprop"}, ["optimizer", "rmsprop", "adam"]),
        ({"init": "zeros"}, ["init", "zeros", "glorot"]),
        ({"loss": "hinge"}, ["loss", "hinge", "squared_error"]),
        ({"shuffle": "sometimes"}, ["shuffle", "sometimes", "once"]),
    ],
    ids=str,
)
def test_config_refuses(overrides, words):
    """Before any data is touched."""
    with refused(*words):
        RunConfig.from_experiment(**overrides)


def test_config_checks_on_demand():
    config = replace(RunConfig.from_experiment(), epochs=-1)
    with refused("epochs"):
        config.check()
