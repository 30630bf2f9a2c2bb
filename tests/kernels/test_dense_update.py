"""dense_update and dense_gradient: against float64 NumpyOps, variant against variant, and against two launches."""

from __future__ import annotations

import inspect
import itertools
import types

import numpy as np
import pytest
from tolerances import assert_same_bits, assert_within, sum_bound
from update_cases import KernelState, UpdateCase

from gpunet.kernels import dense_update, dense_update_single_row
from gpunet.kernels.dense_update import BIAS, COLUMNS, FIRST_INPUT, FIRST_OUTPUT, WEIGHT, Run, Tile

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator

# 4 inputs x 4 outputs, 12 x 4 and 8 x 8: small enough for the simulator, and each cuts its rows into other shares.
SMALL = {
    "square": Tile(2, 2, down=2, across=2, chunks=2),
    "tall": Tile(3, 2, down=4, across=2, chunks=1),
    "wide": Tile(2, 4, down=4, across=2, chunks=4),
    "run": Run(threads=4, weights=3),  # of one row: 12 weights as they come
}


@pytest.fixture(autouse=True)
def small_variants(monkeypatch):
    for name, tile in SMALL.items():
        monkeypatch.setitem(dense_update.VARIANTS, name, tile)


def assert_gradient(case, variant=None):
    expected, magnitude = case.expected_gradient()
    actual = case.gradient(variant)
    padding = np.isnan(expected)
    assert np.isnan(actual[padding]).all(), "padding was written to"
    assert_within(actual[~padding], expected[~padding], sum_bound(np.float32, case.rows, magnitude[~padding]))


def both_ways(case, state, variant):
    """The states after `dense_update`, and after `dense_gradient` and the optimizer's own kernel."""
    fused, apart = state.copy(), state.copy()
    case.update(fused, variant)
    apart.step(case, np.nan_to_num(case.gradient(variant)))
    return fused, apart


# The sums

# One, primes, one below, at and above the tiles' edges, in inputs (the bias is one more) and outputs and rows.
SHAPES = [
    # variant, sizes, P, B, data
    ("square", (1, 1), 1, 1, "bytes"),
    ("square", (3, 4), 3, 31, "bytes"),  # inputs and bias fill a tile
    ("square", (4, 5), 1, 32, "floats"),  # the bias has a row of tiles to itself
    ("square", (5, 3), 2, 33, "bytes"),
    ("square", (7, 3), 1, 64, "floats"),
    ("square", (2, 3), 1, 129, "bytes"),  # two turns of two chunks and one row
    ("square", (6, 5, 3), 3, 5, "bytes"),
    ("square", (5, 8, 4, 2), 1, 7, "floats"),
    ("tall", (1, 1), 3, 2, "floats"),
    ("tall", (11, 4), 3, 2, "bytes"),
    ("tall", (12, 1), 1, 33, "floats"),
    ("tall", (13, 5), 1, 65, "bytes"),
    ("tall", (6, 13, 3), 1, 5, "bytes"),
    ("wide", (1, 7), 1, 1, "floats"),
    ("wide", (7, 8), 1, 97, "bytes"),
    ("wide", (8, 9), 2, 3, "floats"),
    ("wide", (3, 7, 2), 1, 129, "bytes"),
    ("run", (1, 1), 1, 1, "bytes"),
    ("run", (2, 3), 3, 1, "floats"),  # weights and biases end together with a thread's share,
    ("run", (3, 3), 2, 1, "bytes"),  # and with a run
    ("run", (5, 13), 2, 1, "floats"),  # outputs beyond a run
    ("run", (13, 1), 1, 1, "bytes"),  # the bias has a run to itself, but for one weight
    ("run", (5, 8, 4, 2), 3, 1, "bytes"),
]


@pytest.mark.parametrize(("variant", "sizes", "networks", "rows", "data"), SHAPES)
def test_dense_gradient_equals_the_oracle(variant, sizes, networks, rows, data):
    assert_gradient(UpdateCase(sizes, networks, rows, data=data), variant)


def test_dense_gradient_with_words_to_spare_in_each_image():
    assert_gradient(UpdateCase((8, 3), 2, 5, spare_words=2), "tall")


