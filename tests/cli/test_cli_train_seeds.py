"""gpunet train --seeds: many networks from one command, what they leave behind, and what is said of bad values."""

from __future__ import annotations

import csv
import json
import signal

import numpy as np
import pytest
from test_cli_train import read_until, start, without_times

from gpunet import load_model
from gpunet.ops import NumpyOps
from gpunet.reporting import figures, seeds_figures

OPTIONS = ["--epochs", "2", "--hidden", "5", "--batch-size", "16"]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def tensors(folder):
    return load_model(folder / "model.safetensors").network.parameters


@pytest.fixture
def undrawn(monkeypatch):
    """No figures, which take most of the time."""
    for module in (figures, seeds_figures):
        monkeypatch.setattr(module, "FIGURES", {name: lambda result: None for name in module.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")


@pytest.fixture
def some_at_a_time(monkeypatch):
    monkeypatch.setattr(NumpyOps, "cache_bytes", 400_000)


def test_seeds_are_the_single_runs(gpunet, digits, own_folder, some_at_a_time, undrawn):
    """The command's own files: figures of each seed in metrics.json and history.csv, and the kept weights."""
    options = ["--data", digits, *OPTIONS, "--dropout", "0.2", "--weight-decay", "0.01"]
    outcome = gpunet("train", *options, "--seed", "4", "--seeds", "3", "--keep", "6", "--out", "many")
    assert (outcome.status, outcome.err) == (0, "")
    many = metrics(own_folder / "many")
    assert many["side_by_side"]["networks"] < 3
    rows = list(csv.DictReader((own_folder / "many" / "history.csv").open()))
    for index, seed in enumerate((4, 5, 6)):
        assert gpunet("train", *options, "--seed", seed, "--out", f"alone{seed}", "--quiet").status == 0
        alone, own = own_folder / f"alone{seed}", many["networks"]
        single = metrics(alone)
        assert own["seed"][index] == seed
        assert own["test_accuracy"][index] == single["test"]["accuracy"]
        assert own["test_loss"][index] == single["test"]["loss"]
        assert own["confusion_matrix"][index] == single["test"]["confusion_matrix"]
        assert own["train_loss_after"][index] == single["history"]["train_after"]["loss"][-1]
        expected = list(csv.DictReader((alone / "history.csv").open()))
        assert [{k: v for k, v in row.items() if k != "seed"} for row in rows if row["seed"] == str(seed)] == expected
    assert tensors(own_folder / "many").tobytes() == tensors(own_folder / "alone6").tobytes()


def test_seeds_are_shown_and_kept(gpunet, digits, own_folder, some_at_a_time):
    outcome = gpunet("train", "--data", digits, *OPTIONS, "--seeds", "3")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert sum(line.startswith("networks ") for line in lines) == 2  # chunks
    (head,) = [line for line in lines if line.startswith("3 networks")]
    assert head.split() == ["3", "networks", "mean", "sd", "min", "max", "report"]
    (folder,) = (own_folder / "runs").iterdir()
    found = metrics(folder)["networks"]["test_accuracy"]
    figures = (np.mean(found), np.std(found, ddof=1), min(found), max(found))
    (row,) = [line for line in lines if line.startswith("test accuracy")]
    assert row.split() == ["test", "accuracy", *(f"{value:.3f}" for value in figures), "0.97"]
    assert {path.name for path in folder.iterdir()} == {
        *("model.safetensors", "metrics.json", "history.csv", "report.html"),
        *("learning_curves.png", "confusion_matrix.png", "test_accuracy.png"),
    }


def test_seeds_of_one_are_the_single_run(gpunet, digits, own_folder, undrawn):
    for folder, more in (("one", ["--seeds", "1"]), ("plain", [])):
        assert gpunet("train", "--data", digits, *OPTIONS, *more, "--out", folder, "--quiet") == (0, "", "")
    assert without_times(metrics(own_folder / "one")) == without_times(metrics(own_folder / "plain"))


def test_seeds_say_that_memory_decides(gpunet, digits, own_folder, monkeypatch, undrawn):
    monkeypatch.setattr(NumpyOps, "available_bytes", lambda self: 1_000_000)
    outcome = gpunet("train", "--data", digits, *OPTIONS, "--seeds", "3", "--out", "here")
    assert outcome.status == 0 and len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("gpunet train: note: the networks are trained ") and "memory" in outcome.err
    note = metrics(own_folder / "here")["side_by_side"]["note"]
    assert note in outcome.err and note in " ".join(outcome.out.split())


def test_ctrl_c_keeps_the_networks_that_are_done(digits, own_folder):
    process = start("--data", digits, "--epochs", "100", "--seeds", "100", "--out", "here")
    for _ in range(2):  # after the first, Ctrl-C may strike before what it says is stored
        read_until(process, "networks ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted: " in out and "interrupted after " in out
    found = metrics(own_folder / "here")
    assert found["interrupted"] is True and found["history"]["epochs"] == 100
    done = found["summary"]["networks"]
    assert 0 < done < 100 and found["networks"]["trained"] == [True] * done + [False] * (100 - done)
    assert found["networks"]["test_accuracy"][done:] == [None] * (100 - done)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0"], ["seeds", "0"]),
        (["--seeds", "-2"], ["seeds", "-2"]),
        (["--seeds", "1.5"], ["--seeds", "1.5"]),
        (["--seeds", "many"], ["--seeds", "many"]),
        (["--seeds", "4294967295"], ["memory", "fewer"]),
        (["--seeds", "2", "--seed", "4294967295"], ["4294967295"]),
        (["--seeds", "3", "--keep", "3"], ["keep", "0 to 2"]),
        (["--keep", "0"], ["--keep", "--seeds"]),
        (["--seeds", "1", "--keep", "0"], ["--keep", "--seeds"]),
        (["--seeds", "3", "--learning-rate", "1e30"], ["all 3 networks", "smaller learning rate"]),
    ],
)
def test_train_refuses_bad_seeds(refused, digits, own_folder, options, words):
    refused("train", "--data", digits, "--epochs", "2", *options, words=words)
    assert not (own_folder / "runs").exists()
