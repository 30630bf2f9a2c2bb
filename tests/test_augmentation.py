"""What an augmentation may be, and training with one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, SGD, NumpyOps, Population, train
from gpunet.augmentation import DRAWS, ONE, Augmentation, image_keys, square_side, warp_table
from gpunet.footprint import shared_bytes

IMAGES, LABELS = images_and_labels(50, classes=3, inputs=36)
TRAIN, VALIDATION = np.arange(40), np.arange(40, 50)
SOME = Augmentation(20, 1.5, 0.2, seed=3)


def trained(images=IMAGES, *, augmentation=SOME, seed=5, ops=None, sizes=(36, 7, 3), **arguments):
    network = MLP(sizes, seed=seed, ops=ops)
    arguments = {"epochs": 3, "batch_size": 16, "evaluate_training": True} | arguments
    history = train(network, images, LABELS, TRAIN, VALIDATION, augmentation=augmentation, **arguments)
    return network, history


# What it may be


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((-1, 0, 0), ["rotation", "0 to 180 degrees", "-1"]),
        ((181, 0, 0), ["rotation", "181"]),
        ((math.nan, 0, 0), ["rotation", "nan"]),
        ((0, 100.5, 0), ["shift", "0 to 100 pixels", "100.5"]),
        ((0, math.inf, 0), ["shift", "inf"]),
        ((0, 0, 0.95), ["scale", "0 to 0.9", "0.95"]),
        ((0, 0, math.nan), ["scale", "nan"]),
        ((0, 0, 0, 2**32), ["seed", "4294967295", "4294967296"]),
        ((0, 0, 0, 1.5), ["seed", "whole number", "1.5"]),
        ((0, 0, 0, math.nan), ["seed", "nan"]),
        ((0, 0, 0, "3"), ["seed", "'3'"]),
    ],
)
def test_augmentation_refuses_what_is_out_of_range(values, words):
    with refused("augmentation", *words):
        Augmentation(*values)


def test_augmentation_says_what_it_is():
    assert str(SOME) == "rotation 20, shift 1.5, scale 0.2, seed 3"
    assert str(Augmentation(10, 2, 0.1)) == "rotation 10, shift 2, scale 0.1"
    assert Augmentation(0, 0, 0).changes_nothing
    assert not any(Augmentation(*values).changes_nothing for values in np.eye(3).tolist()[:2])


def test_table_reaches_from_limit_to_limit():
    table = np.array(warp_table(SOME))
    assert table.shape == (4, DRAWS)
    angle = math.radians(20)
    ends = [[math.cos(angle)] * 2, [-math.sin(angle), math.sin(angle)], [1 / 0.8, 1 / 1.2], [-1.5, 1.5]]
    np.testing.assert_allclose(table[:, [0, -1]] / ONE, ends, atol=0.51 / ONE)
    np.testing.assert_allclose(table[0] ** 2 + table[1] ** 2, ONE**2, rtol=2 / ONE)
    assert (np.diff(table[1]) > 0).all() and (np.diff(table[2]) < 0).all() and (np.diff(table[3]) > 0).all()
    assert (np.array(warp_table(Augmentation(0, 0, 0))) == [[ONE], [0], [ONE], [0]]).all()


def test_image_keys_are_those_of_the_images_wherever_they_stand():
    keys, order = np.array(image_keys(IMAGES)), np.random.default_rng(0).permutation(50)
    assert len(set(keys.tolist())) == 50
    np.testing.assert_array_equal(image_keys(IMAGES[order]), keys[order])


def test_side_is_that_of_square_images():
    assert square_side(np.zeros((2, 784), np.uint8)) == 28
    for images, words in (
        (np.zeros((2, 29), np.uint8), ["square", "29"]),
        (np.zeros((2, 36)), ["uint8", "float64"]),
        (np.zeros((1, 1025**2), np.uint8), ["1024"]),
    ):
        with refused("augmentation", *words):
            square_side(images)


# Training


class Recording(NumpyOps):
    """What was read in training and out of it, as (rows, pixels)."""

    def __init__(self):
        super().__init__()
        self.read = []

    def gather(self, batch):
        super().gather(batch)
        self.read.append((batch.rows[0].copy(), np.round(batch.x[0] * 255).astype(np.uint8)))


def test_training_reads_changed_images_and_evaluation_the_given_ones():
    ops = Recording()
    trained(ops=ops, epochs=2, batch_size=40)
    assert len(ops.read) == 6
    seen = {}
    for place, (rows, pixels) in enumerate(ops.read):
        if place % 3 == 0:  # training, then the training rows as they are, then validation
            seen[place // 3] = pixels[np.argsort(rows)]
        else:
            np.testing.assert_array_equal(pixels, IMAGES[rows])
    for one, other in ((seen[0], IMAGES[TRAIN]), (seen[1], IMAGES[TRAIN]), (seen[0], seen[1])):
        assert (one != other).any(axis=1).all()  # anew in each epoch, every image


def test_training_changes_every_image_of_an_explicit_order():
    """Which may have others than the rows to train on."""
    ops, order = Recording(), np.arange(50)[None, ::-1][:, :40].copy()
    trained(ops=ops, epochs=1, batch_size=40, shuffle=order, evaluate_training=False)
    rows, pixels = ops.read[0]
    np.testing.assert_array_equal(rows, order[0])
    assert pixels.any(axis=1).all() and (pixels != IMAGES[rows]).any(axis=1).all()


def test_training_repeats_itself_to_the_bit():
    (first, history), (second, again) = trained(), trained()
    assert_same_bits(first.parameters, second.parameters)
    assert_same_bits(history.step_loss, again.step_loss)


def test_training_follows_the_augmentations_seed():
    (one, _), (other, _) = trained(), trained(augmentation=Augmentation(20, 1.5, 0.2, seed=4))
    assert not np.array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("batch_size", [16, 1])
def test_training_without_a_change_is_training_without_augmentation(batch_size):
    (one, history), (other, plain) = (
        trained(augmentation=augmentation, batch_size=batch_size, epochs=2)
        for augmentation in (Augmentation(0, 0, 0), None)
    )
    assert_same_bits(one.parameters, other.parameters)
    assert_same_bits(history.train_after.loss, plain.train_after.loss)


def test_training_row_by_row_reads_changed_images():
    images, labels = IMAGES, LABELS % 2
    losses = []
    for augmentation in (SOME, None):
        network = MLP((36, 5, 1), "sigmoid", seed=1)
        options = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 1, "augmentation": augmentation}
        losses.append(train(network, images, labels, TRAIN, **options).step_loss)
    assert (losses[0] != losses[1]).all()


def test_training_does_not_depend_on_which_other_images_there_are():
    """A data set that was cut to fewer images shows them as before: its rows are others, its images are not."""
    kept = np.sort(np.random.default_rng(1).permutation(50)[:30])
    whole, part = MLP((36, 7, 3), seed=5), MLP((36, 7, 3), seed=5)
    train(whole, IMAGES, LABELS, kept, epochs=2, augmentation=SOME)
    train(part, IMAGES[kept], LABELS[kept], epochs=2, augmentation=SOME)
    assert_same_bits(whole.parameters, part.parameters)


@pytest.mark.parametrize("at_a_time", [None, 2])
def test_each_network_of_a_population_ends_as_alone(at_a_time):
    """Each on rows of its own, so that an epoch's images are not the same ones either."""
    rows = np.stack([np.random.default_rng(seed).permutation(50)[:30] for seed in range(3)])
    population = Population((36, 7, 3), seeds=range(3), at_a_time=at_a_time)
    history = population.train(IMAGES, LABELS, rows, epochs=2, batch_size=16, augmentation=SOME)
    for seed in range(3):
        network = MLP((36, 7, 3), seed=seed)
        alone = train(network, IMAGES, LABELS, rows[seed], epochs=2, batch_size=16, augmentation=SOME)
        assert_same_bits(population.parameters[seed], network.parameters[0])
        assert_same_bits(history.step_loss[seed], alone.step_loss[0])


def test_shared_memory_holds_the_data_set_and_an_epochs_images():
    assert shared_bytes(IMAGES, None) == IMAGES.nbytes
    assert shared_bytes(IMAGES, SOME) == 2 * IMAGES.nbytes


def test_training_refuses_images_that_cannot_be_changed():
    with refused("augmentation", "uint8", "float32"):
        trained(IMAGES.astype(np.float32) / 255)
    with refused("augmentation", "square", "35"):
        trained(IMAGES[:, :35], sizes=(35, 7, 3))
