"""squared_error: against float64 NumpyOps, variant against variant, and where it is hard."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import Labels, assert_equals_oracle, logits_of, run_loss, shares_of, simulator_only
from tolerances import assert_same_bits

from gpunet.kernels import row_losses
from gpunet.kernels.row_losses import Few, Many
from gpunet.kernels.squared_error import LOSS, squared_error

NAME = "squared_error"


@pytest.fixture
def small_variants(monkeypatch):
    monkeypatch.setitem(row_losses.VARIANTS, "few_classes", Few(threads=12))
    monkeypatch.setitem(row_losses.VARIANTS, "many_classes", Many(threads=8, chunks=2))


SHAPES = [
    (1, 1, 1, "few_classes"),
    (3, 13, 1, "few_classes"),
    (1, 5, 2, "few_classes"),
    (2, 3, 10, "few_classes"),
    (1, 1, 2, "many_classes"),
    (3, 2, 33, "many_classes"),
    (1, 2, 64, "many_classes"),
    (1, 2, 65, "many_classes"),
]


@pytest.mark.parametrize(("networks", "rows", "outputs", "variant"), SHAPES)
def test_squared_error_equals_the_oracle(small_variants, networks, rows, outputs, variant):
    labels, logits = Labels(networks, rows, outputs), logits_of(networks, rows, outputs)
    results = run_loss(squared_error, logits, labels.gathered, variant)
    assert_equals_oracle(NAME, logits, labels.values, results)


@pytest.mark.parametrize(("rows", "outputs"), [(65, 1), (7, 10), (2, 33)])
def test_squared_error_equals_the_oracle_with_its_own_variants(rows, outputs):
    labels, logits = Labels(1, rows, outputs), logits_of(1, rows, outputs)
    assert_equals_oracle(NAME, logits, labels.values, run_loss(squared_error, logits, labels.gathered))


@pytest.mark.parametrize(("networks", "rows", "outputs", "variant"), [SHAPES[1], SHAPES[3], SHAPES[5]])
def test_squared_error_of_shares_equals_the_oracle(small_variants, networks, rows, outputs, variant):
    labels, logits, shares = (
        Labels(networks, rows, outputs),
        logits_of(networks, rows, outputs),
        shares_of(networks, rows),
    )
    results = run_loss(squared_error, logits, labels.gathered, variant, shares=shares)
    assert_equals_oracle(NAME, logits, labels.values, results, shares)


@pytest.mark.parametrize("outputs", [2, 10, 32])
def test_squared_error_variants_give_the_same_bits(monkeypatch, outputs):
    monkeypatch.setitem(row_losses.VARIANTS, "many_classes", Many(threads=8, chunks=2))
    labels, logits = Labels(1, 4, outputs), logits_of(1, 4, outputs)
    few = run_loss(squared_error, logits, labels.gathered, "few_classes")
    many = run_loss(squared_error, logits, labels.plain, "many_classes")
    for one, other in zip(few, many, strict=True):
        assert_same_bits(one, other)


def test_squared_error_losses_only_and_networks_alone(small_variants):
    labels, logits = Labels(3, 4, 3), logits_of(3, 4, 3)
    results = run_loss(squared_error, logits, labels.gathered)
    losses_only = run_loss(squared_error, logits, labels.plain, gradient=False)
    alone = run_loss(squared_error, logits[:1], labels.values[0].copy())
    for index, result in enumerate(results):
        assert_same_bits(alone[index], result[:1])
        if index < 2:
            assert_same_bits(losses_only[index], result)


def test_squared_error_of_one_output_takes_the_label_as_target(small_variants):
    z = np.array([0.5, 0.5, 0.75, 0.75, -3, -3], np.float32)
    labels = np.array([0, 1] * 3, np.int32)
    results = run_loss(squared_error, z.reshape(1, 6, 1), labels)
    assert results.hits[0].tolist() == [1, 0, 0, 1, 1, 0]
    assert results.row_loss[0].tolist() == [0.25, 0.25, 0.5625, 0.0625, 9, 16]
    np.testing.assert_allclose(results.dlogits[0, :, 0] * 3, [0.5, -0.5, 0.75, -0.25, -3, -4], rtol=2e-7)


@pytest.mark.parametrize(("outputs", "variant"), [(1, None), (3, "few_classes"), (3, "many_classes")])
def test_squared_error_passes_on_nan(small_variants, outputs, variant):
    logits = np.ones((1, 2 * outputs, outputs), np.float32)
    for row in range(2 * outputs):
        logits[0, row, row % outputs] = np.nan
    labels = (np.arange(2 * outputs) // outputs % max(2, outputs)).astype(np.int32)
    results = run_loss(squared_error, logits, labels, variant)
    assert np.isnan(results.row_loss).all() and not results.hits.any()
    assert (np.isnan(results.dlogits) == np.isnan(logits)).all()


FAULTS = [
    ("term", lambda z, z_max, target: z),
    ("addend", lambda error, target: np.float32(0) if target else error),
    ("loss", lambda total, z_max, z_target, error_target, classes: total),
    ("factor", lambda total, error_target, inverse_rows, classes: inverse_rows / np.float32(classes)),
]


@simulator_only
@pytest.mark.parametrize(("function", "fault"), FAULTS)
@pytest.mark.parametrize("variant", ["few_classes", "many_classes"])
def test_squared_error_tolerance_catches_a_fault(small_variants, variant, function, fault):
    labels, logits = Labels(1, 5, 4), logits_of(1, 5, 4)
    faulty = LOSS._replace(**{function: fault})

    def launcher(logits, labels, row_loss, hits, dlogits, *, variant, **sizes):
        row_losses.launch(faulty, logits, labels, row_loss, hits, dlogits, **sizes, variant=variant, stream=0)

    with pytest.raises(AssertionError):
        assert_equals_oracle(NAME, logits, labels.values, run_loss(launcher, logits, labels.gathered, variant))
