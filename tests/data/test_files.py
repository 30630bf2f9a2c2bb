"""Data sets in .npz files: every form that is accepted, and a sentence for every one that is not."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from sentences import refused

from gpunet.data import files, load_data
from gpunet.data.files import load_npz, npy_array
from gpunet.errors import InputError

PIXELS = np.arange(6 * 784).reshape(6, 784) % 256
LABELS = np.array(list("090909"))


@pytest.fixture
def save(tmp_path):
    """Save arrays as an .npz file; returns its path."""

    def save(dataset=PIXELS, labels=LABELS, **more):
        path = tmp_path / "own.npz"
        np.savez(path, dataset=dataset, labels=labels, **more)
        return path

    return save


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64", ">i4", "float32", "float64", ">f8"])
def test_load_npz_reads_whole_numbers_of_any_type(save, dtype):
    dataset = load_npz(save(dataset=PIXELS.astype(dtype)))
    assert dataset.images.dtype == np.uint8
    assert dataset.images.flags.c_contiguous
    np.testing.assert_array_equal(dataset.images, PIXELS)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_load_npz_scales_floats_up_to_one(save, dtype):
    dataset = load_npz(save(dataset=(PIXELS / 255).astype(dtype)))
    np.testing.assert_array_equal(dataset.images, PIXELS)


def test_load_npz_rounds_scaled_floats_to_the_nearest(save):
    dataset = load_npz(save(dataset=np.full((6, 784), 100.6 / 255)))
    np.testing.assert_array_equal(dataset.images, 101)


def test_load_npz_flattens_images_row_by_row(save):
    dataset = load_npz(save(dataset=np.asfortranarray(PIXELS.reshape(6, 28, 28))))
    np.testing.assert_array_equal(dataset.images, PIXELS)


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS.astype(bytes),
        LABELS.astype(np.uint8),
        LABELS.astype(np.int64),
        LABELS.astype(np.float32),
    ],
    ids=["str", "bytes", "uint8", "int64", "float32"],
)
def test_load_npz_reads_labels_of_any_type(save, labels):
    dataset = load_npz(save(labels=labels))
    assert dataset.class_names == ("0", "9")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (["10", "9", "1", "10", "9", "1"], ("1", "9", "10")),
        ([1, -1, 10, 1, -1, 10], ("-1", "1", "10")),
        (["sign10", "sign9", "Sign1", "sign10", "sign9", "Sign1"], ("Sign1", "sign9", "sign10")),
        (["b", "2", "a", "b", "2", "a"], ("2", "a", "b")),
        (["no010", "no9", "no08", "no010", "no9", "no08"], ("no08", "no9", "no010")),
        (["א", "ב", "א", "ב", "א", "ב"], ("א", "ב")),
    ],
)
def test_load_npz_orders_classes_naturally(save, labels, class_names):
    dataset = load_npz(save(labels=np.array(labels)))
    assert dataset.class_names == class_names
    assert [class_names[label] for label in dataset.labels] == [str(label) for label in labels]


def test_load_npz_tells_where_the_data_came_from(save):
    path = save()
    dataset = load_data(str(path))
    assert dataset.source == str(path)
    assert dataset.note


def test_load_npz_refuses_a_missing_file(tmp_path):
    with refused(tmp_path / "none.npz"):
        load_npz(tmp_path / "none.npz")


def test_load_npz_refuses_an_empty_file(tmp_path):
    path = tmp_path / "empty.npz"
    path.touch()
    with refused(path, "empty"):
        load_npz(path)


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><html>quota exceeded</html>", b"PK\x03\x04 and no more", pickle.dumps([1, 2]), b"\x93NUMPY"],
    ids=["html", "zip-head", "pickle", "npy-head"],
)
def test_load_npz_refuses_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with refused(path, "not an .npz file"):
        load_npz(path)


def test_load_npz_refuses_a_file_cut_short(save):
    path = save()
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with refused(path):
            load_npz(path)


def test_load_npz_survives_any_damaged_byte(tmp_path):
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, dataset=PIXELS.astype(np.uint8), labels=LABELS)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        try:
            dataset = load_npz(path)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:  # a byte that says nothing about the content, such as a date
            np.testing.assert_array_equal(dataset.images, PIXELS)


def test_load_npz_names_the_arrays_that_are_there(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, images=PIXELS, labels=LABELS)
    with refused(path, "'dataset'", "'images', 'labels'"):
        load_npz(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with refused(path, "none"):
        load_npz(path)


def test_load_npz_refuses_a_member_that_is_no_array(tmp_path):
    path = tmp_path / "text.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dataset", "pixels")
        archive.writestr("labels", "names")
    with refused(path, "'dataset'", "not a NumPy array"):
        load_npz(path)


@pytest.mark.parametrize("shape", [(), (784,), (6, 783), (28, 28), (6, 28, 27), (6, 28, 28, 1), (6, 1, 784)])
def test_load_npz_refuses_other_image_shapes(save, shape):
    path = save(dataset=np.zeros(shape, dtype=np.uint8))
    with refused(path, "'dataset'", shape):
        load_npz(path)


@pytest.mark.parametrize("shape", [(0, 784), (0, 28, 28)])
def test_load_npz_refuses_no_images(save, shape):
    path = save(dataset=np.zeros(shape), labels=LABELS[:0])
    with refused(path, "no images"):
        load_npz(path)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "U3", "S3", "datetime64[s]"])
def test_load_npz_refuses_other_pixel_types(save, dtype):
    path = save(dataset=np.zeros((6, 784), dtype=dtype))
    with refused(path, "'dataset'", "type"):
        load_npz(path)


@pytest.mark.parametrize("pixel", [-1, 256, 65535, -0.5, 255.5])
def test_load_npz_refuses_pixels_out_of_range(save, pixel):
    dataset = PIXELS.astype(np.asarray(pixel).dtype)
    dataset[3, 5] = pixel
    path = save(dataset=dataset)
    with refused(path, "0 to 255"):
        load_npz(path)


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf])
def test_load_npz_refuses_pixels_that_are_no_numbers(save, pixel):
    dataset = PIXELS.astype(np.float32)
    dataset[3, 5] = pixel
    path = save(dataset=dataset)
    with refused(path, "NaN or infinite"):
        load_npz(path)


def test_load_npz_refuses_fractions_above_one(save):
    path = save(dataset=PIXELS + 0.25 * (PIXELS == 7))
    with refused(path, "fractional"):
        load_npz(path)


def test_load_npz_refuses_another_number_of_labels(save):
    path = save(labels=LABELS[:5])
    with refused(path, "6 images", "5 labels"):
        load_npz(path)


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(6),
        LABELS.reshape(6, 1),
        np.array([0, 1, np.nan, 0, 1, 0]),
        np.array([0, 1, np.inf, 0, 1, 0]),
        np.array([0, 1, 0.5, 0, 1, 0]),
        np.array([True, False] * 3),
        np.zeros(6, dtype="complex64"),
        np.zeros(6, dtype="datetime64[s]"),
        np.array(["a", "b", " ", "a", "b", "a"]),
        np.array(["a", "b", "", "a", "b", "a"]),
        np.array([b"a", b"\xff"] * 3),
        np.array([97, 0x110000] * 3, np.uint32).view("U1"),
        np.array([97, 0xD800] * 3, ">u4").view(">U1"),
    ],
    ids="one-hot column nan inf fraction bool complex date blank nothing not-utf8 beyond-unicode surrogate".split(),
)
def test_load_npz_refuses_labels_that_name_no_classes(save, labels):
    path = save(labels=labels)
    with refused(path, "'labels'"):
        load_npz(path)


def test_load_npz_refuses_one_class_only(save):
    path = save(labels=np.full(6, "4"))
    with refused(path, "one class only", "'4'"):
        load_npz(path)


class Trap:
    """Unpickling it creates a file: proof that somebody did."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("key", ["dataset", "labels"])
