"""Dense layers as their kernels are handed them: flat arrays in which everything that must not be read is NaN."""

from __future__ import annotations

import inspect
import sys
import types
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from tolerances import ELEMENTARY, assert_within, eps, sum_bound

from gpunet import counter_rng
from gpunet.kernels.launch import SIMULATOR, DropoutArrays, Gathered, StepCounter, ceil_div
from gpunet.ops import Dropout, NumpyOps, Step
from gpunet.parameters import ParameterLayout

simulator_only = pytest.mark.skipif(not SIMULATOR, reason="plants faults that only the simulator runs")

DATA_SET = 23  # rows of it
EPOCH, INDEX, PER_EPOCH, LAYER = 2, 3, 5, 1  # the step at which dropout draws
FLOAT32 = np.dtype(np.float32)
EXACT = NumpyOps(np.float64)


class Layer:
    """Weights and biases ``[P, I, O]`` and ``[P, O]`` of the second of two layers, amid NaN."""

    def __init__(self, networks: int, inputs: int, outputs: int, seed: int = 0) -> None:
        layout = ParameterLayout((3, inputs, outputs))
        self.parameters = np.full((networks, layout.length), np.nan, np.float32)
        self.weight, self.bias = layout.views(self.parameters)[1]
        rng = np.random.default_rng(seed)
        self.weight[:] = rng.standard_normal(self.weight.shape)
        self.bias[:] = rng.standard_normal(self.bias.shape)
        self.pitch, self.slots = layout.length, layout.layers[1]

    @property
    def flat_weight(self) -> np.ndarray:
        return self.parameters.reshape(-1)[self.slots.weight :]

    @property
    def flat_bias(self) -> np.ndarray:
        return self.parameters.reshape(-1)[self.slots.bias :]

    def only(self, network: int) -> Layer:
        """The layer of one network of the population."""
        alone = object.__new__(Layer)
        alone.parameters = self.parameters[network : network + 1].copy()
        alone.weight, alone.bias = self.weight[network : network + 1], self.bias[network : network + 1]
        alone.pitch, alone.slots = self.pitch, self.slots
        return alone


def byte_rows(networks: int, rows: int, inputs: int, seed: int = 0) -> tuple[Gathered, np.ndarray]:
    """Rows of bytes, permuted and repeated, and what they are worth, float64 ``[P, B, I]``.

    A row of the data set ends with a word that has nothing to do with it.
    """
    rng = np.random.default_rng(seed)
    words = ceil_div(inputs, 4)
    images = np.zeros((DATA_SET, 4 * (words + 1)), np.uint8)
    images[:, :inputs] = rng.integers(0, 256, (DATA_SET, inputs))
    images[:, 4 * words :] = 255
    numbers = rng.integers(0, DATA_SET, (networks, rows + 2)).astype(np.int32)
    x = Gathered(images.view(np.uint32).reshape(-1), words + 1, numbers.reshape(-1), rows + 2, 1 / 255)
    return x, images[numbers[:, :rows], :inputs].astype(np.float64) * float(np.float32(1 / 255))


def image_rows(networks: int, rows: int, inputs: int, seed: int = 0) -> tuple[Gathered, np.ndarray]:
    """Rows of floats likewise, with NaN behind each."""
    rng = np.random.default_rng(seed)
    images = np.full((DATA_SET, inputs + 3), np.nan, np.float32)
    images[:, :inputs] = rng.standard_normal((DATA_SET, inputs))
    numbers = rng.integers(0, DATA_SET, (networks, rows + 2)).astype(np.int32)
    x = Gathered(images.reshape(-1), inputs + 3, numbers.reshape(-1), rows + 2, 0.5)
    return x, images[numbers[:, :rows], :inputs].astype(np.float64) * 0.5


