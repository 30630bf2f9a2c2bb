"""The dense layer's backward kernels against NumpyOps in float64, and against each other."""

from __future__ import annotations

import dense_cases as cases
import numpy as np
import pytest
from dense_cases import Drawing, Layer, Output, simulator_only
from tolerances import assert_same_bits

from gpunet.kernels import dense_backward as module
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.tiles import Tile

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")

# The production variants in miniature.
SMALL = {
    "tiled": Tile(rows=8, columns=8, thread_rows=4, thread_columns=4, slices=1, depth=4),
    "blocked": Tile(rows=8, columns=4, thread_rows=4, thread_columns=2, slices=4, depth=8),
    "sliced": Tile(rows=4, columns=4, thread_rows=2, thread_columns=2, slices=2, depth=8),
    "thin": Tile(rows=4, columns=4, thread_rows=2, thread_columns=1, slices=1, depth=16),
}

# (P, B, I, O): ones and primes; one below, at and above tiles, chunks, and rounds of all slices
SHAPES = (
    (1, 1, 1, 1),
    (2, 3, 2, 5),
    (1, 5, 4, 31),
    (1, 4, 5, 32),
    (2, 2, 3, 33),
    (1, 1, 2, 64),
    (1, 2, 3, 65),
    (1, 1, 2, 129),
)
FEW_SHAPES = ((2, 3, 2, 5), (1, 2, 3, 33))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "VARIANTS", SMALL)


def factors(shape, activation, seed=1):
    """dz and a as float32. a is what the activation could have made, the ends of its range included."""
    networks, rows, inputs, outputs = shape
    rng = np.random.default_rng(seed)
    dz = rng.standard_normal((networks, rows, outputs)).astype(np.float32)
    z = 2 * rng.standard_normal((networks, rows, inputs))
    a = {"relu": np.maximum(z, 0), "tanh": np.tanh(z), "sigmoid": 1 / (1 + np.exp(-z)), "identity": z}[activation]
    return dz, a.astype(np.float32)


def run(dz, layer, a, variant, activation, drawing=None, operation=module):
    networks, rows, inputs = a.shape
    out = Output(a.shape)
    operation.dense_backward(
        dz.reshape(-1),
        layer.flat_weight,
        a.reshape(-1),
        out.array,
        networks=networks,
        rows=rows,
        inputs=inputs,
        outputs=dz.shape[2],
        parameter_pitch=layer.pitch,
        activation=activation,
        variant=variant,
        **(drawing.kernel if drawing else {}),
    )
    return out.result()


def check(shape, variant, activation="identity", dropped=False, operation=module):
    networks, _, inputs, outputs = shape
    dz, a = factors(shape, activation)
    layer = Layer(networks, inputs, outputs)
    drawing = Drawing(networks) if dropped else None
    actual = run(dz, layer, a, variant, activation, drawing, operation)
    cases.assert_backward(actual, dz, layer, a, activation, drawing)
    return actual


@pytest.mark.parametrize("variant", SMALL)
def test_dense_backward_equals_oracle(small, variant):
    for shape in SHAPES:
        check(shape, variant)


@pytest.mark.parametrize("variant", SMALL)
def test_dense_backward_drops_what_the_oracle_drops(small, variant):
    for shape in FEW_SHAPES:
        check(shape, variant, "relu", dropped=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_backward_takes_each_derivative(small, activation):
    for variant in SMALL:
        check((1, 3, 5, 5), variant, activation)


# The production tiles, each just beyond an edge.
@pytest.mark.parametrize(
    ("variant", "shape"),
    [
        ("tiled", (1, 65, 9, 5)),
        ("tiled", (1, 9, 65, 5)),
        ("blocked", (1, 33, 9, 37)),
        ("blocked", (1, 9, 33, 33)),
        ("sliced", (2, 17, 3, 33)),
        ("sliced", (1, 3, 17, 257)),
        ("thin", (1, 17, 17, 33)),
    ],
)
def test_dense_backward_production_tile_equals_oracle(variant, shape):
    check(shape, variant, "relu")


@pytest.mark.parametrize("dropped", [False, True])
def test_dense_backward_variants_have_the_same_bits(small, dropped):
    results = [check((1, 2, 3, 131), variant, "tanh", dropped) for variant in SMALL]
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("variant", SMALL)
def test_dense_backward_of_a_population_is_each_network_alone(small, variant):
    shape = networks, _, inputs, outputs = 3, 2, 3, 33
    dz, a = factors(shape, "sigmoid")
    layer = Layer(networks, inputs, outputs)
    together = run(dz, layer, a, variant, "sigmoid")
    for network in range(networks):
        one = slice(network, network + 1)
        assert_same_bits(run(dz[one], layer.only(network), a[one], variant, "sigmoid"), together[one])


@pytest.mark.parametrize("variant", SMALL)
def test_dense_backward_passes_nan_on_and_only_where_it_belongs(small, variant):
    shape = networks, rows, inputs, outputs = 2, 2, 3, 7
    layer = Layer(networks, inputs, outputs)
    layer.weight[0, 2, 6] = np.nan
    for activation in ACTIVATIONS:
        dz, a = factors(shape, activation)
        dz[1, 1, 6] = np.nan
        expected = np.zeros((networks, rows, inputs), bool)
        expected[1, 1] = True
        expected[0, :, 2] = True
        if activation != "identity":  # whose derivative does not depend on a
            a[0, 1, 0] = np.nan
            expected[0, 1, 0] = True
        np.testing.assert_array_equal(np.isnan(run(dz, layer, a, variant, activation)), expected)


def test_dense_backward_picks_its_variant_by_shape():
    assert module._variant(1, 128, 64, 10) == "thin"
    assert module._variant(1, 128, 64, 33) == "sliced"
    assert module._variant(1, 128, 1024, 256) == "blocked"
    assert module._variant(1, 4096, 1024, 1024) == "tiled"


MUTANTS = {
    "last term lost": ("tiles", "if uint32(item + column) < end:", "if uint32(item + column + 1) < end:"),
    "a slice lost": ("tiles", "for s in range(slices):", "for s in range(slices - 1):"),
    "terms swapped": ("tiles", "b[j, v], sums[t])", "b[j, v ^ 1], sums[t])"),
    "chunks sum on": ("dense_backward", "sums[t] = float32(0)", "sums[t] += float32(0)"),
    "weight's row wrong": ("dense_backward", "copy_row + r * w_row_step", "copy_row + 0 * w_row_step"),
    "derivative of the neighbour": ("dense_backward", "derivative(a[place])", "derivative(a[place ^ uint32(1)])"),
    "dropout's row wrong": ("dense_backward", "uint32(first_row + row_in_tile", "uint32(row_in_tile"),
    "dropout's step wrong": ("dense_backward", "epoch[0]) * per_epoch", "epoch[0])"),
}


@simulator_only
@pytest.mark.parametrize("name", MUTANTS)
def test_dense_backward_mutant_fails(monkeypatch, name):
    faulty = cases.mutant(monkeypatch, "dense_backward", *MUTANTS[name])
    faulty.VARIANTS = {key: faulty.Tile(*tile) for key, tile in SMALL.items()}
    with pytest.raises(AssertionError, match="off by up to"):
        check((1, 5, 6, 69), "sliced", "sigmoid", dropped=True, operation=faulty)
