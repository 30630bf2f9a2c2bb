"""Per-sample SGD in one kernel against NumpyOps in float64, and its variants against each other."""

from __future__ import annotations

import dense_cases as cases
import numpy as np
import pytest
from dense_cases import EXACT, FLOAT32, INPUTS, simulator_only
from numba import cuda
from tolerances import ELEMENTARY, LOSS, assert_same_bits, assert_within, eps

from gpunet.kernels import per_sample_sgd as module
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.launch import CHUNK, StepCounter, ceil_div
from gpunet.ops import Batch, OptimizerState, Step, serves_per_sample_sgd
from gpunet.parameters import ParameterLayout

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")

# Threads enough for the shapes below, and too few: a block has a warp at least, whose threads then own several chunks.
SMALL = {
    "registers": module.Variant(units=2, owners=64, in_registers=True),
    "single": module.Variant(units=1, owners=64, in_registers=True),
    "memory": module.Variant(units=2, owners=1, in_registers=False),
    "triple": module.Variant(units=3, owners=1, in_registers=False),
}

# (P, rows, I, H): ones and primes, one below, at and above a chunk, hidden units that are no whole number of groups
SHAPES = ((1, 1, 1, 1), (3, 4, 5, 3), (1, 2, 31, 2), (1, 3, 33, 1), (1, 3, 65, 10))
EPOCH, INDEX, AFTER = 2, 1, 2  # steps before the first row's in its epoch, and after the last one's


class Run:
    """Networks, their rows and their rates, amid NaN; and what became of them."""

    def __init__(self, shape, kind="bytes", activation="sigmoid", seed=0):
        self.shape = networks, rows, inputs, hidden = shape
        self.activation = activation
        rng = np.random.default_rng(seed)
        self.x, self.values = INPUTS[kind](networks, rows, inputs)
        self.labels = rng.integers(0, 2, cases.DATA_SET).astype(np.int32)
        self.layout = ParameterLayout((inputs, hidden, 1))
        self.parameters = np.full((networks, self.layout.length), np.nan, np.float32)
        for array in self.arrays(self.parameters):
            array[:] = rng.standard_normal(array.shape) / np.sqrt(array.shape[1])
        self.per_epoch = INDEX + rows + AFTER
        self.table = np.full((networks, 3 * self.per_epoch + 1, 3), np.nan, np.float32)
        self.first = EPOCH * self.per_epoch + INDEX
        self.table[:, self.first : self.first + rows, 0] = rng.uniform(0.2, 0.9, (networks, rows))
        self.lr_scale = rng.uniform(0.5, 1, networks).astype(np.float32)
        self.row_loss = np.full((networks, rows + 3), np.nan, np.float32)
        self.hits = np.full((networks, rows + 3), 9, np.uint8)

    def arrays(self, parameters):
        """weight1, bias1, weight2 and bias2 of all networks."""
        return [array for layer in self.layout.views(parameters) for array in layer]

    @property
    def row_numbers(self):
        return self.x.rows.reshape(self.shape[0], -1)[:, : self.shape[1]]

    def launch(self, variant, operation=module):
        networks, rows, inputs, hidden = self.shape
        # One array for all: those of two layers, copied in and out one by one, would overwrite each other.
        flat, slots = cuda.to_device(self.parameters.reshape(-1)), self.layout.layers
        begins = [begin for slot in slots for begin in (slot.weight, slot.bias)]
        operation.per_sample_sgd(
            self.x,
            self.labels,
            *(flat[begin:] for begin in begins),
            self.row_loss.reshape(-1),
            self.hits.reshape(-1),
            step_table=self.table.reshape(-1),
            lr_scale=self.lr_scale,
            networks=networks,
            rows=rows,
            inputs=inputs,
            hidden=hidden,
            parameter_pitch=self.layout.length,
            loss_pitch=rows + 3,
            steps=self.table.shape[1],
            step=StepCounter(np.array([EPOCH], np.int32), INDEX, self.per_epoch),
            activation=self.activation,
            variant=variant,
        )
        flat.copy_to_host(self.parameters.reshape(-1))
        return self

    def only(self, network):
        """A run of one of the networks alone."""
        alone = object.__new__(Run)
        alone.__dict__.update(self.__dict__)
        alone.shape = (1, *self.shape[1:])
        alone.x = self.x._replace(rows=self.x.rows.reshape(len(self.parameters), -1)[network].copy())
        for name in ("parameters", "table", "lr_scale", "row_loss", "hits"):
            setattr(alone, name, getattr(self, name)[network : network + 1].copy())
        return alone