# Just over a tile in both directions, and a short last chunk.
@pytest.mark.parametrize(
    ("variant", "sizes", "rows"),
    [("one_chunk", (8, 17), 31), ("two_chunks", (16, 17), 33), ("four_chunks", (16, 33), 98)],
)
def test_dense_gradient_at_the_edges_of_the_tiles_for_a_device(variant, sizes, rows):
    assert dense_update.variant_for(rows) == variant
    assert (dense_update.VARIANTS[variant].inputs, dense_update.VARIANTS[variant].outputs + 1) == sizes
    assert_gradient(UpdateCase(sizes, 1, rows))


def test_dense_gradient_at_the_edge_of_the_run_for_a_device():
    threads, weights = dense_update.VARIANTS[dense_update.variant_for(1)]
    case = UpdateCase((26, 19), 1, 1)
    assert 27 * 19 == threads * weights + 1
    assert_gradient(case)


@pytest.mark.parametrize(("variant", "rows"), [("square", 6), ("tall", 6), ("run", 1)])
def test_dense_gradient_draws_the_forward_pass_s_dropout_again(variant, rows):
    assert_gradient(UpdateCase((5, 7, 4, 3), 2, rows, dropout=0.4), variant)


@pytest.mark.parametrize("rows", [1, 70])
def test_all_variants_give_the_same_bits(rows):
    case = UpdateCase((3, 2, 2), 1, rows, dropout=0.4)
    expected = case.gradient("square")
    for variant, shape in dense_update.VARIANTS.items():
        if rows == 1 or isinstance(shape, Tile):
            assert_same_bits(case.gradient(variant), expected)


@pytest.mark.parametrize("rows", [2, 33])
def test_the_variant_for_one_row_refuses_more(rows):
    with pytest.raises(ValueError, match=f"single_row serves a batch of one row, not of {rows}"):
        UpdateCase((3, 2), 1, rows).gradient("single_row")


@pytest.mark.parametrize(("variant", "rows"), [("square", 4), ("run", 1)])
def test_a_network_of_a_population_ends_as_it_would_alone(variant, rows):
    case = UpdateCase((3, 5, 3), 3, rows)
    together = case.gradient(variant)
    for network in range(3):
        assert_same_bits(case.alone(network).gradient(variant), together[network : network + 1])


# The update

OPTIMIZERS = {
    "adam": {"method": "adam"},
    "adam, l2": {"method": "adam", "l2": True},
    "adamw": {"method": "adam", "decoupled": True},
    "sgd": {"method": "sgd"},
    "sgd, l2": {"method": "sgd", "l2": True},
    "momentum, decoupled": {"method": "sgd", "momentum": 0.9, "decoupled": True},
}


