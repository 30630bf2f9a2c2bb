"""The dense layer's forward kernels against NumpyOps in float64, and against each other."""

from __future__ import annotations

import dense_cases as cases
import numpy as np
import pytest
from dense_cases import INPUTS, Drawing, Layer, Output, simulator_only
from tolerances import assert_same_bits

from gpunet.kernels import dense_forward as module
from gpunet.kernels import tiles
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.tiles import Tile

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")

# The production variants in miniature: as many slices a warp, loads a thread and stages, as far as few threads allow.
SMALL = {
    "tiled": Tile(rows=8, columns=8, thread_rows=4, thread_columns=4, slices=1, depth=4),
    "blocked": Tile(rows=4, columns=8, thread_rows=2, thread_columns=4, slices=4, depth=8),
    "sliced": Tile(rows=4, columns=4, thread_rows=4, thread_columns=2, slices=3, depth=16),
    "sliced_longer": Tile(rows=4, columns=4, thread_rows=4, thread_columns=2, slices=4, depth=16),
    "small": Tile(rows=2, columns=4, thread_rows=1, thread_columns=2, slices=3, depth=8),
    "small_longer": Tile(rows=2, columns=4, thread_rows=1, thread_columns=2, slices=4, depth=8),
    "narrow": Tile(rows=2, columns=4, thread_rows=2, thread_columns=2, slices=4, depth=8),
    "row": Tile(rows=1, columns=4, thread_rows=1, thread_columns=1, slices=4, depth=32),
}

# (P, B, I, O): ones and primes; one below, at and above tiles, chunks, and rounds of all slices
SHAPES = (
    (1, 1, 1, 1),
    (2, 3, 5, 2),
    (1, 5, 31, 4),
    (1, 4, 32, 5),
    (2, 2, 33, 3),
    (1, 1, 64, 2),
    (1, 2, 65, 3),
    (1, 1, 129, 2),
)
FEW_SHAPES = ((2, 3, 5, 2), (1, 2, 33, 3))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "VARIANTS", SMALL)


def run(x, layer, shape, variant, drawing=None, activation="identity", operation=module):
    networks, rows, inputs, outputs = shape
    out = Output((networks, rows, outputs))
    operation.dense_forward(
        x,
        layer.flat_weight,
        layer.flat_bias,
        out.array,
        networks=networks,
        rows=rows,
        inputs=inputs,
        outputs=outputs,
        parameter_pitch=layer.pitch,
        activation=activation,
        variant=variant,
        **(drawing.kernel if drawing else {}),
    )
    return out.result()


def check(kind, shape, variant, activation="identity", dropped=False, operation=module):
    networks, rows, inputs, outputs = shape
    x, values = INPUTS[kind](networks, rows, inputs)
    layer = Layer(networks, inputs, outputs)
    drawing = Drawing(networks) if dropped else None
    actual = run(x, layer, shape, variant, drawing, activation, operation)
    cases.assert_forward(actual, values, layer, activation, drawing)
    return actual


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("variant", SMALL)
def test_dense_forward_equals_oracle(small, variant, kind):
    for shape in SHAPES if kind == "bytes" else FEW_SHAPES:
        check(kind, shape, variant)


