"""Folders of images by class."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image
from sentences import refused

from gpunet.data import folder as folder_module
from gpunet.data import load_data
from gpunet.data.folder import load_folder


def draw(path, grey, size=(28, 28), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).convert(mode).save(path)


@pytest.fixture
def hands(tmp_path):
    """Two classes, 9 and 10, of three and two images that are told by their grey."""
    folder = tmp_path / "hands"
    draw(folder / "10" / "b.png", 101)
    draw(folder / "10" / "a.JPG", 100, size=(50, 50), mode="RGB")
    draw(folder / "9" / "hand10.png", 92)
    draw(folder / "9" / "hand2.gif", 91)
    draw(folder / "9" / "hand1.bmp", 90, size=(9, 9))
    return folder


def test_load_folder_orders_classes_and_files_naturally(hands):
    dataset = load_folder(hands)
    assert dataset.class_names == ("9", "10")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert dataset.images.dtype == np.uint8 and dataset.images.shape == (5, 784)
    assert dataset.images[:, 400].tolist() == [90, 91, 92, 100, 101]


def test_load_folder_is_the_same_whatever_order_the_system_lists(hands, monkeypatch):
    first = load_folder(hands)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listdir(path)[::-1])
    assert load_folder(hands).sha256() == first.sha256()


def test_load_data_takes_a_folder(hands):
    dataset = load_data(str(hands))
    assert dataset.source == str(hands)
    assert "skipped" not in dataset.note


def test_load_folder_skips_what_is_no_image_and_says_so(hands):
    first = load_folder(hands)
    (hands / "9" / "Thumbs.db").write_text("no image")
    (hands / "9" / "notes.txt").write_text("no image")
    (hands / "9" / ".DS_Store").write_text("no image")
    (hands / "9" / "._hand1.png").write_text("no image")
    (hands / ".git").mkdir()
    (hands / "__MACOSX").mkdir()
    (hands / "readme.txt").write_text("about")
    (hands / "9" / "older").mkdir()
    dataset = load_folder(hands)
    assert dataset.sha256() == first.sha256()
    assert dataset.note.endswith("no images: 2")


def test_load_folder_names_an_image_that_cannot_be_read(hands):
    (hands / "9" / "broken.png").write_text("no image")
    with refused(hands / "9" / "broken.png", "cannot be read"):
        load_folder(hands)


def test_load_folder_refuses_a_decompression_bomb(hands, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # the image of 50 x 50 has 2,500: Pillow by itself only warns
    with refused(hands / "10" / "a.JPG", "too large"):
        load_folder(hands)


def test_load_folder_refuses_a_class_without_images(hands):
    (hands / "8").mkdir()
    (hands / "8" / "notes.txt").write_text("none yet")
    with refused(hands / "8", "no images", "other kinds: 1"):
        load_folder(hands)


@pytest.mark.parametrize("classes", [0, 1])
def test_load_folder_refuses_fewer_than_two_classes(tmp_path, classes):
    for name in range(classes):
        draw(tmp_path / "few" / str(name) / "image.png", 1)
    draw(tmp_path / "few" / "image.png", 1)
    with refused(tmp_path / "few", f"has {classes}"):
        load_folder(tmp_path / "few")


def test_load_folder_refuses_a_folder_that_cannot_be_listed(hands, monkeypatch):
    def deny(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(folder_module.os, "listdir", deny)
    with refused(hands, "Permission denied"):
        load_folder(hands)


def test_load_folder_follows_no_loops(hands):
    try:
        (hands / "self").symlink_to(hands)
    except OSError:
        pytest.skip("links need a privilege here")
    (hands / "up").symlink_to(hands.parent)
    (hands / "round").symlink_to(hands / "round")
    (hands / "9" / "gone.png").symlink_to(hands / "9" / "gone.png")
    (hands / "9" / "folder").symlink_to(hands)
    assert load_folder(hands).class_names == ("9", "10")
    assert len(load_folder(hands)) == 5


def test_load_folder_follows_a_link_to_a_class(hands, tmp_path):
    draw(tmp_path / "elsewhere" / "a.png", 110)
    try:
        (hands / "11").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("links need a privilege here")
    assert load_folder(hands).class_names == ("9", "10", "11")
