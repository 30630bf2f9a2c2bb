"""binary_cross_entropy: against float64 NumpyOps, and where it is hard."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import Labels, assert_equals_oracle, logits_of, run_loss, shares_of, simulator_only
from tolerances import assert_same_bits

from gpunet.kernels import row_losses
from gpunet.kernels.binary_cross_entropy import LOSS, binary_cross_entropy
from gpunet.kernels.row_losses import Few

NAME = "binary_cross_entropy"


@pytest.fixture
def small_variants(monkeypatch):
    monkeypatch.setitem(row_losses.VARIANTS, "few_classes", Few(threads=8))


@pytest.mark.parametrize(("networks", "rows"), [(1, 1), (3, 1), (3, 7), (1, 8), (2, 9), (1, 17)])
def test_binary_cross_entropy_equals_the_oracle(small_variants, networks, rows):
    labels, logits = Labels(networks, rows, 1), logits_of(networks, rows, 1)
    results = run_loss(binary_cross_entropy, logits, labels.gathered)
    assert_equals_oracle(NAME, logits, labels.values, results)


def test_binary_cross_entropy_equals_the_oracle_with_its_own_variant():
    labels, logits = Labels(1, 65, 1), logits_of(1, 65, 1)
    assert_equals_oracle(NAME, logits, labels.values, run_loss(binary_cross_entropy, logits, labels.gathered))


def test_binary_cross_entropy_labels_losses_only_and_networks_alone(small_variants):
    labels, logits = Labels(3, 10, 1), logits_of(3, 10, 1)
    results = run_loss(binary_cross_entropy, logits, labels.gathered)
    plain = run_loss(binary_cross_entropy, logits, labels.plain)
    losses_only = run_loss(binary_cross_entropy, logits, labels.gathered, gradient=False)
    alone = run_loss(binary_cross_entropy, logits[2:], labels.values[2].copy())
    for index, result in enumerate(results):
        assert_same_bits(plain[index], result)
        assert_same_bits(alone[index], result[2:])
        if index < 2:
            assert_same_bits(losses_only[index], result)


@pytest.mark.parametrize(("networks", "rows"), [(1, 1), (2, 9)])
def test_binary_cross_entropy_of_shares_equals_the_oracle(small_variants, networks, rows):
    labels, logits, shares = Labels(networks, rows, 1), logits_of(networks, rows, 1), shares_of(networks, rows)
    results = run_loss(binary_cross_entropy, logits, labels.gathered, shares=shares)
    assert_equals_oracle(NAME, logits, labels.values, results, shares)


def test_binary_cross_entropy_is_stable(small_variants):
    """Both labels at extreme logits, at zero (class 0) and at the smallest number beside it."""
    least = np.finfo(np.float32).smallest_subnormal
    z = np.array([1e4, -1e4, 88, -88, 104, -104, 20, -20, 0.0, -0.0, least, -least], np.float32)
    logits = np.repeat(z, 2).reshape(1, -1, 1)
    labels = np.tile(np.array([0, 1], np.int32), len(z))
    results = run_loss(binary_cross_entropy, logits, labels)
    assert_equals_oracle(NAME, logits, labels[None], results)
    assert results.row_loss[0, :4].tolist() == [1e4, 0, 0, 1e4]
    assert results.hits[0].tolist() == [0, 1, 1, 0] * 4 + [1, 0] * 2 + [0, 1, 1, 0]
    assert results.dlogits[0, 0, 0] == np.float32(1 / len(labels))
    assert results.dlogits[0, 13, 0] < 0  # at z = 20 the sigmoid is 1 in float32, but the gradient is -2e-9, not 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_binary_cross_entropy_passes_on_what_is_not_finite(small_variants, value):
    results = run_loss(binary_cross_entropy, np.full((1, 2, 1), value, np.float32), np.array([0, 1], np.int32))
    if np.isnan(value):
        assert np.isnan(results.row_loss).all() and np.isnan(results.dlogits).all() and not results.hits.any()
    else:
        wrong = int(value < 0)
        assert results.row_loss[0, wrong] == np.inf and results.row_loss[0, 1 - wrong] == 0
        assert results.hits[0].tolist() == [wrong, 1 - wrong]
        assert results.dlogits[0, wrong, 0] == (0.5 if wrong == 0 else -0.5) and results.dlogits[0, 1 - wrong, 0] == 0


def test_binary_cross_entropy_refuses_several_logits_a_row():
    with pytest.raises(ValueError, match="one logit"):
        binary_cross_entropy(None, None, None, None, None, networks=1, rows=1, classes=2, loss_pitch=1)


def _sigmoid_minus_one(s, target, total, factor):
    z = -s if target else s
    return (np.float32(1) / (np.float32(1) + np.float32(np.exp(-np.clip(z, -80, 80)))) - target) * factor


FAULTS = [
    ("gradient", _sigmoid_minus_one),  # cancels
    ("gradient", lambda s, target, total, factor: -LOSS.gradient(s, np.float32(0), total, factor)),
    ("term", lambda z, z_max, target: z),
    ("loss", lambda total, z_max, z, s, classes: np.float32(np.log1p(np.exp(-np.abs(np.float64(s)))))),
    ("single_hit", lambda z, label: (z >= 0) == label),
]


@simulator_only
@pytest.mark.parametrize(("function", "fault"), FAULTS)
def test_binary_cross_entropy_tolerance_catches_a_fault(small_variants, function, fault):
    labels, logits = np.arange(12, dtype=np.int32) % 2, logits_of(1, 12, 1)
    logits[0, :6, 0] = [0, 0, 20, 20, -20, -20]
    faulty = LOSS._replace(**{function: fault})

    def launcher(logits, labels, row_loss, hits, dlogits, *, variant, **sizes):
        row_losses.launch(faulty, logits, labels, row_loss, hits, dlogits, **sizes, variant=variant, stream=0)

    with pytest.raises(AssertionError):
        assert_equals_oracle(NAME, logits, labels[None], run_loss(launcher, logits, labels))
