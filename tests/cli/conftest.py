"""Fixtures for the command line's tests: a folder and a cache of their own, no network, and tiny data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet.cli import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Each test works in a folder of its own, with an empty cache that nothing is fetched into."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("GPUNET_OFFLINE", "1")
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """An .npz file of 200 images, 20 of each class, that a small network learns in a few steps."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    images, labels = images_and_labels(200, classes=10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, digits) -> Path:
    """The folder of a finished multiclass run, for reading only."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = ["--epochs", "5", "--batch-size", "16", "--out", str(folder), "--quiet"]
    assert main(["train", "--data", str(digits), *options]) == 0
    return folder


@pytest.fixture
def gpunet(capsys):
    """Call the command line in this process."""

    def call(*argv) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in argv])
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture
def refused(gpunet):
    """The command ends with status 2 and one sentence on stderr that holds all the words; returns what it printed."""

    def call(*argv, words=()) -> Outcome:
        outcome = gpunet(*argv)
        lines = outcome.err.splitlines()
        assert outcome.status == 2
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith(f"gpunet {argv[0]}: ")
        assert "Traceback" not in outcome.err
        for word in words:
            assert str(word) in lines[0]
        return outcome

    return call
