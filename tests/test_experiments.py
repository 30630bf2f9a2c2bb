"""The registry against the reports, typed in here from their text once more, and what lies beyond them."""

from __future__ import annotations

import pytest
from sentences import refused

from gpunet.experiments import BEYOND, EXPERIMENTS, REPORTED, find_experiment, output_count, reported_figures
from gpunet.network import MLP
from gpunet.optimizers import OPTIMIZERS

# The PyTorch report's tables 1 and 5: hidden sizes, learning rate, batch size, epochs.
TRAINED = {
    ("multiclass", "base"): ((), 0.001, 64, 10, "softmax_cross_entropy", "adam"),
    ("multiclass", "exp1"): ((64,), 0.001, 64, 10, "softmax_cross_entropy", "adam"),
    ("multiclass", "exp2"): ((64,), 0.003, 128, 10, "softmax_cross_entropy", "adam"),
    ("binary", "base"): ((64,), 0.001, 64, 10, "binary_cross_entropy", "adam"),
    ("binary", "numpy"): ((10,), 0.1, 1, 10, "binary_cross_entropy", "sgd"),  # the NumPy report's sections 2 and 3
}

# Table 5, and the tests' accuracies.
FIGURES = {
    ("multiclass", "base"): {
        "test_accuracy": 0.89,
        "train_loss": 0.65,
        "train_accuracy": 0.894,
        "validation_loss": 0.66,
        "validation_accuracy": 0.886,
    },
    ("multiclass", "exp1"): {
        "test_accuracy": 0.95,
        "train_loss": 0.22,
        "train_accuracy": 0.961,
        "validation_loss": 0.24,
        "validation_accuracy": 0.95,
    },
    ("multiclass", "exp2"): {
        "test_accuracy": 0.97,
        "train_loss": 0.13,
        "train_accuracy": 0.976,
        "validation_loss": 0.16,
        "validation_accuracy": 0.973,
    },
    ("binary", "base"): {"test_accuracy": 0.93, "train_loss": 0.134, "train_accuracy": 0.9712},
    ("binary", "numpy"): {"test_accuracy": 1.0, "train_loss": 0.0063},
}

# Tables 2 to 4, a few rows: precision, recall, f1.
PER_CLASS = {
    "base": {"0": (0.99, 0.98, 0.98), "4": (0.82, 0.77, 0.79), "7": (0.73, 0.79, 0.76), "9": (0.89, 0.98, 0.93)},
    "exp1": {"0": (1.0, 1.0, 1.0), "3": (0.98, 0.90, 0.94), "7": (0.86, 0.94, 0.90), "9": (0.93, 1.0, 0.97)},
    "exp2": {"0": (0.99, 1.0, 1.0), "4": (0.95, 0.91, 0.93), "6": (0.94, 0.94, 0.94), "9": (0.98, 1.0, 0.99)},
}


def test_experiments_are_those_of_the_reports():
    trained = {
        (e.task, e.name): (e.hidden, e.learning_rate, e.batch_size, e.epochs, e.loss, e.optimizer) for e in REPORTED
    }
    assert trained == TRAINED
    assert not any(e.dropout or e.weight_decay or e.augmentation for e in REPORTED)


def test_experiments_beyond_the_reports_have_a_purpose_and_no_figures():
    assert EXPERIMENTS == REPORTED + BEYOND and len({(e.task, e.name) for e in EXPERIMENTS}) == len(EXPERIMENTS)
    assert all(e.is_reported and not e.purpose for e in REPORTED)
    for experiment in BEYOND:
        assert not experiment.is_reported and reported_figures(experiment.reported) == {}
        assert experiment.purpose.endswith(".") and experiment.purpose.count(".") == 1


# What an idea changes, and nothing else; longer is in all that need its time.
CHANGED = {
    ("multiclass", "longer"): {"epochs"},
    ("multiclass", "wide"): {"hidden"},
    ("multiclass", "deep"): {"hidden"},
    ("multiclass", "dropout"): {"epochs", "dropout"},
    ("multiclass", "augmented"): {"epochs", "augmentation"},
    ("multiclass", "best"): {"hidden", "epochs", "dropout", "augmentation"},
    ("binary", "relu"): {"activation", "init", "learning_rate"},
    ("binary", "softmax"): {"loss"},
}


@pytest.mark.parametrize("experiment", BEYOND, ids=lambda e: f"{e.task} {e.name}")
def test_experiment_beyond_the_reports_changes_one_idea(experiment):
    reports = find_experiment(experiment.task, {"multiclass": "exp2", "binary": "numpy"}[experiment.task])
    theirs = vars(reports)
    changed = {name for name, value in vars(experiment).items() if value != theirs[name]}
    assert changed - {"name", "reported", "purpose"} == CHANGED[experiment.task, experiment.name]


def test_longer_takes_the_time_of_what_it_stands_beside():
    epochs = {name: find_experiment("multiclass", name).epochs for name in ("longer", "dropout", "augmented")}
    assert len(set(epochs.values())) == 1


def test_outputs_are_one_a_class_or_one_for_two():
    assert output_count("multiclass", "softmax_cross_entropy", 7) == 7
    assert output_count("multiclass", "softmax_cross_entropy", 2) == 2
    assert output_count("binary", "binary_cross_entropy", 2) == 1
    assert output_count("binary", "squared_error", 2) == 1
    assert output_count("binary", "softmax_cross_entropy", 2) == 2
    assert find_experiment("binary", "softmax").sizes == (784, 10, 2)
    assert find_experiment("multiclass", "deep").sizes == (784, 256, 128, 10)


@pytest.mark.parametrize(("task", "name"), FIGURES)
def test_experiment_figures_are_the_reports(task, name):
    assert reported_figures(find_experiment(task, name).reported) == FIGURES[task, name]


@pytest.mark.parametrize("name", PER_CLASS)
def test_experiment_classes_are_the_reports(name):
    per_class = find_experiment("multiclass", name).reported.per_class
    assert list(per_class) == list("0123456789")
    assert {digit: per_class[digit] for digit in PER_CLASS[name]} == PER_CLASS[name]
    # The reports' weighted averages (100 images a class) agree with their accuracies.
    recall = sum(recall for _, recall, _ in per_class.values()) / 10
    assert abs(recall - find_experiment("multiclass", name).reported.test_accuracy) < 0.01
    for precision, recall, f1 in per_class.values():
        assert abs(2 * precision * recall / (precision + recall) - f1) < 0.0101


def test_experiment_numpy_follows_its_notebook():
    numpy = find_experiment("binary", "numpy")
    assert (numpy.activation, numpy.init, numpy.shuffle) == ("sigmoid", "normal", "once")
    others = [experiment for experiment in REPORTED if experiment is not numpy]
    assert {(e.activation, e.init, e.shuffle) for e in others} == {("relu", "pytorch", "each epoch")}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: f"{e.task} {e.name}")
def test_experiment_can_be_built(experiment):
    MLP(experiment.sizes, experiment.activation, loss=experiment.loss, init=experiment.init, dropout=experiment.dropout)
    OPTIMIZERS[experiment.optimizer](learning_rate=experiment.learning_rate)


def test_experiment_of_an_unknown_name_is_refused():
    with refused("task", "'ternary'", "multiclass", "binary"):
        find_experiment("ternary", "base")
    with refused("experiment", "'exp2'", "binary", "base, numpy, relu, softmax"):
        find_experiment("binary", "exp2")
