"""The losses: row losses, gradients of the logits, and hits, by hand and against many digits."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from itertools import product
from math import log

import numpy as np
import pytest
import shapes
from buffers import Guarded, exact, normal, unchanged
from tolerances import ELEMENTARY, LOSS, assert_same_bits, assert_within, eps, tiny

from gpunet.ops.numpy_losses import LOSSES

DIGITS = 130  # log(1 + exp(-200)) is 1e-87, and is to be had with 40 digits

LOGITS = [0.0, *(sign * size for size in (1e-6, 1.0, 30.0, 100.0, 1e4) for sign in (1, -1))]


def evaluated(ops, loss, logits, labels, *, gradient=True):
    """(row losses, dlogits, hits) of host arrays: logits [P, B, C], labels [P, B]."""
    logits, labels = ops.asarray(logits), ops.asarray(labels, np.int32)
    row_loss, hits = Guarded(ops, labels.shape), Guarded(ops, labels.shape, np.uint8)
    dlogits = Guarded(ops, logits.shape) if gradient else None
    with unchanged(ops, logits, labels):
        getattr(ops, loss)(logits, labels, row_loss.array, hits.array, dlogits.array if gradient else None)
    return row_loss.result(), dlogits.result() if gradient else None, hits.result()


def assert_few_roundings(ops, actual, expected):
    expected = np.asarray(expected, np.longdouble)
    assert_within(actual, expected, LOSS * eps(ops.dtype) * abs(expected))


# By hand


def test_softmax_cross_entropy_by_hand(ops):
    # exp of the first row: 1, 2, 5 of 8; the label's share is 5/8. The second: all alike, the label's 1/3.
    logits = [[[0, log(2), log(5)], [1, 1, 1]]]
    row_loss, dlogits, hits = evaluated(ops, "softmax_cross_entropy", logits, [[2, 0]])
    third = np.longdouble(1) / 3
    # log 2 and log 5 are rounded on the way in, which moves a share by at most as much.
    bound = LOSS * eps(ops.dtype)
    assert_within(row_loss, np.array([[np.log(np.longdouble(1.6)), np.log(np.longdouble(3))]]), bound)
    assert_within(
        dlogits, np.array([[[1 / 16, 1 / 8, -3 / 16], [(third - 1) / 2, third / 2, third / 2]]]), bound
    )  # over B = 2 rows
    assert hits.tolist() == [[1, 1]]


def test_softmax_cross_entropy_predicts_the_first_of_the_largest(ops):
    logits = [[[2, 7, 7], [2, 7, 7], [5, 5, 5], [5, 5, 5]]]
    row_loss, _, hits = evaluated(ops, "softmax_cross_entropy", logits, [[1, 2, 0, 1]])
    assert hits.tolist() == [[1, 0, 1, 0]]
    assert row_loss[0, 0] == row_loss[0, 1] and row_loss[0, 2] == row_loss[0, 3]


def test_binary_cross_entropy_by_hand(ops):
    # p = 1/2, 3/4, 3/4, 1/2 with B = 4; z = 0 predicts class 0.
    logits = np.array([0, log(3), log(3), 0]).reshape(1, 4, 1)
    row_loss, dlogits, hits = evaluated(ops, "binary_cross_entropy", logits, [[0, 1, 0, 1]])
    bound = LOSS * eps(ops.dtype)
    assert_within(row_loss, np.log(np.array([[2, 4 / np.longdouble(3), 4, 2]], np.longdouble)), bound)
    assert_within(dlogits[..., 0], np.array([[1 / 8, -1 / 16, 3 / 16, -1 / 8]]), bound)
    assert hits.tolist() == [[1, 1, 0, 0]]


def test_squared_error_of_one_output_by_hand(ops):
    logits = np.array([2, 0.5, 0.5, -1]).reshape(1, 4, 1)
    row_loss, dlogits, hits = evaluated(ops, "squared_error", logits, [[1, 1, 0, 0]])
    np.testing.assert_array_equal(row_loss, [[1, 0.25, 0.25, 1]])
    np.testing.assert_array_equal(dlogits[..., 0], [[0.5, -0.25, 0.25, -0.5]])  # 2 (z - t) / 4
    assert hits.tolist() == [[1, 0, 1, 1]]  # 1 is predicted above one half only


def test_squared_error_of_targets_by_hand(ops):
    logits, targets = ops.asarray([[[1, 3], [0, 2]]]), ops.asarray([[[0.5, 5], [-2, 2]]])
    row_loss, hits = Guarded(ops, (1, 2)), Guarded(ops, (1, 2), np.uint8)
    dlogits = Guarded(ops, (1, 2, 2))
    with unchanged(ops, logits, targets):
        ops.squared_error(logits, targets, row_loss.array, hits.array, dlogits.array)
    np.testing.assert_array_equal(row_loss.result(), [[2.125, 2]])  # the mean of 0.25, 4; of 4, 0
    np.testing.assert_array_equal(dlogits.result(), [[[0.25, -1], [1, 0]]])  # 2 (z - t) / (2 outputs * 2 rows)
    assert not hits.result().any()


def test_squared_error_of_two_outputs_by_hand(ops):
    row_loss, dlogits, hits = evaluated(ops, "squared_error", [[[1, 3], [0, 2]], [[5, 5], [5, 5]]], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(row_loss, [[4.5, 0.5], [20.5, 20.5]])  # the mean of 0, 9; of 0, 1; of 16, 25
    # 2 (z - t) / (2 outputs * 2 rows)
    np.testing.assert_array_equal(dlogits, [[[0, 1.5], [0, 0.5]], [[2, 2.5], [2.5, 2]]])
    assert hits.tolist() == [[0, 1], [1, 0]]  # the first of the largest


# Against a hundred and thirty digits


def shortened(number: Decimal) -> np.longdouble:
    """A decimal as a longdouble; what neither type can tell from zero is zero."""
    return np.longdouble(str(number) if abs(number) > Decimal("1e-320") else 0)


def decimal_softmax(z, label):
    """(loss, gradients, shares p, distances |z_j - max z|) of one row."""
    largest = max(z)
    e = [(each - largest).exp() for each in z]
    total = sum(e)
    shares = [each / total for each in e]
    rest = sum(share for j, share in enumerate(shares) if j != label)
    gradients = [-rest if j == label else share for j, share in enumerate(shares)]
    loss = total.ln() + largest - z[label]
    return loss, gradients, shares, [largest - each for each in z]


def test_softmax_cross_entropy_is_right_at_any_logits(ops):
    """Each combination of three of these logits, and each label.

    What cannot be had better: z_j - max z is rounded once, which moves exp of it by |z_j - max z| times half an eps.
    """
    logits = np.array(list(product(LOGITS, repeat=3)), ops.dtype)
    logits, labels = np.repeat(logits, 3, axis=0), np.tile(np.arange(3), len(logits))
    row_loss, dlogits, hits = evaluated(ops, "softmax_cross_entropy", logits[:, None], labels[:, None])

    losses, gradients = np.empty(row_loss.shape, np.longdouble), np.empty(dlogits.shape, np.longdouble)
    loss_bound, gradient_bound = np.empty_like(losses), np.empty_like(gradients)
    with localcontext(Context(prec=DIGITS)):
        for row, label in enumerate(labels):
            z = [Decimal(float(each)) for each in logits[row]]
            loss, gradient, shares, distances = decimal_softmax(z, label)
            losses[row], gradients[row, 0] = shortened(loss), [shortened(each) for each in gradient]
            moved = [float(share * distance) for share, distance in zip(shares, distances, strict=True)]
            loss_bound[row] = LOSS * losses[row] + sum(moved)
            for j, (share, distance) in enumerate(zip(shares, distances, strict=True)):
                # Of the label's own, which is -rest / total, both sums move; of any other its exp and the total.
                own = sum(moved) - moved[j] if j == label else float(share * distance)
                gradient_bound[row, 0, j] = LOSS * abs(gradients[row, 0, j]) + own + float(share) * sum(moved)
    assert_within(row_loss, losses, eps(ops.dtype) * loss_bound + tiny(ops.dtype))
    assert_within(dlogits, gradients, eps(ops.dtype) * gradient_bound + tiny(ops.dtype))
    np.testing.assert_array_equal(hits[:, 0], logits.argmax(axis=1) == labels)


def test_binary_cross_entropy_is_right_at_any_logits(ops):
    logits, labels = np.repeat(np.array(LOGITS, ops.dtype), 2), np.tile([0, 1], len(LOGITS))
    row_loss, dlogits, hits = evaluated(ops, "binary_cross_entropy", logits[:, None, None], labels[:, None])
    with localcontext(Context(prec=DIGITS)):
        s = [Decimal(float(z)) * (1 - 2 * int(y)) for z, y in zip(logits, labels, strict=True)]
        losses = [shortened(max(each, Decimal(0)) + (1 + (-abs(each)).exp()).ln()) for each in s]
        slopes = [shortened(1 / (1 + (-each).exp())) for each in s]
    losses, slopes = np.array(losses)[:, None], (np.array(slopes) * (1 - 2 * labels))[:, None, None]
    assert_within(row_loss, losses, LOSS * eps(ops.dtype) * losses + tiny(ops.dtype))
    assert_within(dlogits, slopes, LOSS * eps(ops.dtype) * abs(slopes) + tiny(ops.dtype))
    np.testing.assert_array_equal(hits[:, 0], (logits > 0) == labels)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_squared_error_is_right_at_any_logits(ops, outputs):
    logits = np.array(list(product(LOGITS, repeat=outputs)), ops.dtype)
    classes = max(2, outputs)
    logits, labels = np.repeat(logits, classes, axis=0), np.tile(np.arange(classes), len(logits))
    row_loss, dlogits, _ = evaluated(ops, "squared_error", logits[:, None], labels[:, None])
    targets = labels[:, None] if outputs == 1 else np.eye(outputs, dtype=int)[labels]
    errors = [
        [Fraction(float(z)) - int(t) for z, t in zip(*pair, strict=True)] for pair in zip(logits, targets, strict=True)
    ]
    losses = np.array([[float(sum(e * e for e in row) / outputs)] for row in errors])
    gradients = np.array([[[float(2 * e / outputs) for e in row]] for row in errors])
    assert_few_roundings(ops, row_loss, losses)
    assert_few_roundings(ops, dlogits, gradients)


# Whatever the shape


@pytest.mark.parametrize("shape", shapes.LOGITS, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_right_at_any_shape(ops, loss, shape):
    networks, rows, classes = shape
    outputs = 1 if loss == "binary_cross_entropy" else classes
    z = normal(ops, (networks, rows, outputs), 1, 3.0)
    labels = np.random.default_rng(2).integers(0, max(2, outputs), (networks, rows))
    row_loss, dlogits, hits = evaluated(ops, loss, ops.to_host(z), labels)
    z = exact(ops, z)
    onehot = labels[..., None] == np.arange(outputs)
    if loss == "softmax_cross_entropy":
        p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        losses, gradients = -np.log((p * onehot).sum(axis=-1)), p - onehot
    elif loss == "binary_cross_entropy":
        p = 1 / (1 + np.exp(-z[..., 0]))
        losses, gradients = -np.log(np.where(labels, p, 1 - p)), (p - labels)[..., None]
    else:
        losses, gradients = ((z - onehot) ** 2).mean(axis=-1), 2 * (z - onehot) / outputs
    predicted = z.argmax(axis=-1) if outputs > 1 else z[..., 0] > 0
    spread = abs(z).max() * 2 + outputs  # exponents are rounded, and so many terms are summed
    assert_within(row_loss, losses, (LOSS + spread) * eps(ops.dtype) * np.maximum(1, losses))
    assert_within(dlogits, gradients / rows, (LOSS + spread) * eps(ops.dtype) * np.maximum(1, abs(gradients)) / rows)
    np.testing.assert_array_equal(hits, predicted == labels)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_shares_has_the_gradient_of_the_weighted_mean(ops, loss):
    """Each row's gradient, taken alone, times its share; losses and hits are no others."""
    outputs = 1 if loss == "binary_cross_entropy" else 3
    logits, labels = ops.to_host(normal(ops, (2, 5, outputs), 1, 3.0)), np.arange(10).reshape(2, 5) % 2
    shares = ops.asarray(np.random.default_rng(4).uniform(0, 1, (2, 9)))[:, 2:7]
    dlogits = Guarded(ops, logits.shape)
    places = [ops.zeros((2, 9), kind)[:, 2:7] for kind in (None, np.uint8)]
    arrays = ops.asarray(logits), ops.asarray(labels, np.int32)
    with unchanged(ops, *arrays, shares):
        getattr(ops, loss)(*arrays, *places, dlogits.array, shares)
    row_loss, plain, hits = evaluated(ops, loss, logits, labels)
    expected = plain.astype(np.longdouble) * 5 * exact(ops, shares)[..., None]
    assert_within(dlogits.result(), expected, 2 * LOSS * eps(ops.dtype) * abs(expected))
    assert_within(ops.to_host(places[0]), row_loss, LOSS * eps(ops.dtype) * row_loss)
    np.testing.assert_array_equal(ops.to_host(places[1]), hits)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_writes_into_parts_of_longer_rows(ops, loss):
    """A batch's losses go to its place among an epoch's: views whose rows lie apart."""
    outputs = 1 if loss == "binary_cross_entropy" else 3
    logits, labels = normal(ops, (3, 5, outputs), 1), ops.asarray(np.arange(15).reshape(3, 5) % 2, np.int32)
    whole_loss, whole_hits = Guarded(ops, (3, 12)), Guarded(ops, (3, 12), np.uint8)
    getattr(ops, loss)(logits, labels, whole_loss.array[:, 4:9], whole_hits.array[:, 4:9])
    row_loss, _, hits = evaluated(ops, loss, ops.to_host(logits), ops.to_host(labels), gradient=False)
    written = whole_loss.result()
    assert_same_bits(written[:, 4:9], row_loss)
    assert np.isnan(np.delete(written, range(4, 9), axis=1)).all()
    assert_same_bits(whole_hits.result()[:, 4:9], hits)
    assert (np.delete(whole_hits.result(), range(4, 9), axis=1) == 77).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_the_same_without_a_gradient(ops, loss):
    logits = np.random.default_rng(1).normal(0, 3, (2, 33, 1 if loss == "binary_cross_entropy" else 4))
    labels = np.arange(66).reshape(2, 33) % 2
    with_it, without = (evaluated(ops, loss, logits, labels, gradient=flag) for flag in (True, False))
    assert_same_bits(without[0], with_it[0])
    assert_same_bits(without[2], with_it[2])


