"""Dense layers: the products, their gradients, and the head that joins the last layer with the loss."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from buffers import Guarded, exact, gathered_batch, normal, step_at, unchanged
from tolerances import ELEMENTARY, assert_same_bits, assert_within, eps, sum_bound

from gpunet.counter_rng import dropout_hash, dropout_threshold
from gpunet.ops import Dropout, LayerGradient
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.numpy_losses import LOSSES

DENSE = pytest.mark.parametrize("shape", shapes.DENSE, ids=str)


def layer(ops, networks, rows, inputs, outputs):
    """x [P, B, I], weight [P, I, O], bias [P, O], dz [P, B, O]."""
    return (
        normal(ops, (networks, rows, inputs), 1),
        normal(ops, (networks, inputs, outputs), 2),
        normal(ops, (networks, outputs), 3),
        normal(ops, (networks, rows, outputs), 4),
    )


def make_dropout(ops, rates, index=1):
    return Dropout(
        ops.asarray(range(10, 10 + len(rates)), np.uint32),
        ops.asarray([dropout_threshold(rate) for rate in rates], np.uint32),
        ops.asarray(1 / (1 - np.array(rates))),
        index,
    )


def kept(ops, rates, step_number, rows, columns, index=1):
    """What an element is multiplied by: 0 or 1 / (1 - rate), unrounded."""
    hashes = dropout_hash(np.arange(10, 10 + len(rates), dtype=np.uint32), step_number, index, rows, columns)
    rates = np.reshape(rates, (-1, 1, 1)).astype(np.longdouble)
    return (hashes >= np.round(rates.astype(np.float64) * 2**32)) / (1 - rates)


# Forward


def test_dense_forward_of_a_hand_worked_layer(ops):
    x = ops.asarray([[[1, 2], [3, -1]]])
    weight, bias = ops.asarray([[[1, 0, -1], [2, 1, 0.5]]]), ops.asarray([[0.5, -1, 0]])
    out = ops.zeros((1, 2, 3))
    # 1 + 4 + 0.5, 0 + 2 - 1, -1 + 1 + 0 and 3 - 2 + 0.5, 0 - 1 - 1, -3 - 0.5 + 0
    ops.dense_forward(x, weight, bias, out)
    np.testing.assert_array_equal(ops.to_host(out), [[[5.5, 1, 0], [1.5, -2, -3.5]]])
    ops.dense_forward(x, weight, bias, out, activation="relu")
    np.testing.assert_array_equal(ops.to_host(out), [[[5.5, 1, 0], [1.5, 0, 0]]])


@DENSE
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_dense_forward_is_within_the_bound_of_its_sums(ops, shape, activation):
    x, weight, bias, _ = layer(ops, *shape)
    out = Guarded(ops, (shape[0], shape[1], shape[3]))
    with unchanged(ops, x, weight, bias):
        ops.dense_forward(x, weight, bias, out.array, activation=activation)
    x, weight, bias = (exact(ops, array) for array in (x, weight, bias))
    z = x @ weight + bias[:, None]
    bound = sum_bound(ops.dtype, shape[2] + 1, abs(x) @ abs(weight) + abs(bias[:, None]))
    if activation == "tanh":  # its slope is at most 1
        z, bound = np.tanh(z), bound + ELEMENTARY * eps(ops.dtype)
    assert_within(out.result(), z, bound)


def test_dense_forward_reads_a_batch_of_its_own_rows(ops):
    images = np.random.default_rng(0).integers(0, 256, (9, 5), dtype=np.uint8)
    rows = np.array([[8, 0, 0], [3, 5, 4]])
    batch = gathered_batch(ops, images, np.zeros(9), rows)
    weight, bias = normal(ops, (2, 5, 4), 1), normal(ops, (2, 4), 2)
    out = Guarded(ops, (2, 3, 4))
    ops.dense_forward(batch, weight, bias, out.array)
    x, weight, bias = images[rows] / np.longdouble(255), exact(ops, weight), exact(ops, bias)
    bound = sum_bound(ops.dtype, 6, abs(x) @ abs(weight) + abs(bias[:, None]))
    assert_within(out.result(), x @ weight + bias[:, None], bound)


RATES = [0.0, 0.3, 0.9]


def test_dense_forward_drops_and_scales_its_input(ops):
    x, weight, bias, _ = layer(ops, 3, 17, 13, 4)
    out = Guarded(ops, (3, 17, 4))
    with unchanged(ops, x):
        ops.dense_forward(
            x, weight, bias, out.array, dropout=make_dropout(ops, RATES), step=step_at(ops, 2, 3, per_epoch=5)
        )
    dropped = exact(ops, x) * kept(ops, RATES, 2 * 5 + 3, 17, 13)
    weight, bias = exact(ops, weight), exact(ops, bias)
    bound = sum_bound(ops.dtype, 14, abs(dropped) @ abs(weight) + abs(bias[:, None]))
    assert_within(out.result(), dropped @ weight + bias[:, None], bound)


def test_dense_forward_keeps_what_lies_at_the_threshold(ops):
    """Dropped is what lies below it: a rate of zero drops nothing."""
    hash_of_one = dropout_hash(np.array([10], np.uint32), 0, 1, 1, 1)[0, 0, 0]
    for above, expected in ((0, 1), (1, 0)):
        threshold = ops.asarray([int(hash_of_one) + above], np.uint32)
        dropout = Dropout(ops.asarray([10], np.uint32), threshold, ops.asarray([1]), 1)
        out = ops.zeros((1, 1, 1))
        one, none = ops.asarray([[[1]]]), ops.asarray([[0]])
        ops.dense_forward(one, one, none, out, dropout=dropout, step=step_at(ops))
        assert ops.to_host(out).item() == expected


# Backward


@pytest.mark.parametrize(
    ("activation", "a", "expected"),
    [
        # dz @ weight^T = (1 - 2, 2 + 1, 0 + 6) = (-1, 3, 6), times
        ("identity", (9, 9, 9), (-1, 3, 6)),
        ("relu", (2, 0, 0.5), (-1, 0, 6)),  # 1, 0, 1
        ("sigmoid", (0.5, 0.25, 1), (-0.25, 0.5625, 0)),  # 1/4, 3/16, 0
        ("tanh", (0.5, -0.5, 1), (-0.75, 2.25, 0)),  # 3/4, 3/4, 0
    ],
)
def test_dense_backward_of_a_hand_worked_layer(ops, activation, a, expected):
    out = ops.zeros((1, 1, 3))
    ops.dense_backward(
        ops.asarray([[[1, 2]]]),
        ops.asarray([[[1, -1], [2, 0.5], [0, 3]]]),
        ops.asarray([[a]]),
        out,
        activation=activation,
    )
    np.testing.assert_array_equal(ops.to_host(out), [[expected]])


@DENSE
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_dense_backward_is_within_the_bound_of_its_sums(ops, shape, activation):
    x, weight, _, dz = layer(ops, *shape)
    a = ops.asarray(np.tanh(ops.to_host(x)))
    out = Guarded(ops, shape[:3])
    with unchanged(ops, dz, weight, a):
        ops.dense_backward(dz, weight, a, out.array, activation=activation)
    dz, weight, a = (exact(ops, array) for array in (dz, weight, a))
    slope = 1 if activation == "identity" else 1 - a * a
    transposed = weight.swapaxes(1, 2)
    bound = sum_bound(ops.dtype, shape[3] + ELEMENTARY, abs(dz) @ abs(transposed) * slope)
    assert_within(out.result(), dz @ transposed * slope, bound)


def test_dense_backward_passes_nothing_through_what_was_dropped(ops):
    x, weight, _, dz = layer(ops, 3, 17, 13, 4)
    a = ops.asarray(np.tanh(ops.to_host(x)))
    out = Guarded(ops, (3, 17, 13))
    ops.dense_backward(
        dz,
        weight,
        a,
        out.array,
        activation="tanh",
        dropout=make_dropout(ops, RATES),
        step=step_at(ops, 1, 0, per_epoch=7),
    )
    dz, transposed, a = exact(ops, dz), exact(ops, weight).swapaxes(1, 2), exact(ops, a)
    factor = kept(ops, RATES, 7, 17, 13) * (1 - a * a)
    bound = sum_bound(ops.dtype, 4 + ELEMENTARY, abs(dz) @ abs(transposed) * factor)
    assert_within(out.result(), dz @ transposed * factor, bound)


# Gradients of weights and biases


def test_dense_gradient_of_a_hand_worked_layer(ops):
    x, dz = ops.asarray([[[1, 2], [3, 4]]]), ops.asarray([[[1, 0, -1], [2, 1, 0.5]]])
    dweight, dbias = ops.zeros((1, 2, 3)), ops.zeros((1, 3))
    ops.dense_gradient([LayerGradient(x, dz, None)], [(dweight, dbias)])
    # 1 + 6, 0 + 3, -1 + 1.5 and 2 + 8, 0 + 4, -2 + 2
    np.testing.assert_array_equal(ops.to_host(dweight), [[[7, 3, 0.5], [10, 4, 0]]])
    np.testing.assert_array_equal(ops.to_host(dbias), [[3, 1, -0.5]])


def assert_gradient(ops, x, dz, dweight, dbias):
    """x: in full precision, after dropout."""
    rows, dz = dz.shape[1], exact(ops, dz)
    transposed = x.swapaxes(1, 2)
    assert_within(dweight.result(), transposed @ dz, sum_bound(ops.dtype, rows, abs(transposed) @ abs(dz)))
    assert_within(dbias.result(), dz.sum(axis=1), sum_bound(ops.dtype, rows, abs(dz).sum(axis=1)))


@DENSE
def test_dense_gradient_is_within_the_bound_of_its_sums(ops, shape):
    networks, rows, inputs, outputs = shape
    x, _, _, dz = layer(ops, *shape)
    dweight, dbias = Guarded(ops, (networks, inputs, outputs)), Guarded(ops, (networks, outputs))
    with unchanged(ops, x, dz):
        ops.dense_gradient([LayerGradient(x, dz, None)], [(dweight.array, dbias.array)])
    assert_gradient(ops, exact(ops, x), dz, dweight, dbias)


def test_dense_gradient_takes_all_layers_batch_and_dropout_included(ops):
    images = np.random.default_rng(0).integers(0, 256, (20, 5), dtype=np.uint8)
    rows = np.random.default_rng(1).integers(0, 20, (3, 17))
    batch = gathered_batch(ops, images, np.zeros(20), rows)
    hidden, dz1, dz2 = normal(ops, (3, 17, 13), 2), normal(ops, (3, 17, 13), 3), normal(ops, (3, 17, 4), 4)
    outs = [[Guarded(ops, shape) for shape in pair] for pair in (((3, 5, 13), (3, 13)), ((3, 13, 4), (3, 4)))]
    layers = [LayerGradient(batch, dz1, None), LayerGradient(hidden, dz2, make_dropout(ops, RATES, 6))]
    ops.dense_gradient(layers, [[out.array for out in pair] for pair in outs], step_at(ops, 0, 3))
    assert_gradient(ops, images[rows] / np.longdouble(255), dz1, *outs[0])
    assert_gradient(ops, exact(ops, hidden) * kept(ops, RATES, 3, 17, 13, 6), dz2, *outs[1])


# The head


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rates", [None, RATES])
def test_dense_head_is_the_layer_the_loss_and_the_gradient_below(ops, loss, activation, rates):
    outputs = 1 if loss == "binary_cross_entropy" else 4
    x, weight, bias, _ = layer(ops, 3, 17, 13, outputs)
    x = ops.asarray(abs(ops.to_host(x)) % 1)  # a value of every activation
    images, rows = np.zeros((20, 1), np.uint8), np.random.default_rng(1).integers(0, 20, (3, 17))
    batch = gathered_batch(ops, images, np.arange(20) % max(2, outputs), rows)
    dropping = {"dropout": make_dropout(ops, rates), "step": step_at(ops, 5)} if rates else {}
    shaped = {"logits": (3, 17, outputs), "row_loss": (3, 17), "dlogits": (3, 17, outputs), "dx": (3, 17, 13)}
    head = {name: Guarded(ops, shape) for name, shape in shaped.items()}
    hits = Guarded(ops, (3, 17), np.uint8)
    arrays = {name: out.array for name, out in head.items()}
    with unchanged(ops, x, weight, bias, batch.y):
        ops.dense_head(x, weight, bias, batch, loss=loss, hits=hits.array, activation=activation, **arrays, **dropping)
    apart = {name: ops.zeros(shape) for name, shape in shaped.items()}
    hits_apart = ops.zeros((3, 17), np.uint8)
    ops.dense_forward(x, weight, bias, apart["logits"], **dropping)
    getattr(ops, loss)(apart["logits"], batch.y, apart["row_loss"], hits_apart, apart["dlogits"])
    ops.dense_backward(apart["dlogits"], weight, x, apart["dx"], activation=activation, **dropping)
    for name, out in head.items():
        assert_same_bits(out.result(), ops.to_host(apart[name]))
    assert_same_bits(hits.result(), ops.to_host(hits_apart))


def test_dense_head_without_gradients_gives_the_same_losses(ops):
    images, rows = np.random.default_rng(0).integers(0, 256, (9, 6), dtype=np.uint8), np.arange(9)[None]
    batch = gathered_batch(ops, images, np.arange(9) % 3, rows)
    weight, bias = normal(ops, (1, 6, 3), 1), normal(ops, (1, 3), 2)

    def losses(**gradients):
        out = {"logits": ops.zeros((1, 9, 3)), "row_loss": ops.zeros((1, 9)), "hits": ops.zeros((1, 9), np.uint8)}
        ops.dense_head(batch, weight, bias, batch, loss="softmax_cross_entropy", **out, **gradients)
        return [ops.to_host(array) for array in out.values()]

    for with_them, without in zip(losses(dlogits=ops.zeros((1, 9, 3))), losses(), strict=True):
        assert_same_bits(without, with_them)