def test_load_npz_never_unpickles(save, tmp_path, key):
    sprung = tmp_path / "sprung"
    path = save(**{key: np.array([Trap(sprung)] * 6, dtype=object)})
    with refused(path, key, "pickled"):
        load_npz(path)
    assert not sprung.exists()


def test_load_npz_refuses_to_unpack_too_much(tmp_path):
    # An archive of 3 kB that says, truly or not, that it holds 3 GB.
    path = tmp_path / "bomb.npz"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, dataset=np.zeros((5000, 784), dtype=np.uint8), labels=np.zeros(5000))
    size = (5000 * 784 + 128).to_bytes(4, "little")
    assert buffer.getvalue().count(size) >= 2  # in the member's head and in the directory
    path.write_bytes(buffer.getvalue().replace(size, (3 * 10**9).to_bytes(4, "little")))
    with refused(path, "would unpack to 3,000", "at most"):
        load_npz(path)


def test_load_npz_refuses_a_header_that_declares_more_than_there_is(tmp_path):
    path = tmp_path / "liar.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 784)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dataset.npy", header.getvalue())
        archive.writestr("labels.npy", header.getvalue())
    with refused(path, "'dataset'"):
        load_npz(path)


def test_npy_array_refuses_what_it_cannot_read(tmp_path, monkeypatch):
    path = tmp_path / "array.npy"
    with refused(path, "no file"):
        npy_array(path)
    path.write_bytes(b"no array")
    with refused(path, "cannot be read"):
        npy_array(path)
    np.save(path, np.array([Trap(tmp_path / "sprung")], dtype=object), allow_pickle=True)
    with refused(path, "pickled"):
        npy_array(path)
    assert not (tmp_path / "sprung").exists()
    np.save(path, np.zeros(1000))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with refused(path, "at most 1,000"):
        npy_array(path)


