"""CheckedOps: the contract of NumpyOps, the bits of the backend that works behind it, and every operation watched."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from equivalence_faults import IMAGES, LABELS
from made_up import images_and_labels
from tolerances import assert_same_bits

from gpunet import MLP, Adam, train
from gpunet.augmentation import Augmentation, image_keys, warp_table
from gpunet.equivalence.checked_ops import CheckedOps
from gpunet.equivalence.steps import RestartedSteps
from gpunet.ops import NumpyOps, Warp
from gpunet.ops.backend import make_backend

MEMORY = {"zeros", "asarray", "to_host", "gather_buffers", "available_bytes"}  # is that of the backend


def operations(ops: type) -> dict[str, list[tuple]]:
    methods = inspect.getmembers(ops, inspect.isfunction)
    return {
        name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
        for name, method in methods
        if not name.startswith("_")
    }


def test_checked_ops_watch_every_operation_and_take_what_it_takes():
    reference = operations(NumpyOps)
    assert operations(CheckedOps) == {name: reference[name] for name in reference.keys() - MEMORY}


def test_checked_ops_change_no_bit():
    trained = []
    for ops in (NumpyOps(), CheckedOps(NumpyOps(), lambda seen: {"parameters": 0.0})):
        network = MLP((29, 9, 3), seed=2, dropout=0.3, ops=ops)
        history = train(network, IMAGES, LABELS, epochs=2, batch_size=16, optimizer=Adam(0.01, weight_decay=0.1))
        trained.append((network.parameters, history.step_loss))
    for one, other in zip(*trained, strict=True):
        assert_same_bits(one, other)


def test_checked_ops_show_each_step_as_it_was():
    seen = []
    ops = CheckedOps(NumpyOps(), lambda step: seen.append(step) or {"parameters": 0.0})
    network = MLP((29, 9, 3), seed=2, ops=ops)
    first = network.parameters.copy()
    order = np.arange(32).reshape(2, 16)[:, ::-1]
    history = train(network, IMAGES, LABELS, np.arange(16), epochs=2, batch_size=8, shuffle=order)
    assert [step.step.number for step in seen] == [0, 1, 2, 3]
    assert np.concatenate([step.rows[0] for step in seen]).tolist() == order.reshape(-1).tolist()
    np.testing.assert_array_equal(seen[0].before.parameters, first)
    for one, next_one in zip(seen, seen[1:], strict=False):
        for name in ("parameters", "m", "v"):
            np.testing.assert_array_equal(getattr(next_one.before, name), one.after[name])
    assert_same_bits(seen[-1].after["parameters"], network.parameters)
    means = [step.row_loss.mean() for step in seen]
    np.testing.assert_allclose(means, history.step_loss.reshape(-1), rtol=1e-6)
    assert ops.findings["follow_order", "epoch"].error == 0


def watched(ops, **options):
    """A weighted run on `ops`, under observation: what was found of each operation and of each step."""
    steps = RestartedSteps(MLP((29, 9, 3), seed=2, dropout=0.3, ops=NumpyOps(np.float64)), LABELS)
    checked = CheckedOps(ops, lambda seen: steps.judge(seen).errors)
    weights = np.random.default_rng(1).uniform(0.1, 4, len(LABELS)) * (np.arange(len(LABELS)) != 3)
    arguments = {"optimizer": Adam(0.01), "epochs": 2, "batch_size": 8, "sample_weight": weights, **options}
    network = MLP((29, 9, 3), seed=2, dropout=0.3, ops=checked)
    train(network, IMAGES, LABELS, np.arange(30), np.arange(25, 40), **arguments)
    return checked.findings, steps.steps


def test_checked_ops_follow_weighted_training():
    findings, steps = watched(NumpyOps())
    assert findings["row_shares", "epoch"].agrees and findings["batch_sums", "epoch"].agrees
    assert findings["dense_head", "layer 2"].agrees and findings["dense_update", "all layers"].agrees
    assert len(steps) == 8 and all(step.agrees for step in steps)


class WrongShares(NumpyOps):
    def row_shares(self, weights, rows, batch_size, out):
        super().row_shares(weights, rows, batch_size, out)
        out[:, -1] *= np.float32(1.0001)


class WrongWeights(NumpyOps):
    def batch_sums(self, *arguments):
        super().batch_sums(*arguments)
        arguments[-1].sums[int(arguments[3][0]), :, 0] *= np.float32(1.0001)


class NoShares(NumpyOps):
    def softmax_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None):
        super().softmax_cross_entropy(logits, labels, row_loss, hits, dlogits)


@pytest.mark.parametrize(
    ("ops", "operation", "place"),
    [
        (WrongShares, "row_shares", "epoch"),
        (WrongWeights, "batch_sums", "epoch"),
        (NoShares, "dense_head", "layer 2"),
    ],
)
def test_checked_ops_find_a_fault_in_the_weights(ops, operation, place):
    findings, steps = watched(ops(), epochs=1)
    assert not findings[operation, place].agrees
    assert all(step.agrees for step in steps) == (ops is not NoShares)


def test_checked_ops_hold_gathered_rows_against_what_was_given():
    """Not against what the backend made of the data set, which may be wrong already."""

    class Careless(NumpyOps):
        def images(self, images):
            values, scale = super().images(images)
            values[3] = values[4]
            return values, scale

    ops = CheckedOps(Careless(), lambda seen: {"parameters": 0.0})
    train(MLP((29, 3), ops=ops), IMAGES, LABELS, epochs=1, batch_size=8)
    assert not ops.findings["gather", "layer 1"].agrees


def augmented(ops, on_step=lambda seen: {"parameters": 0.0}):
    """A run on images that are changed, and what was found."""
    images, labels = images_and_labels(12, classes=3, inputs=25)
    checked = CheckedOps(ops, on_step)
    network = MLP((25, 4, 3), seed=2, ops=checked)
    train(network, images, labels, np.arange(9), epochs=2, batch_size=9, augmentation=Augmentation(20, 1, 0.1))
    return checked.findings, network


def test_checked_ops_hold_changed_images_to_the_byte_and_steps_against_them():
    shown = []
    findings, _ = augmented(NumpyOps(), lambda seen: shown.append(seen.images) or {"parameters": 0.0})
    assert findings["augment", "epoch"].error == 0 and all(row.agrees for row in findings.values())
    assert (shown[0][:9] != shown[1][:9]).any(axis=1).all()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator
def test_checked_ops_read_changed_images_that_lie_in_words():
    images, _ = images_and_labels(3, classes=3, inputs=25)
    ops = CheckedOps(make_backend("sim").ops, lambda seen: {})
    values, _ = ops.images(images)
    arrays = (warp_table(Augmentation(20, 1, 0.1)), np.int32), (image_keys(images[1:]), np.uint32), ([1, 2], np.int32)
    warp, epoch = Warp(*(ops.asarray(*each) for each in arrays), 5, 0), ops.zeros(1, np.int32)
    out = ops.zeros(values.shape, values.dtype)
    ops.augment(values, warp, epoch, out)
    assert ops.findings["augment", "epoch"].error == 0 and ops.findings["augment", "epoch"].shapes == ["2 x 5 x 5"]
    out[2, 0] ^= 1
    ops.ops.augment = lambda *arguments: None
    ops.augment(values, warp, epoch, out)
    assert not ops.findings["augment", "epoch"].agrees


@pytest.mark.parametrize("fault", ["a grey level", "the epoch before", "another row", "the given images"])
def test_checked_ops_find_a_fault_in_changed_images(fault):
    class Faulty(NumpyOps):
        def augment(self, images, warp, epoch, out):
            super().augment(images, warp, epoch - 1 if fault == "the epoch before" else epoch, out)
            if fault == "a grey level":
                out[8, 3] ^= 1
            elif fault == "another row":
                out[11] = out[8]
            elif fault == "the given images":
                out[:9] = images[:9]

    findings, _ = augmented(Faulty())
    assert not findings["augment", "epoch"].agrees


@pytest.mark.parametrize("fault", ["other place", "other epoch"])
def test_checked_ops_hold_sums_in_their_place(fault):
    class Misplaced(NumpyOps):
        def batch_sums(self, row_loss, hits, batch_size, epoch, loss_sums, hit_counts, weights=None):
            super().batch_sums(row_loss, hits, batch_size, epoch, loss_sums, hit_counts, weights)
            if fault == "other epoch":
                loss_sums[int(epoch[0]) - 1, :, 0] += 1e-6
            else:
                loss_sums[int(epoch[0])] = loss_sums[int(epoch[0]), :, ::-1]

    ops = CheckedOps(Misplaced(), lambda seen: {"parameters": 0.0})
    train(MLP((29, 3), ops=ops), IMAGES, LABELS, epochs=2, batch_size=8)
    assert not ops.findings["batch_sums", "epoch"].agrees
