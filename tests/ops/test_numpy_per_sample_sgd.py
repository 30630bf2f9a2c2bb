"""Per-sample SGD in NumPy: the bits of a step's own operations, row after row."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import Guarded, step_at, unchanged
from tolerances import assert_same_bits

from gpunet.ops import Batch, LayerGradient, NumpyOps, numpy_per_sample_sgd
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.optimizers import SGD, optimizer_state
from gpunet.parameters import ParameterLayout

IMAGES, EPOCH, INDEX, PER_EPOCH = 23, 1, 2, 40


@pytest.fixture(params=[np.float32, np.float64])
def ops(request):
    """NumPy's alone: other backends add in another order."""
    return NumpyOps(request.param)


class Problem:
    """P networks I-H-1 with rates of their own, at the same place on every call."""

    def __init__(self, ops, networks=1, rows=20, inputs=13, hidden=5, floats=False):
        rng = np.random.default_rng(3)
        self.ops, self.layout = ops, ParameterLayout((inputs, hidden, 1))
        images = rng.integers(0, 256, (IMAGES, inputs), dtype=np.uint8)
        self.images, self.scale = ops.images(images / 255 if floats else images)
        self.labels = ops.asarray(rng.integers(0, 2, IMAGES), np.int32)
        self.rows = ops.asarray(rng.integers(0, IMAGES, (networks, rows)), np.int32)
        self.parameters = ops.zeros((networks, self.layout.length))
        for layer in self.layout.views(self.parameters):
            for array in layer:
                array[:] = rng.standard_normal(array.shape)
        gradient = ops.zeros(self.parameters.shape)
        optimizer = SGD(np.linspace(0.1, 0.4, networks))
        self.state = optimizer_state(ops, optimizer, self.layout, self.parameters, gradient, 3 * PER_EPOCH)
        self.state.step_table[:, :, 0] *= rng.uniform(0.5, 1, 3 * PER_EPOCH)
        self.state.lr_scale[:] = rng.uniform(0.5, 1, networks)
        self.row_loss = Guarded(ops, self.rows.shape)
        self.hits = Guarded(ops, self.rows.shape, np.uint8)

    def in_one(self, activation="sigmoid"):
        self.ops.per_sample_sgd(
            Batch(self.images, self.labels, self.rows, self.scale, None, None),
            self.layout.views(self.parameters),
            self.state,
            step_at(self.ops, EPOCH, INDEX, PER_EPOCH),
            row_loss=self.row_loss.array,
            hits=self.hits.array,
            activation=activation,
        )

    def step_by_step(self, activation="sigmoid"):
        ops, (networks, rows) = self.ops, self.rows.shape
        (weight1, bias1), (weight2, bias2) = self.layout.views(self.parameters)
        inputs, hidden = weight1.shape[1:]
        x, y = ops.gather_buffers(networks, 1, inputs)
        a, da = ops.zeros((networks, 1, hidden)), ops.zeros((networks, 1, hidden))
        z, dz = ops.zeros((networks, 1, 1)), ops.zeros((networks, 1, 1))
        for t in range(rows):
            part, step = slice(t, t + 1), step_at(ops, EPOCH, INDEX + t, PER_EPOCH)
            batch = Batch(self.images, self.labels, self.rows[:, part], self.scale, x, y)
            ops.gather(batch)
            ops.dense_forward(batch, weight1, bias1, a, activation=activation)
            written = {"row_loss": self.row_loss.array[:, part], "hits": self.hits.array[:, part]}
            gradients = {"dlogits": dz, "dx": da, "activation": activation}
            ops.dense_head(
                a, weight2, bias2, batch, loss="binary_cross_entropy", logits=z, **written, **gradients, step=step
            )
            layers = LayerGradient(batch, da, None), LayerGradient(a, dz, None)
            ops.dense_update(layers, self.state, step)

    def results(self):
        return self.parameters, self.state.gradient, self.row_loss.result(), self.hits.result()


def assert_same(ops, activation="sigmoid", **shape):
    in_one, step_by_step = Problem(ops, **shape), Problem(ops, **shape)
    first = in_one.parameters.copy()
    with unchanged(ops, in_one.images, in_one.labels, in_one.rows, in_one.state.step_table, in_one.state.lr_scale):
        in_one.in_one(activation)
    step_by_step.step_by_step(activation)
    assert not np.array_equal(in_one.parameters, first)
    for actual, expected in zip(in_one.results(), step_by_step.results(), strict=True):
        assert_same_bits(actual, expected)


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_per_sample_sgd_has_the_bits_of_single_steps(ops, activation, networks):
    assert_same(ops, activation, networks=networks)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 784, 10), (1, 5, 33, 60), (3, 2, 5, 1)])
def test_per_sample_sgd_has_the_bits_of_single_steps_in_any_shape(ops, shape):
    networks, rows, inputs, hidden = shape
    for floats in (False, True):
        assert_same(ops, networks=networks, rows=rows, inputs=inputs, hidden=hidden, floats=floats)


@pytest.mark.parametrize("networks", [1, 2])
def test_per_sample_sgd_does_not_depend_on_how_many_rows_it_gathers(ops, networks, monkeypatch):
    monkeypatch.setattr(numpy_per_sample_sgd, "GATHERED", 13 * 7)  # seven rows of one network, three of two
    assert_same(ops, networks=networks)


def test_per_sample_sgd_gives_each_network_what_it_gets_alone(ops):
    together = Problem(ops, networks=3)
    together.in_one()
    for network in range(3):
        alone, own = Problem(ops, networks=3), slice(network, network + 1)
        for name in ("rows", "parameters"):
            setattr(alone, name, getattr(alone, name)[own].copy())
        gradient = ops.zeros(alone.parameters.shape)
        table, lr_scale = alone.state.step_table[own], alone.state.lr_scale[own]
        alone.state = optimizer_state(ops, SGD(), alone.layout, alone.parameters, gradient, 3 * PER_EPOCH)
        alone.state.step_table[:], alone.state.lr_scale[:] = table, lr_scale
        alone.row_loss, alone.hits = Guarded(ops, (1, 20)), Guarded(ops, (1, 20), np.uint8)
        alone.in_one()
        assert_same_bits(alone.parameters[0], together.parameters[network])
        assert_same_bits(alone.row_loss.result()[0], together.row_loss.result()[network])


def test_per_sample_sgd_stops_between_two_updates(monkeypatch):
    """Ctrl-C leaves the weights of the last whole step."""
    monkeypatch.setattr(numpy_per_sample_sgd, "GATHERED", 13 * 4)

    class Interrupted(NumpyOps):
        gathered = 0

        def gather(self, batch):
            if self.gathered == 8:
                raise KeyboardInterrupt
            super().gather(batch)
            self.gathered += batch.rows.shape[1]

    interrupted, shorter = Problem(Interrupted()), Problem(NumpyOps(), rows=20)
    with pytest.raises(KeyboardInterrupt):
        interrupted.in_one()
    shorter.rows = shorter.rows[:, :8]
    shorter.row_loss, shorter.hits = Guarded(shorter.ops, (1, 8)), Guarded(shorter.ops, (1, 8), np.uint8)
    shorter.in_one()
    assert_same_bits(interrupted.parameters, shorter.parameters)
    assert_same_bits(interrupted.row_loss.array[:, :8], shorter.row_loss.result())
