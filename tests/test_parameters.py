"""The flat parameter buffer: where things lie in it, and what they are at first."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapes

from gpunet.parameters import INITIALIZERS, ParameterLayout, initial_parameters, named_views


@pytest.mark.parametrize("sizes", shapes.NETWORKS)
def test_layout_begins_every_view_on_128_bytes(sizes):
    layout = ParameterLayout(sizes)
    assert layout.length % 32 == 0
    flat = np.zeros((2, layout.length), np.float32)
    for name, view in named_views(layout.views(flat)).items():
        offsets = (view.ctypes.data - flat.ctypes.data) / 4, view.strides[0] / 4
        assert all(offset % 32 == 0 for offset in offsets), name


@pytest.mark.parametrize("sizes", shapes.NETWORKS)
def test_layout_views_are_views_that_share_no_element(sizes):
    layout = ParameterLayout(sizes)
    flat = np.zeros((2, layout.length))
    expected_shapes = {}
    for index, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        expected_shapes |= {f"weight{index}": (2, inputs, outputs), f"bias{index}": (2, outputs)}
    views = named_views(layout.views(flat))
    assert {name: view.shape for name, view in views.items()} == expected_shapes
    assert list(views) == list(expected_shapes)
    for view in views.values():
        view += 1
    assert flat.max() == 1 and flat.sum() == 2 * layout.count
    assert layout.count == sum((i + 1) * o for i, o in zip(sizes, sizes[1:], strict=False))


def test_layout_of_exp2_is_as_worked_out():
    # 784 * 64 = 50176 and 64 are multiples of 32; 64 * 10 = 640 is one; 10 takes 32.
    layout = ParameterLayout((784, 64, 10))
    assert [tuple(layer) for layer in layout.layers] == [(0, 50176, 784, 64), (50240, 50880, 64, 10)]
    assert (layout.length, layout.count) == (50912, 50890)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_initial_parameters_of_a_network_follow_from_its_seed_alone(init):
    layout = ParameterLayout((13, 6, 3))
    together = initial_parameters(layout, init, (5, 0, 7, 5))
    assert together.dtype == np.float64
    for network, seed in enumerate((5, 0, 7, 5)):
        np.testing.assert_array_equal(together[network], initial_parameters(layout, init, [seed])[0])
    assert not np.array_equal(together[0], together[1])
    np.testing.assert_array_equal(together[0], together[3])


@pytest.mark.parametrize("init", INITIALIZERS)
def test_initial_parameters_leave_the_padding_zero(init):
    layout = ParameterLayout((7, 5, 3))
    flat = initial_parameters(layout, init, [1])
    for _, view in named_views(layout.views(flat)).items():
        view[:] = 0
    assert not flat.any()


# The variance of the weights between n_in inputs and n_out outputs, and whether biases are drawn.
VARIANCES = {
    "pytorch": (lambda n_in, n_out: 1 / (3 * n_in), True),  # uniform within +-b has b^2 / 3
    "normal": (lambda n_in, n_out: 1.0, False),
    "glorot": (lambda n_in, n_out: 2 / (n_in + n_out), False),
    "he": (lambda n_in, n_out: 2 / n_in, False),
}


@pytest.mark.parametrize("init", INITIALIZERS)
def test_initial_parameters_have_their_published_spread(init):
    sizes = (300, 100, 50)
    variance, draws_biases = VARIANCES[init]
    layout = ParameterLayout(sizes)
    for (weight, bias), n_in, n_out in zip(
        layout.views(initial_parameters(layout, init, [3])), sizes, sizes[1:], strict=False
    ):
        expected = variance(n_in, n_out)
        # A standard deviation of the mean is sqrt(v / n), of the variance at most sqrt(2 / n) v.
        assert abs(weight.mean()) < 4 * math.sqrt(expected / weight.size)
        assert abs(weight.var() / expected - 1) < 4 * math.sqrt(2 / weight.size)
        assert bias.any() == draws_biases


@pytest.mark.parametrize(
    ("init", "bound"), [("pytorch", 1 / math.sqrt(300)), ("glorot", math.sqrt(6 / (300 + 100)))], ids=str
)
def test_initial_parameters_of_uniform_kind_fill_their_bounds(init, bound):
    layout = ParameterLayout((300, 100))
    ((weight, bias),) = layout.views(initial_parameters(layout, init, [3]))
    assert 0.999 * bound < np.abs(weight).max() <= bound
    assert np.abs(bias).max() <= bound
