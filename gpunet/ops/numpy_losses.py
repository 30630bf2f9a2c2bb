"""Losses in NumPy: from logits to row losses, the gradient of the logits, and hits, in one go.

Each function has the same parameters:

logits: ``[P, B, C]``, C-contiguous. labels: integers ``[P, B]``. row_loss: ``[P, B]``, written. hits: uint8 ``[P, B]``,
written: 1 where the prediction is the label (0 where a logit is NaN). dlogits: ``[P, B, C]``, the gradient of the
mean loss over the B rows, written; None when only losses are wanted. scratch: a `Scratch`. shares: ``[P, B]``, by what
share each row counts in a weighted mean, or None where all count alike, 1 / B; row losses and hits are as without.
"""

from __future__ import annotations

import numpy as np

from gpunet.ops.scratch import Scratch


def softmax_cross_entropy(logits, labels, row_loss, hits, dlogits, scratch: Scratch, shares=None) -> None:
    """loss = log sum_j exp(z_j - z_y), d loss / dz = softmax(z) - onehot(y), for C >= 2 classes.

    Nothing overflows, since the row's maximum is subtracted, and nothing cancels: with e_j = exp(z_j - max z) and
    rest = sum of e_j over j != y, the loss is (max z - z_y) + log1p(rest + (e_y - 1)), where e_y - 1 is exactly zero
    when y is the maximum; and the target's gradient p_y - 1 is -rest / (rest + e_y).
    """
    rows, classes = labels.shape, logits.shape[-1]
    first = scratch.row_starts(rows, classes)  # where each row begins in the flat logits
    target = np.add(first, labels, out=scratch("target", rows, np.intp))
    largest = np.argmax(logits, axis=-1, out=scratch("largest", rows, np.intp))
    np.equal(largest, labels, out=hits)
    np.add(first, largest, out=largest)
    z_max = logits.take(largest, out=scratch("z_max", rows, logits.dtype), mode="clip")
    np.multiply(hits, np.equal(z_max, z_max, out=scratch("is_number", rows, np.bool_)), out=hits)

    e = scratch("e", logits.shape, logits.dtype) if dlogits is None else dlogits
    np.subtract(logits, z_max[..., None], out=e)
    np.exp(e, out=e)
    e_target = e.take(target, out=scratch("e_target", rows, e.dtype), mode="clip")
    e.reshape(-1)[target] = 0
    rest = np.add.reduce(e, axis=-1, out=scratch("rest", rows, e.dtype))

    z_target = logits.take(target, out=scratch("z_target", rows, logits.dtype), mode="clip")
    np.subtract(e_target, 1, out=row_loss)
    np.add(row_loss, rest, out=row_loss)
    np.log1p(row_loss, out=row_loss)
    np.subtract(z_max, z_target, out=z_max)
    np.add(row_loss, z_max, out=row_loss)

    if dlogits is not None:
        factor = np.add(rest, e_target, out=e_target)
        if shares is None:
            np.multiply(factor, rows[1], out=factor)
            np.reciprocal(factor, out=factor)
        else:
            np.divide(shares, factor, out=factor)
        np.multiply(dlogits, factor[..., None], out=dlogits)
        np.negative(rest, out=rest)
        dlogits.reshape(-1)[target] = np.multiply(rest, factor, out=rest)


def binary_cross_entropy(logits, labels, row_loss, hits, dlogits, scratch: Scratch, shares=None) -> None:
    """loss = softplus(s), d loss / dz = sign * sigmoid(s), with s = z for label 0 and s = -z for label 1; C = 1.

    Both come from e = exp(-|s|), which never overflows: softplus(s) = max(s, 0) + log1p(e), and
    sigmoid(s) = (1 if s > 0 else e) / (1 + e). The prediction is 1 where z > 0, a probability above one half.
    """
    rows, dtype = labels.shape, logits.dtype
    signs, largest_hit, zero, one, minus_one = _BINARY_CONSTANTS[dtype]
    sign = signs.take(labels, out=scratch("sign", rows, dtype), mode="clip")
    s = np.multiply(logits[..., 0], sign, out=scratch("s", rows, dtype))
    t = largest_hit.take(labels, out=scratch("t", rows, dtype), mode="clip")
    np.less(s, t, out=hits.view(np.bool_))
    e = np.copysign(s, minus_one, out=scratch("e", rows, dtype))
    np.exp(e, out=e)
    np.log1p(e, out=row_loss)
    np.maximum(s, zero, out=t)
    np.add(row_loss, t, out=row_loss)
    if dlogits is not None:
        np.subtract(s, t, out=t)  # min(s, 0), whose exponential is 1 or e
        np.exp(t, out=t)
        np.add(e, one, out=e)
        np.divide(t, e, out=t)
        if shares is not None:
            np.multiply(sign, shares, out=sign)
        elif rows[1] > 1:
            np.multiply(sign, 1 / rows[1], out=sign)
        np.multiply(t, sign, out=dlogits[..., 0])


# For labels 0 and 1: the sign of s, and what s stays below in a hit: z = 0 predicts class 0, so there s = 0 is one.
# Then 0, 1 and -1 as arrays, since NumPy takes longer to convert a Python number than to compute with a few of its
# own.
_BINARY_CONSTANTS = {
    np.dtype(kind): (
        np.array([1, -1], kind),
        np.array([np.finfo(kind).smallest_subnormal, 0], kind),
        *(np.array(value, kind) for value in (0, 1, -1)),
    )
    for kind in (np.float32, np.float64)
}

# The sign of s for labels 0 and 1.
SIGNS = {kind: constants[0] for kind, constants in _BINARY_CONSTANTS.items()}


def squared_error(logits, labels, row_loss, hits, dlogits, scratch: Scratch, shares=None) -> None:
    """loss = mean over the C outputs of (z - t)^2, as PyTorch's MSELoss; t is the label itself for C = 1, else one-hot.

    The prediction is the largest output, or for C = 1 whether it is above one half. Where labels are targets
    themselves, float ``[P, B, C]``, there are no hits.
    """
    rows, outputs = labels.shape[:2], logits.shape[-1]
    error = scratch("e", logits.shape, logits.dtype) if dlogits is None else dlogits
    np.copyto(error, logits)
    if labels.ndim == 3:
        hits[:] = 0
        np.subtract(error, labels, out=error)
    elif outputs == 1:
        np.equal(np.greater(logits[..., 0], 0.5, out=scratch("is_one", rows, np.bool_)), labels, out=hits)
        np.subtract(error[..., 0], labels, out=error[..., 0], casting="same_kind")
    else:
        target = np.add(scratch.row_starts(rows, outputs), labels, out=scratch("target", rows, np.intp))
        np.equal(np.argmax(logits, axis=-1, out=scratch("largest", rows, np.intp)), labels, out=hits)
        error.reshape(-1)[target] -= 1
    square = np.multiply(error, error, out=scratch("square", logits.shape, logits.dtype))
    np.add.reduce(square, axis=-1, out=row_loss)
    np.multiply(row_loss, 1 / outputs, out=row_loss)
    np.multiply(hits, np.equal(row_loss, row_loss, out=scratch("is_number", rows, np.bool_)), out=hits)
    if dlogits is not None:
        np.multiply(dlogits, 2 / (outputs * (rows[1] if shares is None else 1)), out=dlogits)
        if shares is not None:
            np.multiply(dlogits, shares[..., None], out=dlogits)


LOSSES = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
}