def oracle(run):
    """What NumpyOps makes of a run that has not been launched, in float64: parameters, row losses and hits."""
    networks, rows, inputs, _ = run.shape
    own_rows = np.arange(networks * rows, dtype=np.int32).reshape(networks, rows)
    images, labels = run.values.reshape(networks * rows, inputs), run.labels[run.row_numbers].reshape(-1)
    parameters = np.nan_to_num(run.parameters.astype(np.float64))
    gradient = np.zeros_like(parameters)
    views, lr_scale = run.layout.views(gradient), run.lr_scale.astype(np.float64)
    state = OptimizerState("sgd", parameters, gradient, views, None, None, run.table.astype(np.float64), lr_scale)
    row_loss, hits = np.zeros((networks, rows)), np.zeros((networks, rows), np.uint8)
    EXACT.per_sample_sgd(
        Batch(images, labels, own_rows, 1.0, None, None),
        run.layout.views(parameters),
        state,
        Step(np.array([EPOCH], np.int32), INDEX, run.per_epoch),
        row_loss=row_loss,
        hits=hits,
        activation=run.activation,
    )
    return parameters, row_loss, hits


def check(shape, variant, kind="bytes", activation="sigmoid", operation=module):
    run = Run(shape, kind, activation)
    parameters, row_loss, hits = oracle(run)
    padding = np.isnan(run.parameters)
    networks, rows, inputs, hidden = shape
    run.launch(variant, operation)
    # A step's logit is off by the roundings of two sums, whose terms are of the order of 1, and so is what follows.
    roundings = min(inputs, CHUNK) + ceil_div(inputs, CHUNK) + min(hidden, CHUNK) + LOSS + ELEMENTARY
    bound = rows * roundings * eps(FLOAT32)
    assert_within(run.row_loss[:, :rows], row_loss, bound)
    np.testing.assert_array_equal(run.hits[:, :rows], hits, err_msg="off by up to a hit")
    for actual, expected in zip(run.arrays(run.parameters), run.arrays(parameters), strict=True):
        assert_within(actual, expected, bound)
    # Nothing else was written.
    assert np.isnan(run.row_loss[:, rows:]).all() and (run.hits[:, rows:] == 9).all()
    np.testing.assert_array_equal(np.isnan(run.parameters), padding)
    return run


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "VARIANTS", SMALL)


@pytest.mark.parametrize("shape", SHAPES)
def test_per_sample_sgd_equals_oracle(small, shape):
    for variant in ("registers", "memory"):
        check(shape, variant)


@pytest.mark.parametrize("variant", SMALL)
def test_per_sample_sgd_reads_float_images(small, variant):
    check((2, 3, 33, 3), variant, "images")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_per_sample_sgd_applies_each_activation(small, activation):
    check((1, 4, 6, 3), "registers", activation=activation)
    check((1, 4, 6, 3), "memory", activation=activation)


def test_per_sample_sgd_learns_from_row_after_row(small):
    """Each row's loss is taken with the weights that the rows before it left."""
    again = Run((1, 6, 5, 2))
    again.x.rows[:] = again.x.rows[0]
    again.launch("registers")
    assert (np.diff(again.row_loss[0, :6]) < 0).all()


def test_per_sample_sgd_has_the_same_bits_in_every_variant(small):
    """129 inputs of 10 hidden units are more chunks than a warp has threads."""
    runs = [Run((1, 2, 129, 10)).launch(variant) for variant in SMALL]
    for run in runs[1:]:
        assert_same_bits(run.parameters, runs[0].parameters)
        assert_same_bits(run.row_loss, runs[0].row_loss)


@pytest.mark.parametrize("variant", ["registers", "memory"])
def test_per_sample_sgd_of_a_population_is_each_network_alone(small, variant):
    members = [Run((3, 3, 33, 3)).only(network).launch(variant) for network in range(3)]
    together = Run((3, 3, 33, 3)).launch(variant)
    for network, alone in enumerate(members):
        assert_same_bits(alone.parameters[0], together.parameters[network])
        assert_same_bits(alone.row_loss[0], together.row_loss[network])
        assert_same_bits(alone.hits[0], together.hits[network])


