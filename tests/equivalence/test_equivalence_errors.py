"""Errors in units of their tolerances: NaN and infinity are never small."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet.equivalence.errors import Finding, Findings, agrees, exactly, in_units

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("actual", "expected", "bound", "error"),
    [
        (1.5, 1.0, 0.25, 2.0),
        (0.5, 1.0, 2.0, 0.25),
        (1.0, 1.0, 0.0, 0.0),  # the same, where nothing else is allowed
        (1.0, 0.5, 0.0, INF),
        (NAN, 1.0, 1.0, INF),
        (1.0, NAN, 1.0, INF),
        (1.0, 2.0, NAN, INF),
        (1.0, 1.0, NAN, INF),
        (NAN, NAN, 1.0, INF),
        (INF, 1.0, 1.0, INF),
        (INF, INF, 1.0, INF),  # no network of ours has any
        (1.0, 9.0, INF, INF),  # a bound that allows everything says nothing
    ],
)
def test_in_units_of_one_element_among_good_ones(actual, expected, bound, error):
    arrays = [np.array([1.0, each, 1.0]) for each in (actual, expected)]
    assert in_units(arrays[0].astype(np.float32), arrays[1], np.array([0.5, bound, 0.5])) == error


def test_in_units_refuses_other_shapes():
    with pytest.raises(ValueError, match="shapes"):
        in_units(np.zeros(3), np.zeros((3, 1)), 1.0)


def test_exactly_allows_no_difference():
    numbers = np.arange(4)
    assert exactly(numbers, numbers.copy()) == 0
    assert exactly(numbers, np.array([0, 1, 2, 4])) == INF == exactly(numbers, numbers[:3])


@pytest.mark.parametrize(("error", "expected"), [(0, True), (1.0, True), (1.0001, False), (INF, False), (NAN, False)])
def test_agrees_up_to_one(error, expected):
    assert agrees(error) is expected


def test_finding_keeps_the_largest_error_of_each_array():
    findings = Findings()
    findings.add("dense_head", "layer 2", "4 x 3", {"logits": 0.5, "hits": 0.0})
    findings.add("dense_head", "layer 2", "2 x 3", {"logits": 0.25, "hits": INF})
    findings.add("dense_head", "layer 2", "4 x 3", {"logits": 0.75, "hits": 0.0})
    (found,) = findings.values()
    assert found.as_json() == {
        "operation": "dense_head",
        "where": "layer 2",
        "shapes": ["4 x 3", "2 x 3"],
        "calls": 3,
        "errors": {"logits": 0.75, "hits": None},
        "error": None,
        "agrees": False,
    }


def test_finding_without_any_comparison_does_not_agree():
    assert not Finding("adam", "all layers").agrees
