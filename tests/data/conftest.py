"""Fixtures for the data tests: a cache of their own, no network, and small files to read."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import gpunet.data


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Each test has its own cache folder, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPUNET_DATA", str(folder))
    monkeypatch.delenv("GPUNET_OFFLINE", raising=False)
    return folder


@pytest.fixture
def use_gdown(monkeypatch):
    """Put a function in the place of gdown.download; returns the list of the calls' arguments."""

    def use(download):
        calls = []

        def recorded(**arguments):
            calls.append(arguments)
            return download(**arguments)

        monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=recorded))
        return calls

    return use


@pytest.fixture(autouse=True)
def no_network(use_gdown):
    """Unless a test brings its own, gdown finds no connection."""

    def no_connection(**arguments):
        raise ConnectionError("no network in tests")

    use_gdown(no_connection)


@pytest.fixture
def fake_synthetic(monkeypatch):
    """A stand-in for the drawn hands, quick and plain; its attribute `draws` counts."""
    module = types.ModuleType("gpunet.data.synthetic")
    module.VERSION = 1
    module.NOTE = "drawn for a test"
    module.draws = 0

    def synthetic_digits(seed=0, per_class=500):
        module.draws += 1
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (100, 784), dtype=np.uint8), np.repeat(np.arange(10), 10)

    module.synthetic_digits = synthetic_digits
    monkeypatch.setitem(sys.modules, "gpunet.data.synthetic", module)
    monkeypatch.setattr(gpunet.data, "synthetic", module, raising=False)
    return module


@pytest.fixture(scope="session")
def signs_file(tmp_path_factory):
    """A file in the form of the reports' own: 5,000 images, 500 of each of '0' to '9'."""
    path = tmp_path_factory.mktemp("signs") / "dataset_labels.npz"
    images = np.zeros((5000, 784), dtype=np.uint8)
    images[:, 0] = np.arange(5000) % 256
    np.savez_compressed(path, dataset=images, labels=np.repeat(list("0123456789"), 500))
    return path
