"""softmax_cross_entropy: against float64 NumpyOps, variant against variant, and where it is hard."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from loss_cases import Labels, assert_equals_oracle, logits_of, mutant, oracle, run_loss, shares_of, simulator_only
from tolerances import assert_same_bits

from gpunet.kernels import row_losses
from gpunet.kernels.row_losses import Few, Many
from gpunet.kernels.softmax_cross_entropy import LOSS, softmax_cross_entropy

NAME = "softmax_cross_entropy"

# 8 threads of a block take slabs of 64 classes; 20 threads take ten rows of two classes, or one of twenty.
SMALL = {"few_classes": Few(threads=20), "many_classes": Many(threads=8, chunks=2)}


@pytest.fixture
def small_variants(monkeypatch):
    for name, constants in SMALL.items():
        monkeypatch.setitem(row_losses.VARIANTS, name, constants)


# (P, B, C, variant): one, primes, one below, at and above the edges of rows, chunks and slabs.
SHAPES = [
    (1, 1, 2, "few_classes"),
    (3, 9, 2, "few_classes"),
    (1, 10, 2, "few_classes"),
    (2, 11, 2, "few_classes"),
    (3, 7, 10, "few_classes"),  # two rows a block
    (1, 3, 19, "few_classes"),
    (1, 1, 2, "many_classes"),
    (3, 2, 31, "many_classes"),
    (1, 2, 32, "many_classes"),
    (2, 1, 33, "many_classes"),
    (1, 3, 63, "many_classes"),
    (1, 2, 64, "many_classes"),
    (3, 2, 65, "many_classes"),
    (1, 2, 131, "many_classes"),
]


@pytest.mark.parametrize(("networks", "rows", "classes", "variant"), SHAPES)
def test_softmax_cross_entropy_equals_the_oracle(small_variants, networks, rows, classes, variant):
    labels, logits = Labels(networks, rows, classes), logits_of(networks, rows, classes)
    results = run_loss(softmax_cross_entropy, logits, labels.gathered, variant)
    assert_equals_oracle(NAME, logits, labels.values, results)


@pytest.mark.parametrize(("rows", "classes"), [(7, 10), (1, 31), (3, 32), (2, 33), (1, 515)])
def test_softmax_cross_entropy_equals_the_oracle_with_its_own_variants(rows, classes):
    labels, logits = Labels(1, rows, classes), logits_of(1, rows, classes)
    assert_equals_oracle(NAME, logits, labels.values, run_loss(softmax_cross_entropy, logits, labels.gathered))


@pytest.mark.parametrize("classes", [2, 3, 10, 32])
def test_softmax_cross_entropy_variants_give_the_same_bits(monkeypatch, classes):
    monkeypatch.setitem(row_losses.VARIANTS, "many_classes", SMALL["many_classes"])
    labels, logits = Labels(1, 5, classes), logits_of(1, 5, classes)
    few = run_loss(softmax_cross_entropy, logits, labels.gathered, "few_classes")
    many = run_loss(softmax_cross_entropy, logits, labels.gathered, "many_classes")
    for one, other in zip(few, many, strict=True):
        assert_same_bits(one, other)


def test_softmax_cross_entropy_has_the_bits_of_other_slabs(monkeypatch):
    labels, logits = Labels(1, 2, 300), logits_of(1, 2, 300)
    by_slab = []
    for constants in (Many(threads=8, chunks=2), Many(threads=16, chunks=1), Many(threads=32, chunks=16)):
        monkeypatch.setitem(row_losses.VARIANTS, "many_classes", constants)
        by_slab.append(run_loss(softmax_cross_entropy, logits, labels.gathered))
    for other in by_slab[1:]:
        for one, two in zip(by_slab[0], other, strict=True):
            assert_same_bits(one, two)


@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
def test_softmax_cross_entropy_labels_losses_only_and_networks_alone(small_variants, variant):
    labels, logits = Labels(3, 4, 10), logits_of(3, 4, 10)
    results = run_loss(softmax_cross_entropy, logits, labels.gathered, variant)
    plain = run_loss(softmax_cross_entropy, logits, labels.plain, variant)
    losses_only = run_loss(softmax_cross_entropy, logits, labels.gathered, variant, gradient=False)
    alone = run_loss(softmax_cross_entropy, logits[1:2], labels.values[1].copy(), variant)
    assert losses_only.dlogits is None
    for index, result in enumerate(results):
        assert_same_bits(plain[index], result)
        assert_same_bits(alone[index], result[1:2])
        if index < 2:
            assert_same_bits(losses_only[index], result)


@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
def test_softmax_cross_entropy_is_stable(small_variants, variant):
    """Extreme logits, equal ones (the first counts), zeros of both signs; hand-worked."""
    rows = [
        ([1e4, -1e4, 0], 0, 0, 1, [0, 0, 0]),
        ([1e4, -1e4, 0], 1, 2e4, 0, [1, -1, 0]),
        ([-1e4, -1e4, -1e4], 0, np.log(3), 1, [-2 / 3, 1 / 3, 1 / 3]),
        ([-1e4, -1e4, -1e4], 2, np.log(3), 0, [1 / 3, 1 / 3, -2 / 3]),
        ([5, 7, 7], 1, np.log(2 + np.exp(-2)), 1, None),
        ([5, 7, 7], 2, np.log(2 + np.exp(-2)), 0, None),
        ([-0.0, 0.0, -1], 0, np.log(2 + np.exp(-1)), 1, None),
        ([20, 0, 0], 0, np.log1p(2 * np.exp(-20)), 1, None),  # 1 + 4e-9 is 1 in float32
    ]
    logits = np.array([[row[0] for row in rows]], np.float32)
    labels = np.array([row[1] for row in rows], np.int32)
    results = run_loss(softmax_cross_entropy, logits, labels, variant)
    np.testing.assert_allclose(results.row_loss[0], [row[2] for row in rows], rtol=3e-7, atol=0)
    assert results.hits[0].tolist() == [row[3] for row in rows]
    for dlogits, row in zip(results.dlogits[0], rows, strict=True):
        if row[4] is not None:
            np.testing.assert_allclose(dlogits * len(rows), row[4], rtol=3e-7, atol=0)
    assert_equals_oracle(NAME, logits, labels[None], results)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_softmax_cross_entropy_passes_on_what_is_not_finite(small_variants, variant, value):
    """With the value in each place of a row in turn, for each label: the oracle's losses, hits and gradients."""
    classes = 3
    logits = np.zeros((1, classes * classes, classes), np.float32) + np.array([1, 3, 2], np.float32)
    labels = np.repeat(np.arange(classes, dtype=np.int32), classes)
    for row in range(len(labels)):
        logits[0, row, row % classes] = value
    results = run_loss(softmax_cross_entropy, logits, labels, variant)
    expected = oracle(NAME, logits, labels[None])
    if np.isnan(value):
        assert np.isnan(results.row_loss).all() and np.isnan(results.dlogits).all() and not results.hits.any()
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=0)


