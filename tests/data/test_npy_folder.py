"""Folders with images.npy and labels.npy: in memory or streamed the same data, and what is said of unusable ones."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet.data import choose_classes, limit_images, load_data, npy_folder, sources

IMAGES, LABELS = images_and_labels(60, classes=4)


@pytest.fixture
def folder(tmp_path):
    def write(images=IMAGES, labels=LABELS):
        np.save(tmp_path / "images.npy", images)
        np.save(tmp_path / "labels.npy", labels)
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    "images", [IMAGES, IMAGES.reshape(60, 28, 28), (IMAGES / 255).astype(np.float32)], ids=["uint8", "square", "float"]
)
def test_npy_folder_is_the_same_data_in_memory_and_streamed(folder, images):
    path = folder(images, LABELS.astype(str))
    loaded, streamed = load_data(path), load_data(path, stream=True)
    assert streamed.is_streamed and not loaded.is_streamed
    assert loaded.images.dtype == images.dtype and np.array_equal(loaded.images, images.reshape(60, 784))
    assert np.array_equal(loaded.labels, LABELS) and loaded.class_names == tuple("0123") and loaded.source == path
    for part in (
        lambda dataset: dataset,
        lambda dataset: choose_classes(dataset, ("3", "1")),
        lambda dataset: limit_images(dataset, 17),
        lambda dataset: limit_images(choose_classes(dataset, ("3", "1")), 9),
    ):
        ours, theirs = part(streamed), part(loaded)
        assert ours.is_streamed and len(ours) == len(theirs)
        assert ours.sha256() == theirs.sha256() and np.array_equal(ours.labels, theirs.labels)
        assert np.array_equal(ours.in_memory().images, theirs.images)
        assert np.array_equal(ours.grey(np.array([3, 1])), theirs.grey(np.array([3, 1])))


def test_npy_folder_of_floats_is_looked_at_as_bytes(folder):
    dataset = load_data(folder((IMAGES / 255).astype(np.float32)), stream=True)
    assert dataset.grey(5).dtype == np.uint8 and np.array_equal(dataset.grey(5), IMAGES[5])


def test_npy_folder_has_the_hash_of_the_same_images_elsewhere(folder, tmp_path):
    np.savez(tmp_path / "same.npz", dataset=IMAGES, labels=LABELS)
    assert load_data(folder(), stream=True).sha256() == load_data(str(tmp_path / "same.npz")).sha256()


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((60, 783), np.uint8), LABELS, ["images.npy", "783", "784"]),
        (np.zeros((60, 14, 56, 1), np.uint8), LABELS, ["images.npy", "(60, 14, 56, 1)"]),
        (IMAGES, LABELS[:-1], ["labels.npy", "(59,)", "60 images"]),
        (IMAGES, LABELS[:, None], ["labels.npy", "(60, 1)"]),
        (IMAGES, LABELS * 0, ["labels.npy", "one class"]),
        (IMAGES, LABELS + 0.5, ["labels.npy", "fractions"]),
        (IMAGES.astype(np.float32), LABELS, ["images.npy", "0 to 1", "uint8"]),
        (IMAGES / -255, LABELS, ["images.npy", "0 to 1"]),
        (np.where(np.arange(784) == 783, np.nan, IMAGES / 255), LABELS, ["images.npy", "0 to 1"]),
    ],
    ids=["pixels", "shape", "fewer labels", "label columns", "one class", "fractions", "to 255", "negative", "NaN"],
)
def test_npy_folder_that_cannot_be_used_is_refused(folder, images, labels, words):
    with refused(*words):
        load_data(folder(images, labels))


def test_npy_folder_without_labels_is_refused(folder, tmp_path):
    path = folder()
    (tmp_path / "labels.npy").unlink()
    with refused("labels.npy", "no file"):
        load_data(path)


def test_npy_folder_looks_at_every_float(folder, monkeypatch):
    monkeypatch.setattr(npy_folder, "ROWS_AT_A_TIME", 16)
    images = (IMAGES / 255).astype(np.float32)
    load_data(folder(images))
    images[59, 783] = 1.01
    with refused("images.npy"):
        load_data(folder(images))


def test_npy_folder_larger_than_is_read_into_memory_is_refused(folder, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", IMAGES.nbytes - 1)
    path = folder()
    with refused("47,040 bytes", "a batch at a time"):
        load_data(path)
    assert len(load_data(path, stream=True)) == 60
