"""clip_gradient on small tiles against float64 NumpyOps, at every edge of a block's stretch; and mutants of it."""

from __future__ import annotations

import inspect
import types

import numpy as np
import pytest
from dense_cases import simulator_only
from tolerances import assert_same_bits, assert_within

from gpunet.equivalence.tolerances import clip_bounds
from gpunet.kernels import clip
from gpunet.ops import NumpyOps

SMALL = clip.Tile(threads=8, items=3, groups=4)  # stretches of 24
LENGTHS = [1, 7, 23, 24, 25, 24 * 8, 24 * 9 + 5]  # with more stretches than threads in the end
GUARD = np.float32(77)


def clipped(gradient, max_norm, tile=SMALL, module=clip):
    """The gradient and the norms that the kernels leave, once it is certain that nothing was written elsewhere."""
    networks, length = gradient.shape
    flat = np.append(gradient.reshape(-1), GUARD).astype(np.float32)
    norms = np.full(networks + 1, GUARD)
    sums = np.full(networks * module.stretches_of(length, tile) + 1, GUARD)
    module.clip_gradient(flat, max_norm, norms, sums, networks=networks, length=length, tile=tile)
    assert flat[-1] == norms[-1] == sums[-1] == GUARD
    return flat[:-1].reshape(gradient.shape), norms[:-1]


def gradients(length, networks=2):
    """The first network's is ten times as long as the next one's."""
    rng = np.random.default_rng(length)
    return (rng.standard_normal((networks, length)) * 10.0 ** -np.arange(networks)[:, None]).astype(np.float32)


def assert_clips(length, tile=SMALL, module=clip, networks=2):
    gradient = gradients(length, networks)
    max_norm = np.float32(np.linalg.norm(gradient[0]) / 3)  # between the two
    expected, norms = gradient.astype(np.float64), np.empty(networks)
    NumpyOps(np.float64).clip_gradient(expected, float(max_norm), norms)
    actual, actual_norms = clipped(gradient, max_norm, tile, module)
    norm_bound, bound = clip_bounds(expected, norms)
    assert_within(actual_norms, norms, norm_bound)
    assert_within(actual, expected, bound)
    if networks > 1:
        assert_same_bits(actual[1], gradient[1])  # short enough: not touched


@pytest.mark.parametrize("length", LENGTHS)
def test_clip_gradient_equals_the_oracle(length):
    assert_clips(length)


def test_clip_gradient_in_production_tiles_equals_the_oracle():
    assert_clips(clip.PRODUCTION.stretch + 1, clip.PRODUCTION, networks=1)


def test_networks_side_by_side_have_the_bits_that_they_have_alone():
    gradient = gradients(61, networks=3)
    together, norms = clipped(gradient, 0.05)
    for network in range(3):
        alone, norm = clipped(gradient[network : network + 1], 0.05)
        assert_same_bits(together[network], alone[0])
        assert_same_bits(norms[network : network + 1], norm)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the simulator's threads warn
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_gradient_hides_nothing(bad):
    gradient = gradients(61)
    gradient[0, 60] = bad
    actual, norms = clipped(gradient, 1.0)
    assert not np.isfinite(norms[0]) and not np.isfinite(actual[0]).all() and np.isfinite(actual[1]).all()
    assert np.isnan(actual[0]).all() or bad == np.inf


def test_clip_gradient_leaves_a_gradient_of_zeros():
    actual, norms = clipped(np.zeros((1, 30), np.float32), 1.0)
    assert not actual.any() and not norms.any()


FAULTS = {
    "a thread's last element left out": ("g = gradient[", "g = float32(k < items - 1) * gradient["),
    "no barrier before the groups add": ("stage[t] = value\n        cuda.syncthreads()", "stage[t] = value"),
    "a group left out": ("for group in range(groups):", "for group in range(groups - 1):"),
    "further stretches forgotten": ("while other < stretches:", "if other < stretches:"),
    "a square taken twice": ("cuda.fma(g, g, total)", "cuda.fma(g, g, total + g)"),
    "another network's sums": ("sums[uint32(network * stretches + other)]", "sums[other]"),
    "the wrong side of the limit": ("factor >= float32(1)", "factor < float32(1)"),
}  # fmt: skip


@simulator_only
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    right, wrong = FAULTS[fault]
    source = inspect.getsource(clip)
    assert right in source
    module = types.ModuleType("gpunet.kernels.faulty_clip")
    exec(compile(source.replace(right, wrong), "faulty_clip.py", "exec"), module.__dict__)
    with pytest.raises((AssertionError, ValueError)):  # math.sqrt refuses what was never written
        assert_clips(24 * 9 + 5, module.Tile(*SMALL), module)