# Weights


@pytest.mark.parametrize(("networks", "rows", "classes", "variant"), [SHAPES[3], SHAPES[4], SHAPES[9]])
def test_softmax_cross_entropy_of_shares_equals_the_oracle(small_variants, networks, rows, classes, variant):
    labels, logits, shares = (
        Labels(networks, rows, classes),
        logits_of(networks, rows, classes),
        shares_of(networks, rows),
    )
    results = run_loss(softmax_cross_entropy, logits, labels.gathered, variant, shares=shares)
    assert_equals_oracle(NAME, logits, labels.values, results, shares)
    plain = run_loss(softmax_cross_entropy, logits, labels.gathered, variant)
    assert_same_bits(results.row_loss, plain.row_loss)
    assert_same_bits(results.hits, plain.hits)
    losses_only = run_loss(softmax_cross_entropy, logits, labels.gathered, variant, gradient=False, shares=shares)
    assert_same_bits(losses_only.row_loss, plain.row_loss)


@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
def test_softmax_cross_entropy_of_equal_shares_has_the_bits_of_none(small_variants, variant):
    labels, logits = Labels(2, 7, 5), logits_of(2, 7, 5)
    equal = run_loss(softmax_cross_entropy, logits, labels.gathered, variant, shares=np.full((2, 7), 1 / 7, np.float32))
    for one, other in zip(equal, run_loss(softmax_cross_entropy, logits, labels.gathered, variant), strict=True):
        assert_same_bits(one, other)


