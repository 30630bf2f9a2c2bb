"""dense_head: against float64 NumpyOps, variant against variant, and against the kernels that it fuses, bit for bit.

Each stage is held against the oracle's on what the kernel itself made of the stage before: logits from x, losses from
logits, dx from dlogits.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from loss_cases import (
    Flat,
    Labels,
    Results,
    assert_equals_oracle,
    mutant,
    padded,
    run_loss,
    shares_of,
    simulator_only,
)
from tolerances import ELEMENTARY, assert_same_bits, assert_within, sum_bound

from gpunet import counter_rng
from gpunet.kernels import dense_head as head
from gpunet.kernels.dense_head import LOSSES, Tile, dense_head, fits, variant_for
from gpunet.kernels.launch import DropoutArrays, StepCounter
from gpunet.ops import Dropout, NumpyOps, Step

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator

SOFTMAX, BINARY, SQUARED = LOSSES
EPOCH, INDEX, PER_EPOCH = 2, 1, 3

# Few threads, for the simulator; "long" takes its inputs 32 at a time.
SMALL = {
    "short": Tile(rows=4, slab=64, whole=True, outputs=16, threads=64),
    "medium": Tile(rows=8, slab=64, whole=True, outputs=4, threads=64),
    "long": Tile(rows=4, slab=32, whole=False, outputs=8, threads=32),
}


@pytest.fixture
def small_variants(monkeypatch):
    for name, tile in SMALL.items():
        monkeypatch.setitem(head.VARIANTS, name, tile)


class Written(NamedTuple):
    logits: np.ndarray
    row_loss: np.ndarray
    hits: np.ndarray
    dlogits: np.ndarray | None
    dx: np.ndarray | None


class HeadCase:
    """P networks of which the head reads hidden activations ``[P, B, I]`` and has O outputs.

    activation: of the hidden layer. dropout: the rate at the hidden layer, None for none. shares: of the rows in the
    loss ``[P, B]``, None where all count alike.
    """

    shares: np.ndarray | None = None

    def __init__(
        self, networks, rows, inputs, outputs, loss=SOFTMAX, activation="relu", dropout: float | None = None, seed=0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.networks, self.rows, self.inputs, self.outputs = networks, rows, inputs, outputs
        self.loss, self.activation = loss, activation
        z = rng.standard_normal((networks, rows, inputs))
        shape = {"identity": z, "relu": np.maximum(z, 0), "sigmoid": 1 / (1 + np.exp(-z)), "tanh": np.tanh(z)}
        self.x = shape[activation].astype(np.float32)
        # weight and bias lie in longer parameters
        self.pitch = inputs * outputs + outputs + 7
        self.parameters = np.full(networks * self.pitch, np.nan, np.float32)
        by_network = self.parameters.reshape(networks, self.pitch)
        self.bias_at = inputs * outputs + 3
        by_network[:, : inputs * outputs] = rng.standard_normal((networks, inputs * outputs))
        by_network[:, self.bias_at : self.bias_at + outputs] = rng.standard_normal((networks, outputs))
        self.weight = by_network[:, : inputs * outputs].reshape(networks, inputs, outputs)
        self.bias = by_network[:, self.bias_at : self.bias_at + outputs]
        self.labels = Labels(networks, rows, outputs, seed)
        self.step = StepCounter(np.array([EPOCH], np.int32), INDEX, PER_EPOCH)
        self.dropout = None
        if dropout is not None:
            rates = dropout + 0.1 * np.arange(networks)
            self.dropout = DropoutArrays(
                rng.integers(0, 2**32, networks, dtype=np.uint32),
                np.array([counter_rng.dropout_threshold(rate) for rate in rates], np.uint32),
                (1 / (1 - rates)).astype(np.float32),
                1,
            )

    def alone(self, network: int) -> HeadCase:
        """One network of this case, without dropout."""
        other = HeadCase(1, self.rows, self.inputs, self.outputs, self.loss, self.activation)
        other.x = self.x[network : network + 1]
        other.parameters = self.parameters[network * self.pitch : (network + 1) * self.pitch].copy()
        row_numbers = self.labels.gathered.rows.reshape(self.networks, -1)[network]
        other.labels.gathered = self.labels.gathered._replace(rows=row_numbers.copy())
        return other

    def arguments(self) -> dict[str, Any]:
        """What all kernels of a dense layer are told."""
        return {
            "networks": self.networks,
            "rows": self.rows,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "parameter_pitch": self.pitch,
            "dropout": self.dropout,
            "step": self.step,
        }

    def run(self, variant=None, *, labels=None, dlogits=True, dx=True, launcher=dense_head) -> Written:
        shape = self.networks, self.rows
        logits, d = Flat((*shape, self.outputs), np.float32), Flat((*shape, self.outputs), np.float32)
        row_loss, hits = Flat(shape, np.float32, self.rows + 3), Flat(shape, np.uint8, self.rows + 3)
        gradient = Flat(self.x.shape, np.float32)
        launcher(
            self.x.reshape(-1).copy(),
            self.parameters,
            self.parameters[self.bias_at :],
            self.labels.gathered if labels is None else labels,
            loss=self.loss,
            logits=logits.array,
            row_loss=row_loss.array,
            hits=hits.array,
            dlogits=d.array if dlogits else None,
            dx=gradient.array if dx else None,
            loss_pitch=self.rows + 3,
            shares=padded(self.shares, self.rows + 3),
            activation=self.activation,
            variant=variant,
            **self.arguments(),
        )
        return Written(
            logits.result(),
            row_loss.result(),
            hits.result(),
            d.result() if dlogits else None,
            gradient.result() if dx else None,
        )

    def assert_equals_oracle(self, written: Written) -> None:
        ops = NumpyOps(np.float64)
        step = Step(np.array([EPOCH], np.int32), INDEX, PER_EPOCH)
        x, weight, bias = (array.astype(np.float64) for array in (self.x, self.weight, self.bias))
        dropout = None
        if self.dropout is not None:
            seeds, thresholds, scales, layer = self.dropout
            dropout = Dropout(seeds, thresholds, scales.astype(np.float64), layer)

        logits, magnitude = np.empty(written.logits.shape), np.empty(written.logits.shape)
        ops.dense_forward(x, weight, bias, logits, dropout=dropout, step=step)
        ops.dense_forward(np.abs(x), np.abs(weight), np.abs(bias), magnitude, dropout=dropout, step=step)
        assert_within(written.logits, logits, sum_bound(np.float32, self.inputs + 1, magnitude))

        assert_equals_oracle(
            self.loss,
            written.logits,
            self.labels.values,
            Results(written.row_loss, written.hits, written.dlogits),
            self.shares,
        )
        if written.dx is not None:
            dlogits = written.dlogits.astype(np.float64)
            dx, magnitude = np.empty(self.x.shape), np.empty(self.x.shape)
            ops.dense_backward(dlogits, weight, x, dx, activation=self.activation, dropout=dropout, step=step)
            ops.dense_backward(
                np.abs(dlogits), np.abs(weight), x, magnitude, activation=self.activation, dropout=dropout, step=step
            )
            assert_within(written.dx, dx, sum_bound(np.float32, self.outputs + ELEMENTARY, magnitude))


# (variant, P, B, I, O): one, primes, one below, at and above the edges of tiles, chunks and slabs.
SHAPES = [
    ("short", 1, 1, 1, 2),
    ("short", 3, 3, 10, 2),
    ("short", 1, 4, 31, 3),
    ("short", 1, 5, 32, 10),
    ("short", 2, 2, 33, 5),
    ("short", 1, 3, 63, 16),
    ("short", 1, 4, 64, 7),
    ("medium", 1, 7, 40, 3),
    ("medium", 1, 9, 64, 4),
    ("long", 3, 1, 1, 2),
    ("long", 1, 3, 31, 8),
    ("long", 1, 4, 32, 3),
    ("long", 2, 5, 33, 5),
    ("long", 1, 2, 65, 7),
    ("long", 1, 5, 96, 2),
]


@pytest.mark.parametrize(("variant", "networks", "rows", "inputs", "outputs"), SHAPES)
def test_dense_head_equals_the_oracle(small_variants, variant, networks, rows, inputs, outputs):
    case = HeadCase(networks, rows, inputs, outputs)
    case.assert_equals_oracle(case.run(variant))


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh"])
@pytest.mark.parametrize("dropout", [None, 0.3])
def test_dense_head_equals_the_oracle_with_each_activation(small_variants, activation, dropout):
    case = HeadCase(2, 5, 33, 3, activation=activation, dropout=dropout)
    case.assert_equals_oracle(case.run("long"))


@pytest.mark.parametrize(("loss", "outputs"), [(BINARY, 1), (SQUARED, 1), (SQUARED, 5)])
@pytest.mark.parametrize("variant", ["short", "long"])
def test_dense_head_equals_the_oracle_with_each_loss(small_variants, loss, outputs, variant):
    case = HeadCase(2, 3, 37, outputs, loss, "sigmoid", dropout=0.5)
    case.assert_equals_oracle(case.run(variant))


# Each production tile, at an edge of its own.
PRODUCTION = [
    ("short", 9, 63, 10),
    ("medium", 7, 127, 3),
    ("long", 5, 130, 2),
    ("wide_short", 3, 33, 31),
    ("wide_medium", 2, 97, 17),
    ("wide_long", 1, 129, 32),
]


@pytest.mark.parametrize(("variant", "rows", "inputs", "outputs"), PRODUCTION)
def test_dense_head_equals_the_oracle_with_its_own_variants(variant, rows, inputs, outputs):
    assert variant_for(inputs, outputs) == variant
    case = HeadCase(1, rows, inputs, outputs)
    case.assert_equals_oracle(case.run())


def test_dense_head_variants_give_the_same_bits(small_variants):
    case = HeadCase(2, 6, 50, 4, activation="tanh", dropout=0.25)
    first = case.run("short")
    for variant in ("medium", "long"):
        for one, other in zip(first, case.run(variant), strict=True):
            assert_same_bits(one, other)


def test_dense_head_writes_what_it_is_asked_for(small_variants):
    """Without gradients, or without dx, with plain labels, or one network alone: the same bits."""
    case = HeadCase(2, 5, 33, 2)
    whole = case.run("long")
    for written in (
        case.run("long", dlogits=False, dx=False),
        case.run("long", dx=False),
        case.run("long", labels=case.labels.plain),
    ):
        for one, other in zip(written, whole, strict=True):
            if one is not None:
                assert_same_bits(one, other)
    for one, other in zip(case.alone(1).run("long"), whole, strict=True):
        assert_same_bits(one, other[1:2])


@pytest.mark.parametrize(("loss", "outputs"), [(SOFTMAX, 3), (BINARY, 1), (SQUARED, 3)])
@pytest.mark.parametrize("variant", ["short", "long"])
def test_dense_head_of_shares_equals_the_oracle(small_variants, loss, outputs, variant):
    case = HeadCase(2, 5, 37, outputs, loss, "sigmoid", dropout=0.5)
    plain = case.run(variant, dx=False)
    case.shares = shares_of(2, 5)
    written = case.run(variant)
    case.assert_equals_oracle(written)
    for one, other in zip(written[:3], plain[:3], strict=True):  # logits, row losses and hits are as without
        assert_same_bits(one, other)


def test_dense_head_of_equal_shares_has_the_bits_of_none(small_variants):
    case = HeadCase(2, 5, 20, 3)
    plain = case.run("short")
    case.shares = np.full((2, 5), 1 / 5, np.float32)
    for one, other in zip(case.run("short"), plain, strict=True):
        assert_same_bits(one, other)


@simulator_only
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("share_of(shares, network, row, loss_pitch", "share_of(shares, network, r, loss_pitch"),
        ("share_of(shares, network, row, loss_pitch", "share_of(shares, network, row, rows"),
        ("label, active, share, row_loss", "label, active, inverse_rows, row_loss"),
        ("bool(weighted),", "False,"),
    ],
)
def test_dense_head_mutant_of_the_shares_fails(old, new):
    module = mutant("dense_head", old, new)
    module.VARIANTS["short"] = module.Tile(*SMALL["short"])
    case = HeadCase(2, 6, 20, 3)
    case.shares = shares_of(2, 6)
    with pytest.raises((AssertionError, IndexError)):
        case.assert_equals_oracle(case.run("short", launcher=module.dense_head))


@pytest.mark.parametrize(("loss", "outputs"), [(SOFTMAX, 10), (BINARY, 1), (SQUARED, 5)])
def test_dense_head_has_the_losses_of_the_loss_kernel(small_variants, loss, outputs):
    case = HeadCase(2, 5, 20, outputs, loss, "tanh")
    written = case.run("short")
    launcher = getattr({SOFTMAX: head.softmax, BINARY: head.binary, SQUARED: head.squared}[loss], loss)
    results = run_loss(launcher, written.logits, case.labels.gathered)
    for one, other in zip(results, (written.row_loss, written.hits, written.dlogits), strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize(
    ("inputs", "outputs", "activation", "dropout"), [(33, 5, "sigmoid", 0.4), (65, 2, "tanh", None)]
)
def test_dense_head_has_the_bits_of_the_kernels_that_it_fuses(small_variants, inputs, outputs, activation, dropout):
    from gpunet.kernels.dense_backward import dense_backward
    from gpunet.kernels.dense_forward import dense_forward

    case = HeadCase(1, 3, inputs, outputs, activation=activation, dropout=dropout)
    written = case.run("long")
    x, weight, bias = case.x.reshape(-1).copy(), case.parameters, case.parameters[case.bias_at :]
    logits, dx = Flat(written.logits.shape, np.float32), Flat(case.x.shape, np.float32)
    dense_forward(x, weight, bias, logits.array, **case.arguments())
    dense_backward(written.dlogits.reshape(-1).copy(), weight, x, dx.array, activation=activation, **case.arguments())
    assert_same_bits(written.logits, logits.result())
    assert_same_bits(written.dx, dx.result())


@pytest.mark.parametrize("variant", ["short", "long"])
def test_dense_head_passes_on_nan(small_variants, variant):
    """A NaN activation spoils what is made of its row and no other row; a NaN weight spoils all losses."""
    case = HeadCase(1, 5, 33, 3)
    case.x[0, 2, 32] = np.nan
    written = case.run(variant)
    spoilt = np.arange(5) == 2
    for array in (written.logits[0], written.dlogits[0], written.dx[0]):
        assert (np.isnan(array).all(axis=-1) == spoilt).all() and (np.isnan(array).any(axis=-1) == spoilt).all()
    assert (np.isnan(written.row_loss[0]) == spoilt).all() and not written.hits[0, 2]
    case = HeadCase(1, 5, 33, 3)
    case.parameters[1] = np.nan
    written = case.run(variant)
    assert np.isnan(written.row_loss).all() and not written.hits.any() and np.isnan(written.dx).any(axis=-1).all()


def test_dense_head_says_what_it_serves(small_variants):
    assert [outputs for outputs in range(40) if fits(outputs)] == list(range(1, 33))
    case = HeadCase(1, 1, 1, 33)
    with pytest.raises(ValueError, match="33"):
        case.run()
    with pytest.raises(ValueError, match="short"):
        HeadCase(1, 1, 65, 2).run("short")


# Mutants

MUTANTS = [
    ("for k in range(uint32(PART)):", "for k in range(PART - 1):"),  # the last term of each part
    ("w_place + uint32(3 * PART * w_row))", "w_place + uint32(2 * PART * w_row))"),
    ("for chunk in range(uint32(chunks)):", "for chunk in range(1, uint32(chunks)):"),
    ("z += bias_o", "z += float32(0)"),
    ("row = min(uint32(first_row + r), uint32(rows - uint32(1)))\n            column", "row = r\n            column"),
    ("value *= dropout_factor(drop, row", "value *= dropout_factor(drop, r + 1"),
    ("a = x[place]", "pass"),  # the derivative of what dropout left
    ("total *= derivative(a)", "pass"),
    ("total = cuda.fma(z_tile[r * uint32(z_row) + k]", "total = cuda.fma(z_tile[z_row + k]"),  # another row's dlogits
    ("slab_start -= uint32(slab)", "slab_start = uint32(0)"),  # a slab is left out on the way back
    ("x_at = uint32(uint32(network * rows) * inputs)", "x_at = uint32(0)"),
    ("w_at = uint32(network * parameter_pitch)", "w_at = uint32(network * inputs * outputs)"),
    ("place = uint32(uint32(network * loss_pitch) + row)", "place = uint32(uint32(network * rows) + row)"),
]


@simulator_only
@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_dense_head_mutant_fails(old, new):
    module = mutant("dense_head", old, new)
    module.VARIANTS["short"] = module.Tile(*SMALL["short"])
    module.VARIANTS["long"] = module.Tile(*SMALL["long"])
    variant = "short" if "chunks)" in old else "long"
    case = HeadCase(2, 5, 70 if "slab_start" in old else 40, 3, activation="sigmoid", dropout=0.3)
    with pytest.raises((AssertionError, ValueError, IndexError)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.assert_equals_oracle(case.run(variant, launcher=module.dense_head))