@pytest.mark.parametrize(("variant", "rows"), [("square", 4), ("run", 1)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_dense_update_equals_gradient_and_optimizer_bit_for_bit(optimizer, variant, rows):
    case = UpdateCase((5, 3), 2, rows)
    state = KernelState(case.layout, 2, **OPTIMIZERS[optimizer])
    fused, apart = both_ways(case, state, variant)
    for name in ("parameters", "m", "v"):
        assert_same_bits(getattr(fused, name), getattr(apart, name))
        if state.keeps(name):
            assert (getattr(fused, name) != getattr(state, name))[state.used].all()
        else:
            assert_same_bits(getattr(fused, name), getattr(state, name))
        assert not getattr(fused, name)[~state.used].any()


def test_dense_update_by_sgd_at_rate_one_from_zero_leaves_the_gradient():
    case = UpdateCase((9, 3), 1, 40)
    state = KernelState(case.layout, 1, "sgd")
    state.parameters[:] = 0
    state.step_table[:] = 1
    state.lr_scale[:] = 1
    case.update(state, "tall")
    expected, magnitude = case.expected_gradient()
    used = state.used
    assert_within(-state.parameters[used], expected[used], sum_bound(np.float32, case.rows, magnitude[used]))


@pytest.mark.parametrize(("variant", "rows"), [("square", 4), ("run", 1)])
def test_dense_update_leaves_the_weights_of_a_frozen_network(variant, rows):
    case = UpdateCase((5, 3), 2, rows)
    state = KernelState(case.layout, 2, "adam", decoupled=True)
    state.lr_scale[0] = 0
    before = state.copy()
    case.update(state, variant)
    assert_same_bits(state.parameters[0], before.parameters[0])
    assert (state.parameters != before.parameters)[1][state.used[1]].all()


@pytest.mark.parametrize(("variant", "rows"), [("square", 37), ("run", 1)])
@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_nan_reaches_what_it_should_and_nothing_else(method, variant, rows):
    """A NaN in dz makes NaN of one column of weights and of its bias; one in an activation, of one row of weights."""
    case = UpdateCase((5, 6, 4), 2, rows)
    case.dz[case.dz_offsets[1] + (2 * rows - 1) * 4 + 2] = np.nan  # network 1, last row, output 2
    case.activations[case.x_offsets[1] + 3] = np.nan  # network 0, row 0, input 3
    state = KernelState(case.layout, 2, method)
    case.update(state, variant)
    weight, bias = case.layout.views(np.isnan(state.parameters))[1]
    assert np.nonzero(weight[1].all(axis=0))[0].tolist() == [2] and weight[1].sum() == 6
    assert np.nonzero(bias[1])[0].tolist() == [2] and not bias[0].any()
    assert np.nonzero(weight[0].all(axis=1))[0].tolist() == [3] and weight[0].sum() == 4
    assert np.isnan(state.parameters).sum() == 6 + 1 + 4


def test_what_lies_behind_the_batch_is_not_read():
    case = UpdateCase((5, 6, 4), 1, 9)
    expected = case.gradient("wide")
    case.image_rows[:, 9:] = 2**30
    assert_same_bits(case.gradient("wide"), expected)


# The table


def served(shape, first_input, first_output, inputs, outputs):
    """Inputs and outputs of the parameters that a block updates which begins there."""
    if isinstance(shape, Run):
        first = first_input * outputs + first_output
        numbers = range(first, min(first + shape.threads * shape.weights, (inputs + 1) * outputs))
        return [divmod(number, outputs) for number in numbers]
    down = range(first_input, min(first_input + shape.inputs, inputs + 1))
    across = range(first_output, min(first_output + shape.outputs, outputs))
    return itertools.product(down, across)


@pytest.mark.parametrize("variant", [*dense_update.VARIANTS, *SMALL])
def test_tile_table_covers_every_parameter_once(variant):
    layers = ((0, 128, 33, 3), (160, 192, 3, 1), (224, 800, 16, 33))
    table = dense_update.tile_table(layers, (0, 7, 9), (1, 2, 3), rows=1, variant=variant)
    seen = np.zeros(1000, int)
    for row in np.reshape(table, (-1, COLUMNS)):
        inputs, outputs = layers[row[0]][2:]
        assert (row[WEIGHT], row[BIAS]) == layers[row[0]][:2]
        for i, o in served(dense_update.VARIANTS[variant], row[FIRST_INPUT], row[FIRST_OUTPUT], inputs, outputs):
            seen[row[BIAS] + o if i == inputs else row[WEIGHT] + i * outputs + o] += 1
    expected = np.zeros(1000, int)
    for weight, bias, inputs, outputs in layers:
        expected[weight : weight + inputs * outputs] = expected[bias : bias + outputs] = 1
    assert seen.tolist() == expected.tolist()


def test_variant_for_depends_on_rows():
    assert [dense_update.variant_for(rows) for rows in (1, 2, 32, 33, 64, 65, 5000)] == [
        "single_row",
        *["one_chunk"] * 2,
        *["two_chunks"] * 2,
        *["four_chunks"] * 2,
    ]


def test_variant_for_takes_larger_tiles_where_they_fill_the_device(monkeypatch):
    layers = ((0, 0, 784, 64), (0, 0, 64, 10))  # 13 x 2 tiles of 64 x 32, and 2 x 1
    for multiprocessors, enough in ((40, 12), (132, 38)):
        monkeypatch.setattr(dense_update, "multiprocessors", lambda count=multiprocessors: count)
        picked = [dense_update.variant_for(128, layers, networks) for networks in (1, enough - 1, enough, 1024)]
        assert picked == ["four_chunks"] * 2 + ["four_chunks_wide"] * 2
        assert dense_update.variant_for(64, layers, 1024) == "two_chunks"


# Faults that the tests above must notice


@pytest.mark.parametrize(("variant", "rows"), [("square", 37), ("run", 1)])
def test_the_faults_below_are_the_only_ones_of_their_case(variant, rows):
    assert_gradient(faulty_case(rows), variant)


def faulty_case(rows):
    return UpdateCase((5, 3, 2), 2, rows, dropout=0.3)


def with_fault(module, right, wrong):
    """A copy of a module, another text in one place of it or several."""
    source = inspect.getsource(module)
    assert source.count(right) >= 1, "the fault no longer fits the kernel"
    faulty = types.ModuleType("faulty_kernel")
    exec(compile(source.replace(right, wrong), "faulty_kernel", "exec"), faulty.__dict__)
    return faulty


FAULTS = {
    "a term left out": ("for row in range(UNROLLED):", "for row in range(1, UNROLLED):"),
    "a chunk left out": ("for other in range(chunks):", "for other in range(1, chunks):"),
    "the last rows left out": ("count + uint32(UNROLLED - 1)", "count"),
    "the row behind gathered": (
        "image_rows[uint32(network * rows_pitch + (row if row < batch else last_row))]",
        "image_rows[uint32(network * rows_pitch + row + uint32(1))]",
    ),
    "another network's rows": ("image_rows[uint32(network * rows_pitch + (", "image_rows[uint32(("),
    "rows beyond the batch counted": ("inside = o < outputs and row < batch", "inside = o < outputs"),
    "the bias scaled": ("(scale if is_weight else float32(1))", "scale"),
    "bytes not scaled": ("scale = image_scale if", "scale = float32(1) if"),
    "another mask": ("dropout_row_key(mask_key, row), column)", "dropout_row_key(mask_key, column), row)"),
    "the mask of another step": ("uint32(uint32(epoch[0]) * per_epoch + index)", "index"),
    "what stays of dropout not scaled": ("(kept if is_kept", "(float32(1) if is_kept"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch):
    faulty = with_fault(dense_update, *FAULTS[fault])
    faulty.VARIANTS.update(SMALL)
    case = faulty_case(37)
    monkeypatch.setattr("update_cases.dense_update", faulty)
    with pytest.raises((AssertionError, IndexError)):
        assert_gradient(case, "square")


SINGLE_ROW_FAULTS = {
    "a weight left out": ("for k in range(weights_each):", "for k in range(1, weights_each):"),
    "no carry to the next input": ("i = uint32(i + uint32(1))", "i = uint32(i)"),
    "no way down": ("i = uint32(i + down)", "i = uint32(i)"),
    "the last output twice": ("if o >= outputs:", "if o > outputs:"),
    "the bias as a weight": ("bias if own_inputs[k] == inputs else", "bias if own_inputs[k] > inputs else"),
    "the bias times a pixel": ("xs[k] if is_weight else float32(1)", "xs[k]"),
    "the bias scaled": ("(scale if is_weight else float32(1))", "scale"),
    "the last biases left out": ("if i > inputs:", "if i >= inputs:"),
    "the row behind gathered": ("network * rows_pitch)])", "network * rows_pitch + uint32(1))])"),
    "another network's row": ("image_rows[uint32(network * rows_pitch)]", "image_rows[uint32(0)]"),
    "another network's dz": ("(DZ)]) + network * outputs)", "(DZ)]))"),
    "another network's activations": ("(X)]) + network * inputs)", "(X)]))"),
    "another network's weights": ("weight = uint32(network * length + ", "weight = uint32("),
    "bytes in the wrong order": ("i % uint32(4) * uint32(8)", "uint32(24) - i % uint32(4) * uint32(8)"),
    "bytes not scaled": ("scale = image_scale if", "scale = float32(1) if"),
    "another mask": ("dropout_hash(key, i)", "dropout_hash(key, uint32(i + uint32(1)))"),
    "the mask of another row": ("step, layer), uint32(0))", "step, layer), uint32(1))"),
    "the mask of another step": ("uint32(uint32(epoch[0]) * per_epoch + index)", "index"),
    "what stays of dropout not scaled": ("(kept if dropout_hash", "(float32(1) if dropout_hash"),
}


@pytest.mark.parametrize("fault", SINGLE_ROW_FAULTS)
def test_a_fault_of_the_variant_for_one_row_is_noticed(fault, monkeypatch):
    faulty = with_fault(dense_update_single_row, *SINGLE_ROW_FAULTS[fault])
    monkeypatch.setattr(dense_update, "make_single_row_kernel", faulty.make_single_row_kernel)
    with pytest.raises((AssertionError, IndexError)):
        assert_gradient(faulty_case(1), "run")