@pytest.mark.parametrize("variant", SMALL)
def test_dense_forward_drops_what_the_oracle_drops(small, variant):
    for shape in FEW_SHAPES:
        check("activation", shape, variant, dropped=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_forward_applies_each_activation(small, activation):
    for variant in SMALL:
        check("bytes", (1, 2, 5, 3), variant, activation)


# The production tiles, each just beyond an edge.
@pytest.mark.parametrize(
    ("variant", "kind", "shape"),
    [
        ("tiled", "activation", (1, 65, 5, 9)),
        ("tiled", "bytes", (1, 9, 5, 65)),
        ("blocked", "images", (1, 33, 37, 9)),
        ("blocked", "bytes", (1, 9, 33, 33)),
        ("sliced", "bytes", (2, 17, 33, 3)),
        ("small", "bytes", (1, 9, 37, 9)),
        ("sliced", "activation", (1, 3, 1025, 1)),
        ("narrow", "bytes", (1, 5, 65, 10)),
        ("row", "bytes", (1, 1, 784, 10)),
    ],
)
def test_dense_forward_production_tile_equals_oracle(variant, kind, shape):
    check(kind, shape, variant, "relu")


@pytest.mark.parametrize("kind", [*INPUTS, "dropped"])
def test_dense_forward_variants_have_the_same_bits(small, kind):
    dropped = kind == "dropped"
    shape = (1, 2, 131, 3) if kind == "bytes" else (2, 1, 65, 3)
    results = [check("activation" if dropped else kind, shape, variant, "tanh", dropped) for variant in SMALL]
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("variant", SMALL)
def test_dense_forward_of_a_population_is_each_network_alone(small, variant):
    shape = networks, rows, inputs, outputs = 3, 2, 33, 3
    x, _ = cases.byte_rows(networks, rows, inputs)
    layer = Layer(networks, inputs, outputs)
    together = run(x, layer, shape, variant)
    for network in range(networks):
        own = x._replace(rows=x.rows.reshape(networks, -1)[network].copy())
        assert_same_bits(run(own, layer.only(network), (1, *shape[1:]), variant)[0], together[network])


@pytest.mark.parametrize("variant", SMALL)
def test_dense_forward_passes_nan_on_and_only_where_it_belongs(small, variant):
    shape = networks, rows, inputs, outputs = 2, 2, 7, 3
    layer = Layer(networks, inputs, outputs)
    x, _ = cases.activation_rows(networks, rows, inputs)
    x[-1] = np.nan
    layer.weight[0, 5, 2] = np.nan
    for activation in ACTIVATIONS:
        is_nan = np.isnan(run(x, layer, shape, variant, activation=activation))
        expected = np.zeros((networks, rows, outputs), bool)
        expected[1, 1] = True
        expected[0, :, 2] = True
        np.testing.assert_array_equal(is_nan, expected)


def test_dense_forward_keeps_infinity_at_the_end_of_a_sum(small):
    shape = 1, 1, 33, 3
    layer = Layer(1, 33, 3)
    x, _ = cases.activation_rows(1, 1, 33)
    x[:] = 1
    layer.weight[0, 32, 1] = np.inf
    for variant in SMALL:
        actual = run(x, layer, shape, variant)
        assert np.isposinf(actual[0, :, 1]).all() and np.isfinite(actual[0, :, ::2]).all()


def test_dense_forward_picks_its_variant_by_shape():
    shapes = ((1, 10), (1, 64), (128, 1), (128, 16), (128, 17), (128, 64), (64, 64), (128, 1024), (4096, 1024))
    assert {(rows, outputs): module._variant(1, rows, 784, outputs) for rows, outputs in shapes} == {
        (1, 10): "row",
        (1, 64): "row",
        (128, 1): "narrow",
        (128, 16): "narrow",
        (128, 17): "small",
        (128, 64): "sliced",
        (64, 64): "small",
        (128, 1024): "blocked",
        (4096, 1024): "tiled",
    }


def test_dense_forward_picks_larger_tiles_for_more_networks_and_smaller_ones_for_larger_devices(monkeypatch):
    picked = {}
    for multiprocessors in (40, 132):
        monkeypatch.setattr(tiles, "multiprocessors", lambda count=multiprocessors: count)
        picked[multiprocessors] = [module._variant(networks, 128, 784, 64) for networks in (1, 4, 32, 64, 1024)]
    assert picked == {
        40: ["sliced", "sliced", "blocked", "tiled", "tiled"],
        132: ["small", "sliced", "blocked", "blocked", "tiled"],
    }


def test_dense_forward_takes_more_slices_where_they_save_a_round():
    for rows, variant in ((128, "sliced"), (64, "small")):
        longer = {inputs for inputs in range(1, 2100) if module._variant(1, rows, inputs, 64) == f"{variant}_longer"}
        assert longer == {*range(897, 1025), *range(1793, 2049)}


def test_dense_forward_refuses_to_drop_of_the_data_set():
    x, _ = cases.byte_rows(1, 2, 5)
    with pytest.raises(ValueError, match="never dropped"):
        run(x, Layer(1, 5, 3), (1, 2, 5, 3), None, Drawing(1))


MUTANTS = {
    "last item of x lost": ("tiles", "if uint32(item + column) < end:", "if uint32(item + column + 1) < end:"),
    "a slice lost": ("tiles", "for s in range(slices):", "for s in range(slices - 1):"),
    "terms swapped": ("tiles", "b[j, v], sums[t])", "b[j, v ^ 1], sums[t])"),
    "one term of a vector lost": ("tiles", "cuda.fma(a[i, v],", "cuda.fma(a[i, v] if v else float32(0),"),
    "bytes in the wrong order": ("tiles", "uint32(8 * number)", "uint32(24 - 8 * number)"),
    "chunks sum on": ("dense_forward", "sums[t] = float32(0)", "sums[t] += float32(0)"),
    "last weight lost": ("dense_forward", "r * w_row_step)) < inputs", "r * w_row_step + 1)) < inputs"),
    "row gathered wrong": ("dense_forward", "rows_pitch) + row]", "rows_pitch) + row // uint32(2)]"),
    "scale forgotten": ("dense_forward", "return source[4]", "return float32(1)"),
    "bias of the neighbour": ("dense_forward", "shift = bias[w_network + column]", "shift = bias[w_network]"),
}


@simulator_only
@pytest.mark.parametrize("name", MUTANTS)
def test_dense_forward_mutant_fails(monkeypatch, name):
    faulty = cases.mutant(monkeypatch, "dense_forward", *MUTANTS[name])
    faulty.VARIANTS = {key: faulty.Tile(*tile) for key, tile in SMALL.items()}
    with pytest.raises(AssertionError, match="off by up to"):
        check("bytes", (1, 2, 133, 3), "narrow", operation=faulty)


@simulator_only
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">= threshold", "> threshold + uint32(1 << 30)"),
        ("uint32(k + x_column), threshold", "uint32(x_column), threshold"),
        ("first_row + x_row + r * x_row_step))\n\n        for t", "x_row + r * x_row_step))\n\n        for t"),
        ("epoch[0]) * per_epoch", "epoch[0])"),
    ],
)
def test_dense_forward_mutant_of_dropout_fails(monkeypatch, old, new):
    faulty = cases.mutant(monkeypatch, "dense_forward", "dense_forward", old, new)
    faulty.VARIANTS = {key: faulty.Tile(*tile) for key, tile in SMALL.items()}
    with pytest.raises(AssertionError, match="off by up to"):
        check("activation", (1, 5, 37, 2), "blocked", dropped=True, operation=faulty)
