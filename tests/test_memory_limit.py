"""Sizes as people write them, and the choice between memory and file: what fits, what does not, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet import memory_limit
from gpunet.augmentation import Augmentation
from gpunet.memory_limit import byte_count, size_text
from gpunet.ops import NumpyOps
from gpunet.runs import RunConfig, run

IMAGES, LABELS = images_and_labels(2000, classes=4)
IN_MEMORY = 12_000_000  # bytes, enough for two copies of the images and the rest
IN_A_FILE = 7_500_000  # less than two copies, more than the rest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    np.save(path / "images.npy", IMAGES)
    np.save(path / "labels.npy", LABELS)
    return str(path)


def trained(data, max_memory=None, **changes):
    options = {"backend": "numpy", "epochs": 2, "batch_size": 16, "hidden": (4,)} | changes
    return run(RunConfig.from_experiment("multiclass", "exp2", data=data, **options), max_memory=max_memory)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512MB", 512_000_000),
        ("512mb", 512_000_000),
        (" 1.5 GB ", 1_500_000_000),
        (".5kb", 500),
        ("1KiB", 1024),
        ("256MiB", 256 << 20),
        ("2 TiB", 2 << 40),
        ("4096", 4096),
        ("7B", 7),
    ],
)
def test_byte_count_reads_sizes(text, count):
    assert byte_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "MB", "-1GB", "0", "0.1", "1e3", "512 M B", "512 megabytes", "nan", "inf", "1,5GB", "٣MB", "9" * 400]
)
def test_byte_count_refuses_everything_else(text):
    with refused("512MB"):
        byte_count(text)


def test_size_text_is_short():
    assert [size_text(count) for count in (4_194_400_000, 512e6, 1500)] == ["4.19 GB", "512 MB", "0.0015 MB"]


def without_times(result):
    history, test = result.history, result.test
    return [
        result.network.parameters,
        history.step_loss,
        history.train_after.loss,
        history.validation.loss,
        test.predictions,
        test.confidence,
        np.array([test.loss, test.accuracy]),
        np.frombuffer(result.dataset.sha256().encode(), np.uint8),
    ]


def test_a_run_that_reads_from_the_file_ends_as_one_in_memory(folder, monkeypatch):
    monkeypatch.setattr(NumpyOps, "asarray", counting_asarray := CountingAsarray())
    streamed = trained(folder, IN_A_FILE)
    assert streamed.dataset.is_streamed and counting_asarray.largest < IMAGES.nbytes / 4
    loaded, unlimited = trained(folder, IN_MEMORY), trained(folder)
    assert not loaded.dataset.is_streamed and not unlimited.dataset.is_streamed
    for other in (loaded, unlimited):
        for ours, theirs in zip(without_times(streamed), without_times(other), strict=True):
            assert np.isfinite(ours).all() and np.array_equal(ours, theirs)


class CountingAsarray:
    """`NumpyOps.asarray` that notes the largest array it has made."""

    def __init__(self):
        self.largest, self._asarray = 0, NumpyOps.asarray

    def __get__(self, ops, _):
        def asarray(values, dtype=None):
            array = self._asarray(ops, values, dtype)
            self.largest = max(self.largest, array.nbytes)
            return array

        return asarray


def test_a_binary_run_of_few_images_reads_from_the_file_as_well(folder):
    changes = {"task": "binary", "exp": "numpy", "classes": ("3", "1"), "limit": 900, "epochs": 1, "backend": "numpy"}
    config = RunConfig.from_experiment(data=folder, **changes)
    streamed, loaded = run(config, max_memory=3_600_000), run(config)
    assert streamed.dataset.is_streamed and not loaded.dataset.is_streamed
    assert np.array_equal(streamed.network.parameters, loaded.network.parameters)
    assert streamed.test.loss == loaded.test.loss and streamed.dataset.sha256() == loaded.dataset.sha256()


def test_without_a_limit_half_of_what_is_free_is_taken(folder, monkeypatch):
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 2 * IN_A_FILE)
    assert trained(folder).dataset.is_streamed
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 2 * IN_MEMORY)
    assert not trained(folder).dataset.is_streamed
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 1000)
    with refused("0.0005 MB of memory may be used"):
        trained(folder)


def test_what_will_not_do_is_refused_in_one_sentence(folder, tmp_path):
    with refused(folder, "needs about", "0.01 MB is what --max-memory gives", "smaller"):
        trained(folder, 10_000)
    with refused("augmented", "--no-augment", "7.5 MB"):
        trained(folder, IN_A_FILE, augmentation=Augmentation(rotation=10, shift=0, scale=0))
    np.savez(tmp_path / "images.npz", dataset=IMAGES, labels=LABELS)
    assert trained(str(tmp_path / "images.npz"), IN_MEMORY, epochs=1).history.epochs == 1
    with refused("images.npz", "needs about", "images.npy and labels.npy"):
        trained(str(tmp_path / "images.npz"), IN_A_FILE)


def test_a_backend_that_cannot_read_from_files_is_refused_in_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(NumpyOps, "takes_streams", False)
    with refused("backend numpy", "--backend"):
        trained(folder, IN_A_FILE)
    assert not trained(folder, IN_MEMORY, epochs=1).dataset.is_streamed