def activation_rows(networks: int, rows: int, inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((networks, rows, inputs)).astype(np.float32)
    return x.reshape(-1), x.astype(np.float64)


INPUTS = {"bytes": byte_rows, "images": image_rows, "activation": activation_rows}


class Drawing:
    """Dropout of rates that differ from network to network, as NumpyOps takes it and as kernels do."""

    def __init__(self, networks: int) -> None:
        rates = np.linspace(0.6, 0.2, networks)
        seeds = np.arange(7, 7 + networks, dtype=np.uint32)
        thresholds = np.array([counter_rng.dropout_threshold(rate) for rate in rates], np.uint32)
        scales = (1 / (1 - rates)).astype(np.float32)
        self.epoch = np.array([EPOCH], np.int32)
        self.exact = {
            "dropout": Dropout(seeds, thresholds, scales.astype(np.float64), LAYER),
            "step": Step(self.epoch, INDEX, PER_EPOCH),
        }
        self.kernel = {
            "dropout": DropoutArrays(seeds, thresholds, scales, LAYER),
            "step": StepCounter(self.epoch, INDEX, PER_EPOCH),
        }

    def factor(self, shape: tuple[int, ...]) -> np.ndarray:
        return EXACT._dropout_factor(self.exact["dropout"], self.exact["step"], shape).copy()


class Output:
    """An array to be written to, with NaN in its place and a guard behind it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.size = shape, int(np.prod(shape))
        self.array = np.full(self.size + 7, np.nan, np.float32)
        self.array[self.size :] = 77

    def result(self) -> np.ndarray:
        assert (self.array[self.size :] == 77).all()
        return self.array[: self.size].reshape(self.shape)


def assert_forward(actual: np.ndarray, x: np.ndarray, layer: Layer, activation: str, drawing: Drawing | None) -> None:
    """actual is what NumpyOps makes of the same numbers in float64, but for the roundings of a sum of this length."""
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    expected = np.empty(actual.shape)
    EXACT.dense_forward(x, weight, bias, expected, activation=activation, **(drawing.exact if drawing else {}))
    dropped = x * drawing.factor(x.shape) if drawing else x
    magnitude = np.abs(dropped) @ np.abs(weight) + np.abs(bias[:, None])
    bound = sum_bound(FLOAT32, x.shape[2] + 1, magnitude)  # no activation is steeper than 1
    if activation in ("sigmoid", "tanh"):
        bound = bound + ELEMENTARY * eps(FLOAT32)
    assert_within(actual, expected, bound)


def assert_backward(
    actual: np.ndarray, dz: np.ndarray, layer: Layer, a: np.ndarray, activation: str, drawing: Drawing | None
) -> None:
    dz, weight, a = dz.astype(np.float64), layer.weight.astype(np.float64), a.astype(np.float64)
    expected = np.empty(actual.shape)
    arguments = {"activation": activation, **(drawing.exact if drawing else {})}
    EXACT.dense_backward(dz, weight, a, expected, **arguments)
    factor = np.ones(actual.shape)
    EXACT.dense_backward(np.ones((*a.shape[:2], 1)), np.ones((len(a), a.shape[2], 1)), a, factor, **arguments)
    magnitude = np.abs(dz) @ np.abs(weight).swapaxes(1, 2) * np.abs(factor)
    assert_within(actual, expected, sum_bound(FLOAT32, dz.shape[2] + ELEMENTARY, magnitude))


def mutant(monkeypatch: Any, operation: str, name: str, old: str, new: str) -> types.ModuleType:
    """gpunet.kernels.<operation> with a piece replaced in gpunet.kernels.<name>, which is itself or what it imports."""
    module = None
    for part in dict.fromkeys((name, operation)):
        full_name = f"gpunet.kernels.{part}"
        source = inspect.getsource(import_module(full_name))
        if part == name:
            assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
            source = source.replace(old, new)
        module = types.ModuleType(full_name)
        exec(compile(source, f"mutant of {part}", "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, full_name, module)
    return module