@simulator_only
@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return shares[0][uint32(uint32(network * loss_pitch) + row)]", "return shares[0][network * 7 + row]"),
        ("return shares[0][uint32(uint32(network * loss_pitch) + row)]", "return shares[0][network * loss_pitch]"),
        ("return own_share if weighted else equal_share", "return equal_share"),
    ],
)
def test_softmax_cross_entropy_mutant_of_the_shares_fails(variant, old, new):
    module = mutant("row_losses", old, new)
    module.VARIANTS["few_classes"] = module.Few(*SMALL["few_classes"])
    module.VARIANTS["many_classes"] = module.Many(*SMALL["many_classes"])
    labels, logits, shares = Labels(2, 7, 5), logits_of(2, 7, 5), shares_of(2, 7)

    def launcher(logits, labels, row_loss, hits, dlogits, *, variant, **sizes):
        module.launch(LOSS, logits, labels, row_loss, hits, dlogits, **sizes, variant=variant, stream=0)

    with pytest.raises(AssertionError):
        results = run_loss(launcher, logits, labels.gathered, variant, shares=shares)
        assert_equals_oracle(NAME, logits, labels.values, results, shares)


# Mutants

FAULTS = [
    ("addend", lambda e, target: LOSS.addend(e, np.float32(0))),  # the label's own term is not left out
    ("addend", lambda e, target: np.float32(0) if e == np.float32(1) else LOSS.addend(e, target)),  # one is dropped
    ("gradient", lambda e, target, rest, factor: e * factor),  # the label's gradient is p
    ("factor", lambda rest, e_target, share, classes: np.float32(1) / (rest + e_target)),  # not the mean
    ("loss", lambda rest, z_max, z_target, e_target, classes: np.float32(np.log1p(rest + (e_target - 1)))),
]


@simulator_only
@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
@pytest.mark.parametrize(("function", "fault"), FAULTS)
def test_softmax_cross_entropy_tolerance_catches_a_fault(small_variants, variant, function, fault):
    labels, logits = Labels(1, 6, 5), logits_of(1, 6, 5)
    faulty = LOSS._replace(**{function: fault})

    def launcher(logits, labels, row_loss, hits, dlogits, *, variant, **sizes):
        row_losses.launch(faulty, logits, labels, row_loss, hits, dlogits, **sizes, variant=variant, stream=0)

    with pytest.raises(AssertionError):
        results = run_loss(launcher, logits, labels.gathered, variant)
        assert_equals_oracle(NAME, logits, labels.values, results)


MUTANTS = [
    ("few_classes", "rows[uint32(uint32(network * rows_pitch) + row)]", "rows[uint32(network * batch) + row]"),
    ("few_classes", "for j in range(uint32(1), uint32(classes)):", "for j in range(0, 0):"),  # the maximum
    ("few_classes", "range(uint32(classes)):\n                other", "range(1, classes):\n                other"),
    ("few_classes", "return z < z_target if column < label else z <= z_target", "return z <= z_target"),
    ("many_classes", "for k in range(uint32(CHUNK)):", "for k in range(uint32(CHUNK - 1)):"),
    ("many_classes", "for chunk in range(uint32(chunks)):", "for chunk in range(uint32(chunks - 1)):"),
    (
        "many_classes",
        "+ turn * uint32(threads)) < classes else float32(0)",
        "+ turn * uint32(threads)) <= classes else 0",
    ),
    ("many_classes", "for group in range(uint32(groups)):", "for group in range(uint32(1)):"),
    ("many_classes", "cuda.syncthreads_and(int32(hit))", "int32(hit)"),
]


@simulator_only
@pytest.mark.parametrize(("variant", "old", "new"), MUTANTS)
def test_softmax_cross_entropy_mutant_of_the_kernels_fails(variant, old, new):
    module = mutant("row_losses", old, new)
    module.VARIANTS["few_classes"] = module.Few(*SMALL["few_classes"])
    module.VARIANTS["many_classes"] = module.Many(*SMALL["many_classes"])
    classes = 10 if variant == "few_classes" else 60
    labels, logits = Labels(2, 6, classes), logits_of(2, 6, classes, scale=40)
    logits[:, 3::7] = -100  # all alike, and far from zero
    label = labels.values[0, 0]  # the second largest here, in the eyes of the second thread or the third
    logits[0, 0] = 0
    logits[0, 0, [label, 2 if label == 1 else 1]] = [1, 2]

    def launcher(logits, labels, row_loss, hits, dlogits, *, variant, **sizes):
        module.launch(LOSS, logits, labels, row_loss, hits, dlogits, **sizes, variant=variant, stream=0)

    with (
        pytest.raises((AssertionError, ValueError, OverflowError)),
        warnings.catch_warnings(),
    ):  # of the logarithm of a negative number
        warnings.simplefilter("ignore")
        results = run_loss(launcher, logits, labels.gathered, variant)
        assert_equals_oracle(NAME, logits, labels.values, results)
