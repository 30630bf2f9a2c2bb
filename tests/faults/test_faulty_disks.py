"""A disk that is full, a folder that is read-only, a process that is killed: nothing half-written is read as whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import images_and_labels

pytest.importorskip("resource", reason="limits of processes are for Unix")

from faulty_disks import contents, full_after, read_only
from writers import REFUSALS, WRITERS

from gpunet.cli import main
from gpunet.kernels import kernel_cache

KINDS = pytest.mark.parametrize("kind", WRITERS)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def own_folders(monkeypatch):
    """Whatever a writer sets in the environment is as it was afterwards."""
    for name in ("GPUNET_DATA", "GPUNET_CACHE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(kernel_cache, "TRUSTED", set(kernel_cache.TRUSTED))
    yield
    kernel_cache._folder.cache_clear()


@KINDS
def test_writer_writes_what_its_reader_finds(kind, tmp_path):
    writer = WRITERS[kind]
    for version in (3, 4):
        writer.write(tmp_path, version)
        assert writer.read(tmp_path) == version


@KINDS
@pytest.mark.parametrize("space", [0, 1, 100, 0.5, 0.99])
def test_full_disk_leaves_what_was_there_or_nothing(kind, space, tmp_path):
    """space: bytes that there is room for, or the share of what is going to be written."""
    writer, old, new = WRITERS[kind], tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    writer.write(old, 3)
    before, size = contents(old), min(map(len, contents(old).values()))
    for folder in (new,) if kind == "data cache" else (old, new):  # which is only written where there is none
        with full_after(int(space * size) if isinstance(space, float) else space):
            try:
                writer.write(folder, 4)
            except REFUSALS as error:
                assert not writer.silent and "\n" not in str(error)
            else:
                assert writer.silent, "nobody was told"
    assert contents(old) == before
    assert writer.read(new) is None
    leftovers = contents(new)
    assert all(name.endswith("sweep.json") for name in leftovers), leftovers
    writer.write(new, 5)
    assert writer.read(new) == 5


@KINDS
def test_read_only_folder_is_refused_or_done_without(kind, tmp_path):
    writer = WRITERS[kind]
    with read_only(tmp_path):
        try:
            writer.write(tmp_path, 3)
        except REFUSALS as error:
            assert not writer.silent and "\n" not in str(error)
            assert getattr(error, "errno", errno.EROFS) == errno.EROFS or "Read-only" in str(error)
        else:
            assert writer.silent, "nobody was told"
        assert writer.read(tmp_path) is None
    assert not contents(tmp_path)


def run_killed(*arguments: object) -> str:
    """What killed.py prints. Its environment is as ours, in which the kernels' simulator plays no part."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "killed.py", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@KINDS
def test_killed_writer_leaves_whole_files(kind, tmp_path):
    """Twenty times with -9, at any moment of a write."""
    assert int(run_killed(kind, tmp_path, 20, 7)) > 3, "it hardly wrote"


@pytest.mark.parametrize("kind", ["data cache", "kernel", "model"])
def test_two_processes_in_one_folder_find_whole_files(kind, tmp_path):
    run_killed(kind, tmp_path, "writers", 25)


# The command line


@pytest.fixture
def digits(tmp_path):
    images, labels = images_and_labels(100, classes=10)
    np.savez(tmp_path / "digits.npz", dataset=images, labels=labels.astype(str))
    return str(tmp_path / "digits.npz")


def test_training_on_a_full_disk_ends_in_a_sentence(digits, tmp_path, capfd):
    out = tmp_path / "run"
    command = ["train", "--data", digits, "--backend", "numpy", "--epochs", "1", "--quiet", "--out", str(out)]
    with full_after(4096):
        status = main(command)
    sentence = capfd.readouterr().err
    assert status in (1, 2) and sentence.count("\n") == 1 and "Traceback" not in sentence
    assert not [name for name in contents(out) if name.startswith(("model", "metrics", "history", "report"))]


def test_training_into_a_read_only_folder_ends_in_a_sentence(digits, tmp_path, capfd):
    out = tmp_path / "run"
    with read_only(out):
        status = main(["train", "--data", digits, "--backend", "numpy", "--epochs", "1", "--quiet", "--out", str(out)])
    sentence = capfd.readouterr().err
    assert status == 2 and str(out) in sentence and "Read-only" in sentence and sentence.count("\n") == 1


def test_prediction_from_a_cut_off_model_ends_in_a_sentence(tmp_path, capfd):
    """A copy that was stopped, at every length near an edge."""
    from gpunet import MLP, save_model

    path, image = tmp_path / "model.safetensors", tmp_path / "image.npy"
    np.save(image, np.zeros(784))
    save_model(path, MLP((784, 10)), tuple("0123456789"))
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert main(["predict", str(path), str(image)]) == 2
        sentence = capfd.readouterr().err
        assert str(path) in sentence and sentence.count("\n") == 1
    path.write_bytes(content)
    assert main(["predict", str(path), str(image)]) == 0
