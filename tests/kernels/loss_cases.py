"""Rows of logits as the losses' kernels are handed them, what NumpyOps makes of them, and how far a kernel may be off.

The oracle takes the kernels' own float32 logits and computes in float64.
"""

from __future__ import annotations

import inspect
import types
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from tolerances import assert_within

from gpunet.equivalence.tolerances import loss_bounds
from gpunet.kernels.launch import SIMULATOR, GatheredLabels
from gpunet.ops import NumpyOps

GUARD = 5
SENTINEL = 77

simulator_only = pytest.mark.skipif(not SIMULATOR, reason="plants faults that only the simulator runs")


class Results(NamedTuple):
    """row_loss and hits ``[P, B]``, dlogits ``[P, B, C]`` or None."""

    row_loss: np.ndarray
    hits: np.ndarray
    dlogits: np.ndarray | None


class Flat:
    """A flat array to be written to, with a guard behind each network's part, which begins every `pitch` elements."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, pitch: int | None = None) -> None:
        self.shape, self.pitch = shape, pitch or int(np.prod(shape[1:]))
        self.array = np.full(shape[0] * self.pitch + GUARD, SENTINEL, dtype)

    def result(self) -> np.ndarray:
        """What was written, once it is certain that nothing was written beside it."""
        networks, width = self.shape[0], int(np.prod(self.shape[1:]))
        rows = self.array[: networks * self.pitch].reshape(networks, self.pitch)
        assert (self.array[networks * self.pitch :] == SENTINEL).all() and (rows[:, width:] == SENTINEL).all()
        return rows[:, :width].reshape(self.shape)


class Labels:
    """Labels of P x B rows, drawn from a data set of 11 rows, some of them repeatedly."""

    def __init__(self, networks: int, rows: int, classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        pitch = rows + 2
        self.data_set = rng.integers(0, max(2, classes), 11).astype(np.int32)
        row_numbers = rng.integers(0, 11, (networks, pitch)).astype(np.int32)
        self.gathered = GatheredLabels(self.data_set, row_numbers.reshape(-1), pitch)
        self.values = self.data_set[row_numbers[:, :rows]]
        self.plain = self.values.reshape(-1).copy()


def logits_of(networks: int, rows: int, classes: int, seed: int = 0, scale: float = 3) -> np.ndarray:
    """Normal logits, of which some rows have large ones and some are all alike."""
    rng = np.random.default_rng(seed + 1)
    logits = rng.standard_normal((networks, rows, classes)) * scale
    logits[:, ::5] *= 20
    logits[:, 3::7] = 0.25
    return logits.astype(np.float32)


def shares_of(networks: int, rows: int, seed: int = 0) -> np.ndarray:
    """By what shares P x B rows count in their batches' losses, which add up to 1 only about: float32 ``[P, B]``."""
    weights = np.random.default_rng(seed + 2).uniform(0.01, 5, (networks, rows))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def padded(array: np.ndarray | None, pitch: int) -> np.ndarray | None:
    """Rows ``[P, B]`` one after another, each with NaN up to its pitch."""
    if array is None:
        return None
    whole = np.full((len(array), pitch), np.nan, array.dtype)
    whole[:, : array.shape[1]] = array
    return whole.reshape(-1)


def run_loss(
    launcher: Any,
    logits: np.ndarray,
    labels: Any,
    variant: str | None = None,
    *,
    gradient: bool = True,
    shares: np.ndarray | None = None,
) -> Results:
    """What a loss's launcher makes of logits ``[P, B, C]``, into rows of losses that are longer than the batch."""
    networks, rows, classes = logits.shape
    pitch = rows + 3
    row_loss, hits = Flat((networks, rows), np.float32, pitch), Flat((networks, rows), np.uint8, pitch)
    dlogits = Flat(logits.shape, np.float32)
    launcher(
        logits.reshape(-1).copy(),
        labels,
        row_loss.array,
        hits.array,
        dlogits.array if gradient else None,
        networks=networks,
        rows=rows,
        classes=classes,
        loss_pitch=pitch,
        shares=padded(shares, pitch),
        variant=variant,
    )
    return Results(row_loss.result(), hits.result(), dlogits.result() if gradient else None)


def oracle(name: str, logits: np.ndarray, labels: np.ndarray, shares: np.ndarray | None = None) -> Results:
    logits, shares = logits.astype(np.float64), None if shares is None else shares.astype(np.float64)
    results = Results(np.empty(labels.shape), np.empty(labels.shape, np.uint8), np.empty(logits.shape))
    getattr(NumpyOps(np.float64), name)(logits, labels, *results, shares)
    return results


def bounds(name: str, logits: np.ndarray, labels: np.ndarray, expected: Results) -> tuple[np.ndarray, np.ndarray]:
    """How far a row's loss and a logit's gradient may be off."""
    return loss_bounds(name, logits.astype(np.float64), labels, expected.row_loss, expected.dlogits)


def assert_equals_oracle(
    name: str, logits: np.ndarray, labels: np.ndarray, actual: Results, shares: np.ndarray | None = None
) -> None:
    expected = oracle(name, logits, labels, shares)
    loss_bound, gradient_bound = bounds(name, logits, labels, expected)
    np.testing.assert_array_equal(actual.hits, expected.hits)
    assert_within(actual.row_loss, expected.row_loss, loss_bound)
    if actual.dlogits is not None:
        assert_within(actual.dlogits, expected.dlogits, gradient_bound)


def mutant(name: str, old: str, new: str) -> types.ModuleType:
    """The module gpunet.kernels.<name> with one piece of its source replaced."""
    source = inspect.getsource(import_module(f"gpunet.kernels.{name}"))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
    module = types.ModuleType(f"mutant_of_{name}")
    exec(compile(source.replace(old, new), module.__name__, "exec"), module.__dict__)
    return module
