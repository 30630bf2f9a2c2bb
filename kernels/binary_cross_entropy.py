"""Sigmoid and cross-entropy on one logit: with s = z for label 0 and s = -z for label 1,

    loss        = softplus(s)          = max(s, 0) + log1p(e)               where e = exp(-|s|) never overflows
    d loss / dz = sign * sigmoid(s) / B, sigmoid(s) = (1 if s > 0 else e) / (1 + e)

so that for label 1 it is -sigmoid(-z), not sigmoid(z) - 1, which cancels. The prediction is 1 where z > 0, a
probability above one half. A row's own share in a weighted mean may take the place of 1 / B. Loss, hit and gradient are
one kernel. Shapes, bytes and variants: row_losses.py.
"""

import math
from typing import Any

from numba import cuda, float32, uint32

from gpunet.kernels import row_losses
from gpunet.kernels.launch import GatheredLabels, ReportCase
from gpunet.kernels.row_losses import RowLoss


@cuda.jit(device=True)
def signed_logit(z, z_max, target):
    return -z if target > float32(0) else z


@cuda.jit(device=True)
def nothing(s, target):
    return float32(0)


@cuda.jit(device=True)
def no_sum(total, addend):
    return total


@cuda.jit(device=True)
def softplus(total, z_max, z, s, classes):
    # not max(s, 0), which would turn a NaN into zero and hide it
    return (float32(0) if s < float32(0) else s) + float32(math.log1p(float32(math.exp(-abs(s)))))


@cuda.jit(device=True)
def mean_factor(total, s, share, classes):
    return share


@cuda.jit(device=True)
def logit_gradient(s, target, total, factor):
    e = float32(math.exp(-abs(s)))
    share = (float32(1) if s > float32(0) else e) / (float32(1) + e)
    return share * (-factor if target > float32(0) else factor)


@cuda.jit(device=True)
def is_hit(z, label):
    return z > float32(0) if label == uint32(1) else z <= float32(0)


LOSS = RowLoss(
    "binary_cross_entropy", False, signed_logit, nothing, no_sum, softplus, mean_factor, logit_gradient, is_hit
)


def binary_cross_entropy(
    logits: Any,
    labels: Any | GatheredLabels,
    row_loss: Any,
    hits: Any,
    dlogits: Any | None,
    *,
    networks: int,
    rows: int,
    classes: int = 1,
    loss_pitch: int,
    shares: Any | None = None,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """As `softmax_cross_entropy`, with labels 0 and 1 and classes = 1, the number of logits a row."""
    if classes != 1:
        raise ValueError(f"binary_cross_entropy is for one logit a row, not {classes}")
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
    return row_losses.report_cases_of(LOSS, (1,))
