"""gpunet train --max-memory: whole runs on images that stay in their file, and limits that cannot be kept to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet.data import load_data

LIMIT = "7MB"  # of the two copies that training makes in memory less than is needed, and more than of anything else


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    images, labels = images_and_labels(2000, classes=4)
    np.save(path / "images.npy", images)
    np.save(path / "labels.npy", labels.astype(str))
    return path


def test_train_max_memory_reads_from_the_file_and_leaves_all_that_a_run_leaves(gpunet, folder, own_folder):
    options = ["--data", folder, "--epochs", "1", "--hidden", "4", "--batch-size", "16", "--backend", "numpy"]
    outcome = gpunet("train", *options, "--out", "here", "--max-memory", LIMIT)
    assert outcome.status == 0 and outcome.err == ""
    assert "read from their file a batch at a time: 1.57 MB" in outcome.out
    files = {path.name for path in (own_folder / "here").iterdir()}
    assert files >= {"model.safetensors", "metrics.json", "history.csv", "misread.png", "report.html"}
    facts = json.loads((own_folder / "here" / "metrics.json").read_text())
    assert facts["data"]["sha256"] == load_data(str(folder)).sha256()
    assert facts["config"]["data"] == facts["data"]["source"] == str(folder)
    assert facts["data"]["split"] == {"train": 1280, "validation": 320, "test": 400}


@pytest.mark.parametrize("size", ["lots", "-5MB", "12XB", "0"])
def test_train_refuses_an_unusable_size(refused, size):
    refused("train", f"--max-memory={size}", words=["--max-memory", "512MB", size])


def test_train_refuses_what_cannot_be_kept_to(refused, folder, own_folder):
    refused("train", "--data", folder, "--max-memory", "1MB", words=[folder, "needs about", "1 MB is what"])
    refused("train", "--data", folder, "--max-memory", "1GB", "--seeds", "2", words=["--max-memory", "--seeds"])
    augment = ["--augment", "5", "1", "0"]
    refused("train", "--data", folder, "--max-memory", LIMIT, "--hidden", "4", *augment, words=["augmented"])
    assert not (own_folder / "runs").exists() or not any((own_folder / "runs").iterdir())
