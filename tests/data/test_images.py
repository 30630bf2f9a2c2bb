"""Image files of every kind to 28 x 28 grey, and arrays for prediction."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, ImageOps
from sentences import refused

from gpunet.data import read_image, read_images_for_prediction

# Bright on the left, dark on the right, and no two rows the same: flips and turns all show.
PATTERN = (np.arange(27, -1, -1) * 9 + np.arange(28).reshape(28, 1) // 4).astype(np.uint8)


def square(pixels):
    return pixels.reshape(28, 28).astype(int)


@pytest.mark.parametrize("extension", ["png", "bmp", "gif", "tif", "pgm", "webp"])
def test_read_image_keeps_grey_pixels(tmp_path, extension):
    path = tmp_path / f"image.{extension}"
    Image.fromarray(PATTERN).save(path, **({"lossless": True} if extension == "webp" else {}))
    pixels, resized_from = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape == (784,)
    assert resized_from is None
    np.testing.assert_array_equal(square(pixels), PATTERN)


def test_read_image_reads_jpeg(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(PATTERN).save(path, quality=95)
    assert np.abs(square(read_image(path)[0]) - PATTERN).max() <= 6


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "LA", "RGBA"])
def test_read_image_turns_colour_modes_to_grey(tmp_path, mode):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image = Image.fromarray(PATTERN).convert("RGB")
    image.convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    assert np.abs(square(read_image(path)[0]) - PATTERN).max() <= 4


def test_read_image_weighs_colours_as_luminance(tmp_path):
    path = tmp_path / "image.png"
    for colour, grey in [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)]:
        Image.new("RGB", (28, 28), colour).save(path)
        np.testing.assert_array_equal(read_image(path)[0], grey)


def test_read_image_reads_one_bit(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(PATTERN > 100).save(path)
    np.testing.assert_array_equal(square(read_image(path)[0]), 255 * (PATTERN > 100))


def test_read_image_puts_transparency_on_black(tmp_path):
    path = tmp_path / "image.png"
    white = np.full((28, 28), 255, dtype=np.uint8)
    Image.merge("LA", [Image.fromarray(white), Image.fromarray(PATTERN)]).save(path)
    np.testing.assert_array_equal(square(read_image(path)[0]), PATTERN)
    # A palette image with one transparent colour, here its white.
    palette = Image.fromarray(np.where(PATTERN > 100, 255, 128).astype(np.uint8)).convert("P")
    palette.save(path, transparency=int(np.asarray(palette)[0, 0]))
    np.testing.assert_array_equal(square(read_image(path)[0]), np.where(PATTERN > 100, 0, 128))


@pytest.mark.parametrize(
    ("values", "extension"),
    [
        (PATTERN.astype(np.uint16) * 257, "png"),
        (PATTERN.astype(np.uint16) * 257, "tif"),
        (PATTERN.astype(">u2") * 257, "tif"),
        (PATTERN.astype(np.int32), "tif"),
        (PATTERN.astype(np.float32), "tif"),
        (PATTERN.astype(np.float32) / 255, "tif"),
    ],
    ids=["16-bit png", "16-bit tif", "16-bit big-endian tif", "int32", "float", "float to 1"],
)
def test_read_image_rescales_deep_pixels(tmp_path, values, extension):
    path = tmp_path / f"image.{extension}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(square(read_image(path)[0]), PATTERN)


def test_read_image_rescales_a_16_bit_pgm(tmp_path):
    path = tmp_path / "image.pgm"
    path.write_bytes(b"P5 28 28 65535\n" + (PATTERN.astype(">u2") * 257).tobytes())
    np.testing.assert_array_equal(square(read_image(path)[0]), PATTERN)


def test_read_image_keeps_a_dark_16_bit_image_dark(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.full((28, 28), 257 * 3, dtype=np.uint16)).save(path)
    np.testing.assert_array_equal(read_image(path)[0], 3)


@pytest.mark.parametrize("values", [[-5, 45], [1000, 100_000]])
def test_read_image_stretches_pixels_of_unknown_range(tmp_path, values):
    path = tmp_path / "image.tif"
    checks = np.array(values, dtype=np.int32)[(np.arange(784) % 2).reshape(28, 28)]
    Image.fromarray(checks).save(path)
    np.testing.assert_array_equal(read_image(path)[0], 255 * (np.arange(784) % 2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_honours_exif_orientation(tmp_path, orientation):
    # The sensor's image, turned so that the orientation tag turns it back.
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    undo |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    image = Image.fromarray(PATTERN)
    if orientation in undo:
        image = image.transpose(Image.Transpose[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    image.save(path, exif=exif)
    np.testing.assert_array_equal(square(read_image(path)[0]), PATTERN)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(56, 28, (0, 7, 28, 21)), (28, 56, (7, 0, 21, 28)), (7, 7, (0, 0, 28, 28)), (1000, 1, (0, 13, 28, 14))],
)
def test_read_image_fits_and_centres_on_black(tmp_path, width, height, box):
    path = tmp_path / "image.png"
    Image.new("L", (width, height), 200).save(path)
    pixels, resized_from = read_image(path)
    assert resized_from == (width, height)
    left, top, right, bottom = box
    expected = np.zeros((28, 28))
    expected[top:bottom, left:right] = 200
    np.testing.assert_array_equal(square(pixels), expected)


def test_read_image_averages_when_it_shrinks(tmp_path):
    path = tmp_path / "image.png"
    checks = 255 * (np.indices((280, 280)).sum(axis=0) % 2).astype(np.uint8)
    Image.fromarray(checks).save(path)
    assert np.abs(square(read_image(path)[0]) - 127.5).max() < 2


def test_read_image_reports_the_size_that_a_person_sees(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 40), 9).save(path, exif=exif)
    assert read_image(path)[1] == (40, 60)
    assert ImageOps.exif_transpose(Image.open(path)).size == (40, 60)


def test_read_image_refuses_what_is_no_image(tmp_path):
    path = tmp_path / "image.png"
    with refused(path, "no file"):
        read_image(path)
    path.touch()
    with refused(path, "empty"):
        read_image(path)
    path.write_text("not an image")
    with refused(path, "cannot be read as an image"):
        read_image(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with refused(path, "cannot be read as an image"):
        read_image(path)
    with refused(tmp_path, "folder"):
        read_image(tmp_path)
    Image.fromarray(np.full((28, 28), np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    with refused(tmp_path / "nan.tif", "cannot be read as an image"):
        read_image(tmp_path / "nan.tif")


@pytest.mark.parametrize("limit", [5000, 9000], ids=["twice too large", "somewhat too large"])
def test_read_image_refuses_a_decompression_bomb(tmp_path, monkeypatch, limit):
    path = tmp_path / "bomb.png"
    Image.new("L", (128, 128)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with refused(path, "too large"):
        read_image(path)


def test_read_images_for_prediction_reads_an_image_file(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(PATTERN).save(path)
    images, notes = read_images_for_prediction(path)
    np.testing.assert_array_equal(images, PATTERN.reshape(1, 784))
    assert notes == []
    Image.fromarray(PATTERN).resize((640, 480)).save(path)
    images, notes = read_images_for_prediction(str(path))
    assert images.shape == (1, 784)
    assert notes == [f"{path}: resized from 640 x 480 to 28 x 28"]


@pytest.mark.parametrize("extension", ["npy", "npz"])
@pytest.mark.parametrize("shape", [(784,), (784, 1), (1, 784), (28, 28), (1, 28, 28)])
@pytest.mark.parametrize("scale", [1, 255])
def test_read_images_for_prediction_reads_one_image_of_any_shape(tmp_path, extension, shape, scale):
    path = tmp_path / f"image.{extension}"
    values = PATTERN.reshape(shape) if scale == 1 else PATTERN.reshape(shape) / scale
    if extension == "npy":
        np.save(path, values)
    else:
        np.savez(path, whatever=values)
    images, notes = read_images_for_prediction(path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, PATTERN.reshape(1, 784))
    assert notes == []


@pytest.mark.parametrize("shape", [(3, 784), (3, 28, 28), (28, 784)])
def test_read_images_for_prediction_reads_several_images(tmp_path, shape):
    path = tmp_path / "images.npy"
    values = np.random.default_rng(0).integers(0, 256, shape)
    np.save(path, values)
    images, notes = read_images_for_prediction(path)
    np.testing.assert_array_equal(images, values.reshape(-1, 784))
    assert notes == []


@pytest.mark.parametrize(
    ("shape", "count", "size"), [((56, 56), 1, "56 x 56"), ((40, 60), 1, "60 x 40"), ((5, 32, 30), 5, "30 x 32")]
)
def test_read_images_for_prediction_resizes_with_a_note(tmp_path, shape, count, size):
    path = tmp_path / "images.npy"
    np.save(path, np.full(shape, 77))
    images, notes = read_images_for_prediction(path)
    assert images.shape == (count, 784)
    assert set(np.unique(images)) <= {0, 77}
    assert notes == [f"{path}: resized from {size} to 28 x 28"]


def test_read_images_for_prediction_tells_rows_from_a_picture(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((784, 784)))
    images, notes = read_images_for_prediction(path)
    assert images.shape == (784, 784)
    assert len(notes) == 1 and "one a row" in notes[0]
    np.save(path, np.zeros((1, 784, 784)))
    images, notes = read_images_for_prediction(path)
    assert images.shape == (1, 784)
    assert len(notes) == 1 and "resized" in notes[0]


def test_read_images_for_prediction_prefers_the_array_called_dataset(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, labels=np.array(["4"]), dataset=PATTERN.reshape(1, 784))
    np.testing.assert_array_equal(read_images_for_prediction(path)[0], PATTERN.reshape(1, 784))
    np.savez(path, first=PATTERN, second=PATTERN)
    with refused(path, "'first', 'second'"):
        read_images_for_prediction(path)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.zeros(783), "(783,)"),
        (np.zeros((0, 784)), "no pixels"),
        (np.zeros((28, 28, 3)), "colour"),
        (np.zeros((2, 28, 28, 1)), "(2, 28, 28, 1)"),
        (np.zeros(()), "()"),
        (np.full(784, np.nan), "NaN"),
        (np.full(784, -1), "0 to 255"),
        (np.full(784, 300.0), "0 to 255"),
        (np.array(["a"] * 784), "type"),
        (np.zeros(784, dtype=bool), "type"),
    ],
)
def test_read_images_for_prediction_refuses_other_arrays(tmp_path, values, word):
    path = tmp_path / "images.npy"
    np.save(path, values)
    with refused(path, word):
        read_images_for_prediction(path)


def test_read_images_for_prediction_never_unpickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = np.array([Trap()], dtype=object)
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "trap.npz", dataset=trap)
    for path in (tmp_path / "trap.npy", tmp_path / "trap.npz"):
        with refused(path, "pickled"):
            read_images_for_prediction(path)
    assert not (tmp_path / "sprung").exists()


def test_read_image_hands_nothing_to_an_interpreter(tmp_path, monkeypatch):
    """PostScript is a program, and Pillow has Ghostscript run it, whatever the file is called."""
    path = tmp_path / "image.png"
    Image.fromarray(PATTERN).save(path, "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **options: pytest.fail("it was run"))
    with refused(path, "cannot be read as an image"):
        read_image(path)