def test_per_sample_sgd_leaves_a_frozen_network_as_it_is(small):
    run = Run((2, 3, 5, 3))
    run.lr_scale[1] = 0
    before = run.parameters.copy()
    run.launch("registers")
    np.testing.assert_array_equal(run.parameters[1], before[1])
    assert not np.array_equal(run.parameters[0], before[0], equal_nan=True)


@pytest.mark.parametrize("variant", ["registers", "memory"])
def test_per_sample_sgd_passes_nan_on_and_to_no_other_network(small, variant):
    run = Run((2, 3, 33, 3))
    run.arrays(run.parameters)[0][0, 32, 1] = np.nan
    other = run.only(1).launch(variant)
    run.launch(variant)
    assert np.isnan(run.row_loss[0]).all() and (run.hits[0, :3] == 0).all()
    assert_same_bits(run.parameters[1], other.parameters[0])


# The reports' network, and one too wide for registers, with the production variants.
@pytest.mark.parametrize(("shape", "variant"), [((1, 1, 784, 10), "registers"), ((1, 1, 97, 250), "memory")])
def test_per_sample_sgd_production_variant_equals_oracle(shape, variant):
    assert module.variant_for(*shape[2:]) == variant
    check(shape, None)


def test_per_sample_sgd_picks_its_variant_by_width():
    picked = [module.variant_for(784, hidden) for hidden in (1, 10, 30, 31, 60)]
    assert picked == ["registers"] * 3 + ["memory"] * 2


def test_per_sample_sgd_serves_what_the_contract_says():
    state = OptimizerState("sgd", None, None, (), None, None, None, None)
    for inputs, hidden in ((1, 1), (784, 83), (784, 84), (2048, 32), (2049, 1), (256, 256), (255, 257)):
        served = module.fits(inputs, hidden)
        assert serves_per_sample_sgd((inputs, hidden, 1), "binary_cross_entropy", state) == served, (inputs, hidden)
        if not served:
            with pytest.raises(ValueError, match=f"{inputs} inputs and {hidden} hidden"):
                Run((1, 1, inputs, hidden)).launch(None)


MUTANTS = {
    "a sample lost": ("while t <= rows:", "while t < rows:"),
    "last chunk lost": ("for c in range(chunks):", "for c in range(chunks - 1):"),
    "last term lost": ("uint32(inputs) - chunk *", "uint32(inputs - 1) - chunk *"),
    "row of the one before": ("min(uint32(t + uint32(2)), last)", "min(uint32(t + uint32(1)), last)"),
    "label of the next": ("old_label = label\n", "old_label = next_label\n"),
    "rate of the next": ("rate = next_rate *", "rate = step_table[uint32((first_step + min(t, last)) * 3)] *"),
    "w2 updated before it is read": ("w2_tile[own] = w2\n", "w2_tile[own] = w2 - rate * a\n"),
    "bias forgotten": ("b1 = cuda.fma(-rate,", "b1 = cuda.fma(float32(0),"),
    "outgoing weight too new": ("hidden_gradient(dz, a, w2), b1)", "hidden_gradient(dz, a, w2 - dz * a), b1)"),
    "scale forgotten": (
        "w2_tile, dz, rate * scale)\n                sweep",
        "w2_tile, dz, rate)\n                sweep",
    ),
    "unit of the neighbour": ("steps[u] = -rate *", "steps[units - 1 - u] = -rate *"),
    "product before the update": ("cuda.fma(new, w[at], sums[u])", "cuda.fma(new, w[at] - old * steps[u], sums[u])"),
    "loss of the one before": ("results + t - uint32(2)", "results + max(t, uint32(3)) - uint32(3)"),
}


@simulator_only
@pytest.mark.parametrize("name", MUTANTS)
def test_per_sample_sgd_mutant_fails(monkeypatch, name):
    faulty = cases.mutant(monkeypatch, "per_sample_sgd", "per_sample_sgd", *MUTANTS[name])
    faulty.VARIANTS = {key: faulty.Variant(*variant) for key, variant in SMALL.items()}
    with pytest.raises(AssertionError, match="off by up to"):
        check((1, 4, 33, 3), "registers", operation=faulty)
