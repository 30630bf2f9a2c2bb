"""Softmax and cross-entropy: loss = log sum_j exp(z_j - z_y), d loss / dz = softmax(z) - onehot(y), for C >= 2 classes.

Nothing overflows, since the row's maximum is subtracted, and nothing cancels. With e_j = exp(z_j - max z) and
rest = the sum of e_j over j != y:

    loss          = (max z - z_y) + log1p(rest + (e_y - 1))     where e_y - 1 is exactly zero when y is the maximum
    d loss / dz_j = e_j / (rest + e_y) / B                      and for the label -rest / (rest + e_y) / B, not p - 1

where a row's own share in a weighted mean may take the place of 1 / B.

Loss, hits and gradient are one kernel, so that the logits are read once. Shapes, bytes and variants: row_losses.py.
"""

import math
from typing import Any

from numba import cuda, float32

from gpunet.kernels import row_losses
from gpunet.kernels.launch import GatheredLabels, ReportCase
from gpunet.kernels.row_losses import RowLoss


@cuda.jit(device=True)
def exponential(z, z_max, target):
    return float32(math.exp(z - z_max))


@cuda.jit(device=True)
def others_only(e, target):
    return float32(0) if target > float32(0) else e


@cuda.jit(device=True)
def add(rest, e):
    return rest + e


@cuda.jit(device=True)
def row_loss_of(rest, z_max, z_target, e_target, classes):
    return (z_max - z_target) + float32(math.log1p(rest + (e_target - float32(1))))


@cuda.jit(device=True)
def inverse_total(rest, e_target, share, classes):
    return share / (rest + e_target)


@cuda.jit(device=True)
def logit_gradient(e, target, rest, factor):
    return (-rest if target > float32(0) else e) * factor


LOSS = RowLoss("softmax_cross_entropy", True, exponential, others_only, add, row_loss_of, inverse_total, logit_gradient)


def softmax_cross_entropy(
    logits: Any,
    labels: Any | GatheredLabels,
    row_loss: Any,
    hits: Any,
    dlogits: Any | None,
    *,
    networks: int,
    rows: int,
    classes: int,
    loss_pitch: int,
    shares: Any | None = None,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """Write row losses, hits and, unless dlogits is None, the gradient of the mean loss over a network's rows.

    logits and dlogits: float32 ``[P, B, C]``, flat. labels: int32 ``[P, B]``, flat, or `GatheredLabels`. row_loss:
    float32, hits: uint8, flat, network p's row b at p * loss_pitch + b. networks, rows, classes: P, B, C. shares:
    float32, in the places of row_loss, for the gradient of a weighted mean instead. variant: a key of
    `row_losses.VARIANTS`, by default chosen by C.
    """
    row_losses.launch(
        LOSS,
        logits,
        labels,
        row_loss,
        hits,
        dlogits,
        networks=networks,
        rows=rows,
        classes=classes,
        loss_pitch=loss_pitch,
        shares=shares,
        variant=variant,
        stream=stream,
    )


def report_cases() -> list[ReportCase]:
    return row_losses.report_cases_of(LOSS, (2, 10, 32, 1000))
