"""The statistics of a run with many seeds, against NumPy by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.reporting.facts import differences, interruption
from gpunet.reporting.seeds_facts import (
    Spread,
    band,
    best_and_worst,
    class_spreads,
    kept_text,
    left_out,
    named,
    spread,
    spreads,
)


def test_spread_by_hand():
    found = spread(np.array([1.0, 2.0, 6.0]))
    assert found == Spread(mean=3.0, sd=pytest.approx(7**0.5), min=1.0, max=6.0)
    assert spread(np.array([0.5])) == Spread(0.5, None, 0.5, 0.5)


@pytest.mark.parametrize(
    ("found", "is_share", "texts"),
    [
        (Spread(0.9712, 0.00665, 0.956, 1.0), True, ("0.971", "0.007", "0.956", "1.000")),
        (Spread(0.12346, 0.0005, 0.1, 0.2), False, ("0.1235", "0.0005", "0.1000", "0.2000")),
        (Spread(0.00012, 0.00001, 0.0001, 0.0002), False, ("1.2e-04", "1.0e-05", "1.0e-04", "2.0e-04")),
        (Spread(0.5, None, 0.5, 0.5), True, ("0.500", "-", "0.500", "0.500")),
        (Spread(np.inf, np.nan, 1.0, np.inf), False, ("inf", "nan", "1.0e+00", "inf")),
    ],
)
def test_spread_texts_have_as_many_decimals_as_one_another(found, is_share, texts):
    assert found.texts(is_share=is_share) == texts
    assert all(len(text) < 8 for text in texts)


def test_spreads_are_over_the_networks_that_count(seeds, seeds_left_out):
    for result, sound in ((seeds, [0, 1, 2, 3]), (seeds_left_out, [0, 2])):
        found = {figure.key: each for figure, each in spreads(result)}
        expected = {
            "test_accuracy": seeds.test.accuracy,
            "validation_loss": seeds.history.validation.loss[:, -1],
            "train_accuracy_after": seeds.history.train_after.accuracy[:, -1],
        }
        for key, values in expected.items():
            values = values[sound]
            assert found[key].mean == pytest.approx(values.sum() / len(values), rel=1e-15)
            assert found[key].sd == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / (len(values) - 1)))
            assert (found[key].min, found[key].max) == (min(values), max(values))


def test_class_spreads_follow_from_the_confusion_matrices(seeds_left_out):
    f1 = []
    for matrix in seeds_left_out.test.confusion_matrix[[0, 2]]:
        f1.append(2 * matrix[4, 4] / (matrix[4].sum() + matrix[:, 4].sum()))
    found = class_spreads(seeds_left_out)["f1"][4]
    assert (found.mean, found.min, found.max) == (pytest.approx(np.mean(f1)), min(f1), max(f1))


def test_band_is_from_the_10th_to_the_90th_percentile():
    low, high = band(np.arange(101.0)[:, None] * [1, 2])
    assert low.tolist() == [10, 20] and high.tolist() == [90, 180]


def test_best_and_worst_are_all_that_are_equal(seeds, seeds_left_out):
    for result in (seeds, seeds_left_out):
        accuracy = dict(zip(result.seeds, result.test.accuracy, strict=True))
        counted = {seed: value for seed, value in accuracy.items() if np.isfinite(value)}
        best, worst = best_and_worst(result)
        assert best == [seed for seed, value in counted.items() if value == max(counted.values())]
        assert worst == [seed for seed, value in counted.items() if value == min(counted.values())]


@pytest.mark.parametrize(
    ("seeds_named", "text"),
    [([4], "seed 4"), ([4, 7], "seeds 4 and 7"), ([1, 2, 3], "seeds 1, 2 and 3")],
)
def test_named_is_what_a_person_says(seeds_named, text):
    assert named(seeds_named) == text


def test_named_cuts_a_long_list():
    assert named(list(range(30))) == "seeds 0, 1, 2, 3, 4, 5, 6, 7, ... (30 of them)"


def test_what_befell_networks_is_said(seeds, seeds_left_out, seeds_before_an_epoch):
    assert left_out(seeds) is None and interruption(seeds) is None
    assert left_out(seeds_left_out) == "Left out: seed 4, whose losses ceased to be finite numbers."
    assert interruption(seeds_left_out) == "interrupted after 3 of 4 networks"
    assert interruption(seeds_before_an_epoch) == "interrupted after 0 of 2 epochs of 1 of 4 networks"
    assert kept_text(seeds) == "seed 6's (as asked for)"


def test_differences_name_how_many_images_a_seed_has(two_seeds_binary):
    assert "images: only 40" in differences(two_seeds_binary)
