"""Choosing classes, limiting images, and splitting rows."""

from __future__ import annotations

import numpy as np
import pytest
from sentences import refused

from gpunet.data import Dataset, Split, choose_classes, limit_images, stratified_split


def dataset_of(counts):
    """A data set with so many images of each class, shuffled; the first two pixels number the rows."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.zeros((len(labels), 784), dtype=np.uint8)
    images[:, 0], images[:, 1] = np.divmod(np.arange(len(labels)), 256)
    return Dataset(images, labels, tuple("0123456789"[: len(counts)]), "test", "a note")


def numbers(dataset):
    return dataset.images[:, 0].astype(int) * 256 + dataset.images[:, 1]


def test_choose_classes_takes_4_and_9_unless_told_otherwise():
    dataset = dataset_of([50] * 10)
    chosen = choose_classes(dataset)
    assert chosen.class_names == ("4", "9")
    assert chosen.labels.dtype == np.int64
    rows = np.flatnonzero(np.isin(dataset.labels, [4, 9]))
    np.testing.assert_array_equal(numbers(chosen), rows)
    np.testing.assert_array_equal(chosen.labels, dataset.labels[rows] == 9)
    assert (chosen.source, chosen.note) == ("test", "a note")


def test_choose_classes_gives_the_positive_class_label_1_whatever_the_order():
    dataset = dataset_of([3, 4, 5])
    assert np.bincount(choose_classes(dataset, ("2", "0")).labels).tolist() == [5, 3]
    assert np.bincount(choose_classes(dataset, ["0", "2"]).labels).tolist() == [3, 5]


@pytest.mark.parametrize("classes", [("4", "4"), ("4",), (), ("1", "2", "3")])
def test_choose_classes_refuses_all_but_two_classes(classes):
    with refused("two different classes"):
        choose_classes(dataset_of([2] * 10), classes)


def test_choose_classes_lists_the_classes_there_are():
    with refused("'x'", "'0', '1', '2'"):
        choose_classes(dataset_of([2, 2, 2]), ("0", "x"))


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 99])
def test_limit_images_balances_the_classes(limit):
    dataset = dataset_of([40] * 10)
    limited = limit_images(dataset, limit, seed=3)
    assert len(limited) == limit
    counts = np.bincount(limited.labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert (np.diff(numbers(limited)) > 0).all()
    np.testing.assert_array_equal(limited.labels, dataset.labels[numbers(limited)])
    assert limited.class_names == dataset.class_names


def test_limit_images_takes_all_of_a_small_class():
    assert np.bincount(limit_images(dataset_of([2, 50, 50]), 22, seed=0).labels).tolist() == [2, 10, 10]


def test_limit_images_keeps_all_when_there_are_fewer():
    dataset = dataset_of([3, 4])
    np.testing.assert_array_equal(numbers(limit_images(dataset, 1000)), np.arange(7))


def test_limit_images_is_drawn_by_the_seed():
    dataset = dataset_of([40] * 10)
    first, again, other = (numbers(limit_images(dataset, 50, seed=seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_images_refuses_none(limit):
    with refused("positive", limit):
        limit_images(dataset_of([3, 4]), limit)


def test_stratified_split_has_the_reports_sizes():
    labels = dataset_of([500] * 10).labels
    split = stratified_split(labels, seed=0)
    assert [np.bincount(labels[part]).tolist() for part in (split.train, split.validation, split.test)] == [
        [320] * 10,
        [80] * 10,
        [100] * 10,
    ]


def test_stratified_split_leaves_validation_out_for_binary_tasks():
    labels = dataset_of([500, 500]).labels
    split = stratified_split(labels, seed=0, validation=0)
    assert len(split.validation) == 0
    assert np.bincount(labels[split.train]).tolist() == [400, 400]
    assert np.bincount(labels[split.test]).tolist() == [100, 100]


@pytest.mark.parametrize("counts", [[7, 7], [7, 9, 500], [7] * 10, [204, 205, 206, 207, 208]])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_stratified_split_takes_each_row_once_and_each_class_in_each_part(counts, seed):
    labels = dataset_of(counts).labels
    split = stratified_split(labels, seed=seed)
    parts = (split.train, split.validation, split.test)
    assert all(part.dtype == np.int64 for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for part in parts:
        assert set(labels[part]) == set(range(len(counts)))


def rows_of(split: Split) -> list[list[int]]:
    return [part.tolist() for part in (split.train, split.validation, split.test)]


def test_stratified_split_is_drawn_by_the_seed():
    labels = dataset_of([50] * 10).labels
    first, again, other = (rows_of(stratified_split(labels, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("counts", "validation", "needed"), [([6, 50], 0.2, 7), ([1, 1], 0.2, 7), ([4, 50], 0, 5)])
def test_stratified_split_refuses_too_few_images(counts, validation, needed):
    with refused("too few", f"smallest class has {counts[0]}", f"at least {needed}"):
        stratified_split(dataset_of(counts).labels, seed=0, validation=validation)


@pytest.mark.parametrize("labels", [[], [3] * 50])
def test_stratified_split_refuses_fewer_than_two_classes(labels):
    with refused("two classes"):
        stratified_split(np.array(labels, dtype=np.int64), seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_stratified_split_refuses_a_seed_out_of_range(seed):
    with refused("seed", seed):
        stratified_split(dataset_of([50, 50]).labels, seed=seed)


@pytest.mark.parametrize("fractions", [{"test": 0}, {"test": 1.5}, {"validation": -0.1}, {"test": float("nan")}])
def test_stratified_split_refuses_fractions_out_of_range(fractions):
    with refused("fractions"):
        stratified_split(dataset_of([50, 50]).labels, seed=0, **fractions)
