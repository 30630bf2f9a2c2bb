"""Squared error, as PyTorch's MSELoss: with the target t, one-hot for C >= 2 outputs and the label itself for C = 1,

    loss          = sum_j (z_j - t_j)^2 / C
    d loss / dz_j = 2 (z_j - t_j) / (B C)

where a row's own share in a weighted mean may take the place of 1 / B. The prediction is the largest output, or for
C = 1 whether it is above one half. Loss, hits and gradient are one kernel. Shapes, bytes and variants: row_losses.py.
"""

from typing import Any

from numba import cuda, float32, uint32

from gpunet.kernels import row_losses
from gpunet.kernels.launch import GatheredLabels, ReportCase
from gpunet.kernels.row_losses import RowLoss


@cuda.jit(device=True)
def error_of(z, z_max, target):
    return z - target


@cuda.jit(device=True)
def all_errors(error, target):
    return error


@cuda.jit(device=True)
def add_square(total, error):
    return cuda.fma(error, error, total)


@cuda.jit(device=True)
def mean_square(total, z_max, z_target, error_target, classes):
    return total / float32(classes)


@cuda.jit(device=True)
def mean_factor(total, error_target, share, classes):
    return float32(2) * share / float32(classes)


@cuda.jit(device=True)
def logit_gradient(error, target, total, factor):
    return error * factor


@cuda.jit(device=True)
def is_hit(z, label):
    return z > float32(0.5) if label == uint32(1) else (z <= float32(0.5)) & (label == uint32(0))


LOSS = RowLoss(
    "squared_error", False, error_of, all_errors, add_square, mean_square, mean_factor, logit_gradient, is_hit
)


def squared_error(
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
    """As `softmax_cross_entropy`, for any number of outputs C = classes."""
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
    return row_losses.report_cases_of(LOSS, (1, 10, 1000))
