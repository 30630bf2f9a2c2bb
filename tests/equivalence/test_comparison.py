"""Backends compared as a whole: sound ones agree, whatever is trained, and faults are found and named."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from equivalence_faults import FAULTS, IMAGES, LABELS, TRAINED, comparison, faulty
from sentences import refused

from gpunet import MLP, SGD, Adam
from gpunet.augmentation import Augmentation
from gpunet.equivalence import comparison as module
from gpunet.equivalence.checked_ops import CheckedOps
from gpunet.equivalence.comparison import Drift, compare
from gpunet.ops import NumpyOps

SETTINGS = {
    "adam, relu": dict(),
    "adam, decoupled decay, tanh, dropout": dict(
        optimizer=Adam(0.01, weight_decay=0.1, decoupled=True), activation="tanh", dropout=0.4
    ),
    "adam with l2, sigmoid, squared error": dict(
        optimizer=Adam(0.01, weight_decay=0.1), activation="sigmoid", loss="squared_error"
    ),
    "momentum with l2, dropout": dict(optimizer=SGD(0.1, momentum=0.8, weight_decay=0.01), dropout=0.3),
    "no hidden layer": dict(sizes=(29, 3), optimizer=SGD(0.3)),
    "one output": dict(sizes=(29, 6, 1), labels=LABELS % 2, activation="tanh"),
    "augmented": dict(sizes=(25, 6, 3), augmentation=Augmentation(20, 1, 0.1)),
    "augmented, one row a step": dict(
        sizes=(25, 4, 1), labels=LABELS % 2, optimizer=SGD(0.1), batch_size=1, augmentation=Augmentation(20, 1, 0.1)
    ),
    "a population": dict(seed=(1, 2, 3), optimizer=Adam((0.01, 0.02, 0.03)), dropout=(0.5, 0.0, 0.2)),
    "one row a step": dict(sizes=(29, 4, 1), labels=LABELS % 2, optimizer=SGD(0.1), batch_size=1, activation="sigmoid"),
}
STEPS = {"one row a step": 44, "augmented, one row a step": 44}


@pytest.mark.parametrize("setting", SETTINGS)
def test_comparison_of_sound_arithmetic_agrees(setting):
    found = comparison(NumpyOps(np.float32), repeat=True, **SETTINGS[setting])
    assert found.disagreements() == [] and found.agrees and found.stopped is None
    assert len(found.steps) == STEPS.get(setting, 6) and found.same_bits is True
    assert [step.step for step in found.steps] == list(range(1, len(found.steps) + 1))
    # Nothing is compared with itself: float32 differs from float64, by less than is allowed.
    assert all(0 < step.error <= 1 for step in found.steps)
    assert 0 < max(row.error for row in found.operations) <= 1
    assert found.weights.distance == found.weights.numpy_float32 > 0


def test_comparison_covers_every_operation():
    covered = {row.operation for settings in SETTINGS.values() for row in comparison(NumpyOps(), **settings).operations}
    memory = {"zeros", "asarray", "to_host", "images", "gather_buffers", "capture", "available_bytes"}
    operations = {name for name, _ in inspect.getmembers(NumpyOps, inspect.isfunction) if name[0] != "_"} - memory
    # Which no experiment uses; test_checked_ops has them.
    assert operations - covered == {"follow_order", "row_shares"}


@pytest.mark.parametrize("operation", FAULTS)
def test_comparison_names_the_faulty_operation(operation):
    found = comparison(faulty(operation))
    assert not found.agrees
    wrong = {row.operation for row in found.operations if not row.agrees}
    # What fuses it inherits its fault; what only reads its results does not.
    fused = {
        "dense_forward": {"dense_head"},
        "dense_backward": {"dense_head"},
        "softmax_cross_entropy": {"dense_head"},
        "dense_gradient": {"dense_update"},
        "adam": {"dense_update"},
    }
    assert wrong == {operation} | fused.get(operation, set())
    assert any(text.startswith(operation) for text in found.disagreements())


def test_comparison_counts_nan_as_a_fault():
    class Spoilt(NumpyOps):
        def dense_backward(self, dz, weight, a, out, **options):
            super().dense_backward(dz, weight, a, out, **options)
            out[0, 0, 0] = np.nan

    found = comparison(Spoilt(np.float32))
    assert not found.agrees and found.stopped is not None and "no finite number" in found.stopped
    assert any("stopped" in text for text in found.disagreements())
    wrong = {row.operation: row for row in found.operations if not row.agrees}
    assert wrong["dense_backward"].error == np.inf == found.losses.error
    text = json.dumps(found.as_json(), allow_nan=False)
    assert json.loads(text)["free_running"]["weights"]["ratio"] is None


def test_comparison_finds_operations_in_the_wrong_order():
    """Each of them is right; the step is not."""

    class Hasty(MLP):
        def training_launches(self, *arguments):
            *passes, head, back, update = super().training_launches(*arguments)
            return [*passes, head, update, back]

    def make_network(ops):
        kind = Hasty if isinstance(ops, CheckedOps) else MLP
        return kind((29, 9, 7, 3), seed=5, ops=ops)

    found = compare(make_network, NumpyOps(), IMAGES, LABELS, TRAINED, batch_size=8, epochs=2)
    assert all(row.agrees for row in found.operations)
    assert not found.agrees and not any(step.agrees for step in found.steps)
    assert "6 of 6 steps, the first of them step 1" in found.disagreements()


def test_comparison_finds_a_drift_that_no_single_step_shows():
    class Biased(NumpyOps):
        def dense_update(self, layers, state, step):
            super().dense_update(layers, state, step)
            np.multiply(state.parameters, np.float32(1 + 2e-7), out=state.parameters)

    found = comparison(Biased(np.float32), epochs=8)
    assert all(row.agrees for row in found.operations) and all(step.agrees for step in found.steps)
    assert not found.weights.agrees and not found.agrees
    assert "the weights of the run left to itself" in found.disagreements()


def test_comparison_finds_that_a_second_run_differs():
    class Moody(NumpyOps):
        updates = 0

        def dense_update(self, layers, state, step):
            super().dense_update(layers, state, step)
            self.updates += 1
            if self.updates > 6:  # those of the first run
                weight = state.parameters[0, :1]
                np.nextafter(weight, np.float32(9), out=weight)

    found = comparison(Moody(np.float32), repeat=True)
    assert found.same_bits is False and not found.agrees
    assert found.disagreements() == ["a second run, which ends with other bits"]


def test_comparison_refuses_a_run_that_diverges_in_float64():
    with refused("smaller learning rate"):
        comparison(NumpyOps(), optimizer=SGD(1e30), activation="identity")


def test_comparison_is_interrupted_as_a_whole(monkeypatch):
    train, calls = module.train, []

    def interrupted(*arguments, **options):
        calls.append(1)
        history = train(*arguments, **options)
        return type(history)(**{**vars(history), "interrupted": len(calls) == 3})

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        comparison(NumpyOps())


@pytest.mark.parametrize(
    ("distance", "numpy_float32", "agrees"),
    [(4.0, 1.0, True), (4.1, 1.0, False), (0.0, 0.0, True), (0.4, 0.0, True), (0.5, 0.0, False), (np.nan, 1.0, False)],
)
def test_drift_is_measured_by_numpy_and_by_one_rounding(distance, numpy_float32, agrees):
    assert Drift(distance, numpy_float32, least=0.1).agrees is agrees
