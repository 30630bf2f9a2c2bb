"""Means, standard deviations and prediction intervals, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet.reproduction import numpy_report, pytorch_report
from gpunet.reproduction.findings import (
    find,
    interval_text,
    lies_inside,
    mark,
    ours_text,
    prediction_interval,
    values_beside,
)
from gpunet.reproduction.printed import Printed

# Student's 97.5 % quantiles, from a printed table.
T2, T4 = 4.302653, 2.776445


def test_prediction_interval_is_the_hand_worked_one():
    # 1, 2, 3: mean 2, sd 1, n 3.
    assert prediction_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2 - T2 * math.sqrt(4 / 3), 2 + T2 * math.sqrt(4 / 3)), rel=1e-6
    )
    # 0.90 to 0.98 by 0.02: mean 0.94, sd sqrt(0.004 / 4).
    low, high = prediction_interval(np.array([0.90, 0.92, 0.94, 0.96, 0.98]))
    reach = T4 * math.sqrt(0.001) * math.sqrt(1.2)
    assert (low, high) == pytest.approx((0.94 - reach, 0.94 + reach), rel=1e-6)


def test_prediction_interval_covers_one_more_draw():
    """19 of 20 times, and not the mean's interval, which would cover far less."""
    draws = np.random.default_rng(0).normal(3, 2, (2000, 6))
    inside = [low <= new <= high for *old, new in draws for low, high in [prediction_interval(np.array(old))]]
    assert 0.93 < np.mean(inside) < 0.97


def test_prediction_interval_of_one_or_of_equals():
    assert prediction_interval(np.array([0.5])) is None
    assert prediction_interval(np.array([0.5, 0.5])) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "low", "high", "inside"),
    [
        ("97%", 0.9, 0.98, True),
        ("97%", 0.974, 0.98, True),  # 97.4 % is printed as 97 %
        ("97%", 0.976, 0.98, False),
        ("97%", 0.90, 0.966, True),
        ("97%", 0.90, 0.964, False),
        ("97.0%", 0.974, 0.98, False),
        ("50%", 0.5, 0.5, True),
        ("0.65", math.nan, math.nan, False),
        ("0.65", 0.6, math.nan, False),
    ],
)
def test_lies_inside_allows_for_the_reports_rounding(text, low, high, inside):
    assert lies_inside(Printed(text, "test_accuracy", (), ""), low, high) is inside


def test_find_takes_the_networks_figures(outcome):
    result = outcome.results[pytorch_report.EXP1]
    figures = {
        "test_accuracy": result.test.accuracy,
        "train_loss": result.history.train.loss[:, -1],
        "validation_loss": result.history.validation.loss[:, -1],
        "validation_accuracy": result.history.validation.accuracy[:, -1],
    }
    for quantity, values in figures.items():
        found = find(Printed("0.5", quantity, (pytorch_report.EXP1,), ""), outcome)
        expected = (values.mean(), values.std(ddof=1), values.min(), values.max(), *prediction_interval(values))
        assert (found.mean, found.sd, found.min, found.max, found.low, found.high) == pytest.approx(expected, rel=1e-12)
        assert found.n == len(values) == 3
    history = outcome.results[numpy_report.FINAL].history
    first, last = (
        values_beside(Printed("0.5", quantity, (numpy_report.FINAL,), ""), outcome)
        for quantity in ("initial_loss", "final_loss")
    )
    assert (first == history.train.loss[:, 0]).all() and (last == history.train.loss[:, 9]).all()
    assert (first > last).all()


def test_find_takes_the_figures_of_classes_and_their_averages(outcome):
    from sklearn.metrics import classification_report

    result = outcome.results[pytorch_report.BASE]
    reports = [
        classification_report(
            result.dataset.labels[split.test], predictions, output_dict=True, zero_division=0, labels=range(10)
        )
        for split, predictions in zip(result.splits, result.test.predictions, strict=True)
    ]
    keys = {"precision": "precision", "recall": "recall", "f1": "f1-score", "images": "support"}
    for name in ("0", "7", "macro avg", "weighted avg"):
        for quantity, key in keys.items():
            if quantity == "images" and name.endswith("avg"):
                continue
            found = values_beside(Printed("0.5", quantity, (pytorch_report.BASE,), "", of=name), outcome)
            assert found == pytest.approx([report[name][key] for report in reports], abs=1e-12)
    assert find(Printed("0.5", "f1", (pytorch_report.BASE,), "", of="no such class"), outcome) is None


def test_find_adds_up_the_times_of_several_trainings(outcome):
    printed = Printed("30 s", "seconds", (pytorch_report.BINARY, *pytorch_report.MULTICLASS), "")
    alone = [outcome.seconds[training] for training in printed.trainings]
    assert all(len(each) == 3 and (each > 0).all() for each in alone)
    assert (values_beside(printed, outcome) == np.sum(alone, axis=0)).all()


def test_find_marks_agreement_on_the_reports_own_images_alone(outcome, on_signs):
    accuracy = Printed("97%", "test_accuracy", (pytorch_report.EXP2,), "")
    time = Printed("913 ms", "seconds", (numpy_report.FINAL,), "")
    assert find(accuracy, outcome).inside is None and mark(find(accuracy, outcome)) == ""
    found = find(accuracy, on_signs)
    assert found.inside is lies_inside(accuracy, found.low, found.high)
    assert mark(found) == (" ✓" if found.inside else " ✗")
    assert find(time, on_signs).inside is None


def test_texts_have_the_reports_unit(outcome):
    found = find(Printed("97%", "test_accuracy", (pytorch_report.EXP2,), ""), outcome)
    assert ours_text(found) == f"{100 * found.mean:.1f} ± {100 * found.sd:.1f}%"
    low, high = max(0, found.low), min(1, found.high)
    assert interval_text(found) == f"{100 * low:.1f} to {100 * high:.1f}%"
    found = find(Printed("0.1234", "final_loss", (numpy_report.FINAL,), ""), outcome)
    assert ours_text(found) == f"{found.mean:.4f} ± {found.sd:.4f}"
    assert ours_text(None) == "-" and interval_text(None) == ""
