"""StreamedImages: rows of an .npy file without the file in memory, and what is said about files that will not do."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet.data import StreamedImages, streamed
from gpunet.fingerprint import fingerprints
from gpunet.network import MLP
from gpunet.ops import NumpyOps
from gpunet.optimizers import SGD
from gpunet.training import train

IMAGES, LABELS = images_and_labels(90, classes=5, inputs=12)


def saved(folder, array):
    path = folder / "images.npy"
    np.save(path, array)
    return path


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "ROWS_AT_A_TIME", 16)
    return StreamedImages(saved(tmp_path, IMAGES))


ROWS = {
    "one": [7],
    "all": range(90),
    "backwards": range(89, -1, -1),
    "again and again": [3, 3, 4, 5, 3],
    "of two networks": np.arange(40).reshape(2, 20)[:, ::-1],
    "at random": np.random.default_rng(0).integers(0, 90, 50),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_take_reads_what_numpy_would(images, rows):
    rows = np.asarray(rows, np.int32)
    out = np.full((*rows.shape, 12), 255, np.uint8)
    assert images.take(rows, axis=0, out=out, mode="clip") is out
    assert np.array_equal(out, IMAGES[rows]) and np.array_equal(images.take(rows), IMAGES[rows])


def test_take_refuses_to_write_into_what_is_not_in_one_piece(images):
    with pytest.raises(TypeError, match="contiguous"):
        images.take([3, 4], out=np.zeros((2, 24), np.uint8)[:, :12])


@pytest.mark.parametrize(
    "key", [slice(None), slice(80, 200), slice(None, None, -2), [4, 2, 2], np.arange(90) % 7 == 0], ids=str
)
def test_a_part_is_read_later_and_from_the_right_rows(images, key):
    part = images[key]
    assert isinstance(part, StreamedImages)
    assert part.shape == IMAGES[key].shape and len(part) == len(IMAGES[key]) and part.nbytes == IMAGES[key].nbytes
    assert np.array_equal(np.asarray(part), IMAGES[key])
    assert np.array_equal(np.asarray(part[1:][:3]), IMAGES[key][1:][:3])
    assert np.array_equal(part.take([1, 0]), IMAGES[key][[1, 0]])
    assert np.array_equal(part[-1], IMAGES[key][-1])


def test_an_image_beyond_the_last_is_none(images):
    with pytest.raises(IndexError):
        images[90]


def test_adjacent_rows_are_read_at_once(images, monkeypatch):
    class Counting:
        def __init__(self, file):
            self.file, self.reads = file, 0

        def readinto(self, into):
            self.reads += 1
            return self.file.readinto(into)

        def __getattr__(self, name):
            return getattr(self.file, name)

    images._file = Counting(images._file)
    images.take([3, 4, 5, 9, 10, 2])
    assert images._file.reads == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
def test_every_type_and_shape_of_images(tmp_path, dtype):
    values = (IMAGES / (1 if dtype == np.uint8 else 255)).astype(dtype).reshape(90, 3, 4)
    images = StreamedImages(saved(tmp_path, values))
    assert images.shape == (90, 12) and images.dtype == np.dtype(dtype) and images.ndim == 2
    assert np.array_equal(np.asarray(images), values.reshape(90, 12))
    assert np.asarray(images, np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_training_from_a_file_has_the_bits_of_training_in_memory(ops, tmp_path, dtype):
    values = (IMAGES / (1 if dtype == np.uint8 else 255)).astype(dtype)
    results = []
    for images in (values, StreamedImages(saved(tmp_path, values))):
        network = MLP((12, 6, 5), seed=[3, 4], dropout=0.25, ops=ops)
        rows = {"train_rows": np.arange(10, 90), "validation_rows": np.arange(10)}
        history = train(network, images, LABELS, **rows, epochs=2, batch_size=32, evaluate_training=True)
        curves = history.step_loss, history.train_after.loss, history.validation.loss
        results.append((ops.to_host(network.parameters), *curves, network.predict(images)))
    for in_memory, from_a_file in zip(*results, strict=True):
        assert np.isfinite(in_memory).all() and np.array_equal(in_memory, from_a_file)


def test_per_sample_sgd_from_a_file_has_the_bits_of_training_in_memory(ops, images):
    results = []
    for each in (IMAGES, images):
        network = MLP((12, 4, 1), seed=[3, 4], ops=ops)
        history = train(network, each, LABELS % 2, optimizer=SGD(0.1), epochs=2, batch_size=1)
        results.append((ops.to_host(network.parameters), history.step_loss))
    for in_memory, from_a_file in zip(*results, strict=True):
        assert np.isfinite(in_memory).all() and np.array_equal(in_memory, from_a_file)


def test_a_backend_that_gathers_itself_refuses_them_in_one_sentence(images):
    cuda_ops = pytest.importorskip("gpunet.ops.cuda_ops")
    with refused("reads no images from a file", "numpy"):
        cuda_ops.CudaOps().images(images)
    assert NumpyOps.takes_streams and not cuda_ops.CudaOps.takes_streams


def test_training_with_augmentation_refuses_them_in_one_sentence(tmp_path):
    from gpunet.augmentation import Augmentation

    images = StreamedImages(saved(tmp_path, np.zeros((90, 16), np.uint8)))
    with refused("augmentation", "in memory"):
        train(MLP((16, 5)), images, LABELS, augmentation=Augmentation(rotation=10, shift=0, scale=0))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 3), np.int64), ["int64", "uint8"]),
        (np.zeros((4, 3), bool), ["bool"]),
        (np.zeros((4, 3), "S1"), ["S1"]),
        (np.zeros(4, np.uint8), ["(4,)"]),
        (np.zeros((2, 2, 2, 2), np.uint8), ["(2, 2, 2, 2)"]),
        (np.zeros((0, 3), np.uint8), ["(0, 3)"]),
        (np.zeros((3, 0), np.uint8), ["(3, 0)"]),
        (np.asfortranarray(np.zeros((4, 3), np.uint8)), ["Fortran"]),
        (np.array([[1, None]], object), ["pickled"]),
    ],
    ids=str,
)
def test_files_that_hold_something_else_are_refused(tmp_path, array, words):
    path = saved(tmp_path, array)
    with refused(path, *words):
        StreamedImages(path)


def test_files_that_are_damaged_are_refused(tmp_path):
    path = saved(tmp_path, IMAGES)
    whole = path.read_bytes()
    for content in (b"", b"\x93NUMPY", whole[:100], whole[:-1], b"x" * 200):
        path.write_bytes(content)
        with refused(path):
            StreamedImages(path)
    for missing in (tmp_path / "none.npy", tmp_path):
        with refused(missing):
            StreamedImages(missing)


def test_a_file_cut_off_while_it_is_read_ends_in_one_sentence(images):
    with open(images.path, "r+b") as file:
        file.truncate(400)
    assert np.array_equal(images.take([0]), IMAGES[:1])
    with refused(images.path, "shorter"):
        images.take([0, 89])


def test_a_run_has_the_same_fingerprint_wherever_its_images_are(images):
    whole, part = fingerprints({"images": images}), fingerprints({"images": images[:-1]})
    assert whole == fingerprints({"images": IMAGES}) != part


def test_an_array_is_never_made_without_reading(images):
    with pytest.raises(ValueError, match="read"):
        np.array(images, copy=False) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else images.__array__(copy=False)
