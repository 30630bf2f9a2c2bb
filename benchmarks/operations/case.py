"""What a case of bench_kernels.py is, and what all cases draw.

A case draws its inputs on the host, lays them where any backend computes, says what comes out (in float64, and within
which bounds), writes the same in CuPy, and counts the operations and bytes of which there is no way round. All are of
one network, P = 1. B rows, I inputs, O outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunet.ops import Batch, NumpyOps
from operations.bounds import Expected
from operations.in_cupy import gathered_in_cupy

DATA_SET_ROWS = 5000  # as many as the reports' images
FLOAT = 4  # bytes

Inputs = dict[str, np.ndarray]


class Prepared(NamedTuple):
    """An operation on arrays that are in place: the calls that make it, and what they write. product: the matrix
    product alone, where there is one."""

    launches: tuple[Callable[[], Any], ...]
    results: dict[str, Any]
    product: Callable[[], Any] | None = None


class Case(ABC):
    """kernel: the operation's name. shape: its sizes. detail: what else there is to know; "gathered" stands for rows
    of bytes, taken from a data set."""

    kernel: str

    @property
    def title(self) -> str:
        return f"{self.kernel} {self.shape}"

    @property
    @abstractmethod
    def shape(self) -> str: ...

    @property
    def detail(self) -> str:
        return ""

    @property
    @abstractmethod
    def flops(self) -> int:
        """Floating-point operations, a multiply-add as two; of activations none."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """What has to be read once and written once."""

    @property
    def largest_product(self) -> int:
        """Multiply-adds of the largest matrix product."""
        return 0

    @abstractmethod
    def draw(self) -> Inputs:
        """Host arrays, float32 but for images, labels and row numbers; the same ones every time."""

    @abstractmethod
    def on(self, ops: Any, inputs: Inputs) -> Prepared: ...

    @abstractmethod
    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        """What comes out, computed in float64 from the same inputs."""

    @abstractmethod
    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        """The same as a user of CuPy would write it, on arrays without the axis P."""


EXACT = NumpyOps(np.float64)


def exactly(case: Case, inputs: Inputs) -> dict[str, np.ndarray]:
    """What an operation writes, computed by NumpyOps in float64."""
    prepared = case.on(EXACT, inputs)
    for launch in prepared.launches:
        launch()
    return prepared.results


def by(*sizes: int) -> str:
    return " x ".join(map(str, sizes))


# Inputs


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal((1, *shape), np.float32)


def drawn_weight(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    return normal(rng, inputs, outputs) / np.float32(np.sqrt(inputs))


def drawn_data_set(rng: np.random.Generator, rows: int, inputs: int, classes: int) -> Inputs:
    """A batch of different rows of a data set of bytes."""
    count = max(DATA_SET_ROWS, rows)
    return {
        "images": rng.integers(0, 256, (count, inputs), np.uint8),
        "labels": rng.integers(0, max(2, classes), count).astype(np.int32),
        "rows": rng.permutation(count)[None, :rows].astype(np.int32),
    }


def batch_on(ops: Any, inputs: Inputs) -> Batch:
    """The batch, gathered where the backend gathers."""
    images, scale = ops.images(inputs["images"])
    rows = inputs["rows"]
    x, y = ops.gather_buffers(*rows.shape, inputs["images"].shape[1])
    labels, rows = ops.asarray(inputs["labels"], np.int32), ops.asarray(rows, np.int32)
    batch = Batch(images, labels, rows, scale, x, y)
    ops.gather(batch)
    return batch


def gathered_input(inputs: Inputs) -> np.ndarray:
    """float32 ``[1, B, I]``"""
    return inputs["images"][inputs["rows"]] * np.float32(1 / 255)


def gathered_bytes(rows: int, inputs: int) -> int:
    return rows * (-(-inputs // 4) * 4 + FLOAT)  # whole words, and the row's number


def first_input_in_cupy(xp: Any, inputs: Inputs) -> tuple[Any, tuple[Callable[[], Any]]]:
    """Where a batch is gathered, and the call that gathers it."""
    images, rows = xp.asarray(inputs["images"]), xp.asarray(inputs["rows"][0])
    x = xp.zeros((len(rows), images.shape[1]), "float32")
    gather = partial(gathered_in_cupy, images, rows, x)
    gather()
    return x, (gather,)
