"""On a device: every operation and every step of real training runs, held against NumPy in float64."""

from __future__ import annotations

import pytest
from device_runs import compared, make_ops

from gpunet import SGD, Adam, Augmentation

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def ops():
    return make_ops()


def assert_agrees(found, *, steps: int) -> None:
    assert found.disagreements() == []
    assert found.agrees and found.same_bits is True and len(found.steps) == steps
    operations = {row.operation for row in found.operations}
    assert operations >= {"shuffle", "batch_sums", "advance", "dense_forward", "dense_backward", "dense_gradient"}
    # Neither is NumPy compared with itself: what a device computes differs from float64.
    assert all(step.error > 0 for step in found.steps)


@pytest.mark.parametrize(
    ("sizes", "batch_size"), [((784, 64, 10), 64), ((784, 64, 10), 128), ((512, 1024, 1024, 256), 128)]
)
def test_gpu_operations_and_steps_agree_at_full_size(ops, sizes, batch_size):
    """Two epochs of two full batches and a short one."""
    found = compared(ops, sizes, rows=3 * batch_size - 19, batch_size=batch_size, optimizer=Adam(0.001))
    assert_agrees(found, steps=6)


def test_gpu_augmented_images_are_numpys_to_the_byte(ops):
    found = compared(
        ops, (784, 64, 10), rows=640, batch_size=128, optimizer=Adam(0.001), augmentation=Augmentation(30, 3, 0.2)
    )
    assert_agrees(found, steps=10)
    assert {row.operation: row.error for row in found.operations}["augment"] == 0


def test_gpu_250_steps_of_exp2_agree(ops):
    """Each begun anew from the same state; and left to itself, the run drifts from float64 no more than four times as
    far as NumPy in float32."""
    found = compared(ops, (784, 64, 10), rows=3200, batch_size=128, epochs=10)
    assert_agrees(found, steps=250)
    assert found.weights.ratio <= 4 and found.losses.ratio <= 4
    assert found.steps[-1].loss < 0.5 * found.steps[0].loss  # something was learnt


OPTIMIZERS = {
    "adam": Adam(0.003),
    "adam with l2": Adam(0.003, weight_decay=0.01),
    "adamw": Adam(0.003, weight_decay=0.1, decoupled=True),
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, momentum=0.9, weight_decay=0.01),
}
LOSSES = {"softmax_cross_entropy": (203, 67, 10), "binary_cross_entropy": (203, 67, 1), "squared_error": (203, 67, 40)}
ACTIVATIONS = {"softmax_cross_entropy": "relu", "binary_cross_entropy": "tanh", "squared_error": "sigmoid"}
# Every optimizer with one loss, and every loss with two of them: most of the time goes into compiling kernels.
COMBINATIONS = [
    *(("softmax_cross_entropy", optimizer) for optimizer in OPTIMIZERS),
    *((loss, optimizer) for loss in list(LOSSES)[1:] for optimizer in ("adam", "momentum")),
]


@pytest.mark.parametrize(("loss", "optimizer"), COMBINATIONS)
def test_gpu_training_agrees_with_every_loss_and_optimizer(ops, loss, optimizer):
    """And with each activation, with dropout and without."""
    inputs, hidden, outputs = LOSSES[loss]
    found = compared(
        ops,
        (inputs, hidden, 33, outputs),
        rows=90,
        batch_size=64,
        optimizer=OPTIMIZERS[optimizer],
        activation=ACTIVATIONS[loss],
        loss=loss,
        dropout=0.4 if optimizer == "adam" else 0.0,
    )
    assert_agrees(found, steps=4)


def test_gpu_training_row_by_row_agrees(ops):
    """The NumPy report's algorithm: an epoch in one launch, and the same steps one by one under observation."""
    found = compared(ops, (784, 10, 1), rows=120, batch_size=1, optimizer=SGD(0.1), activation="sigmoid", init="normal")
    assert_agrees(found, steps=240)


def test_gpu_population_agrees(ops):
    found = compared(
        ops,
        (784, 64, 10),
        rows=150,
        batch_size=64,
        seed=(1, 2, 3),
        optimizer=Adam((0.001, 0.003, 0.01)),
        dropout=(0.5, 0.0, 0.2),
    )
    assert_agrees(found, steps=6)