def test_load_npz_refuses_a_small_file_that_unpacks_to_much(tmp_path, monkeypatch):
    """Real data is packed to a tenth, and may; zeros are packed to a thousandth."""
    monkeypatch.setattr(files, "MAX_BYTES_OF_SMALL_FILES", 100_000)
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, dataset=np.zeros((6, 28 * 28 * 4))[:, :784].repeat(100, axis=0), labels=np.zeros(600))
    with refused(path, "would unpack to"):
        load_npz(path)
    noise = np.random.default_rng(0).integers(0, 256, (600, 784), dtype=np.uint8)
    np.savez_compressed(path, dataset=noise, labels=np.arange(600) % 2)
    assert len(load_npz(path)) == 600


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_load_npz_refuses_what_numpy_does_not_write(save, tmp_path, method):
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(save()) as source, zipfile.ZipFile(path, "w", method) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with refused(path, "NumPy does not"):
        load_npz(path)


def test_load_npz_reads_one_version_of_a_file(save, monkeypatch):
    """Another one is put in its place between one array and the next."""
    path = save(labels=LABELS)
    usual = files.NpzFile.array

    def array(file, name):
        found = usual(file, name)
        other = path.with_name("other.npz")
        np.savez(other, dataset=PIXELS, labels=np.array(list("121212")))
        other.replace(path)
        return found

    monkeypatch.setattr(files.NpzFile, "array", array)
    assert load_npz(path).class_names == ("0", "9")
    monkeypatch.undo()
    assert load_npz(path).class_names == ("1", "2")


def test_npy_array_refuses_a_header_that_declares_more_than_there_is(tmp_path):
    path = tmp_path / "liar.npy"
    for shape in ((10**12, 784), (-1, 784)):
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.write(bytes(1000))
        with refused(path, "cannot be read"):
            npy_array(path)