def test_softmax_cross_entropy_gradients_of_a_row_add_up_to_nothing(ops):
    """Shifting all logits of a row changes no loss."""
    logits = np.random.default_rng(1).normal(0, 10, (1, 50, 7))
    _, dlogits, _ = evaluated(ops, "softmax_cross_entropy", logits, np.arange(50)[None] % 7)
    assert_within(dlogits.sum(axis=-1), np.zeros((1, 50)), ELEMENTARY * eps(ops.dtype) / 50)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("place", ["label", "elsewhere"])
def test_loss_of_a_row_with_nan_is_nan_and_no_hit(ops, loss, place):
    outputs = 1 if loss == "binary_cross_entropy" else 3
    logits = np.random.default_rng(1).normal(0, 1, (2, 4, outputs))
    labels = np.zeros((2, 4), int)
    good = evaluated(ops, loss, logits, labels)
    logits[1, 2, 0 if place == "label" else -1] = np.nan
    for label in range(2):  # whichever class a NaN happens to be taken for
        labels[1, 2] = label
        row_loss, dlogits, hits = evaluated(ops, loss, logits, labels)
        assert np.isnan(row_loss[1, 2]) and hits[1, 2] == 0
        assert np.isnan(dlogits[1, 2]).any()
        others = np.ones((2, 4), bool)
        others[1, 2] = False
        for array, before in zip((row_loss, dlogits, hits), good, strict=True):
            assert_same_bits(array[others], before[others])
