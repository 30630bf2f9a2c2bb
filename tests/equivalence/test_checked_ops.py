"""CheckedOps: the contract of NumpyOps, the bits of the backend that works behind it, and every operation watched."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from equivalence_faults import IMAGES, LABELS
from tolerances import assert_same_bits

from gpunet import MLP, Adam, train
from gpunet.equivalence.checked_ops import CheckedOps
from gpunet.ops import NumpyOps

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


@pytest.mark.parametrize("fault", ["other place", "other epoch"])
def test_checked_ops_hold_sums_in_their_place(fault):
    class Misplaced(NumpyOps):
        def batch_sums(self, row_loss, hits, batch_size, epoch, loss_sums, hit_counts):
            super().batch_sums(row_loss, hits, batch_size, epoch, loss_sums, hit_counts)
            if fault == "other epoch":
                loss_sums[int(epoch[0]) - 1, :, 0] += 1e-6
            else:
                loss_sums[int(epoch[0])] = loss_sums[int(epoch[0]), :, ::-1]

    ops = CheckedOps(Misplaced(), lambda seen: {"parameters": 0.0})
    train(MLP((29, 3), ops=ops), IMAGES, LABELS, epochs=2, batch_size=8)
    assert not ops.findings["batch_sums", "epoch"].agrees
