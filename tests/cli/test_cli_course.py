"""gpunet train: schedules, early stopping, clipping and logs, from options to what a run leaves behind."""

from __future__ import annotations

import json

import pytest

SMALL = ("--hidden", "4", "--batch-size", "32")


@pytest.fixture
def train(gpunet, digits, own_folder):
    """Call `gpunet train` on tiny data; returns its output and metrics.json."""

    def call(*argv):
        outcome = gpunet("train", "--data", digits, *SMALL, "--out", "here", *argv)
        assert (outcome.status, outcome.err) == (0, "")
        return outcome.out, json.loads((own_folder / "here" / "metrics.json").read_text())

    return call


def log_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_train_follows_a_schedule_and_clips(train, own_folder):
    options = ("--epochs", "3", "--schedule", "cosine", "0.1", "--warmup", "1", "--clip-norm", "0.5")
    out, metrics = train(*options, "--log", "log.jsonl")
    assert "learning rate: warm-up of 1 epoch, cosine to 0.1" in out and "gradients: no longer than 0.5" in out
    config = metrics["config"]
    assert [part["name"] for part in config["schedule"]] == ["warmup", "cosine"]
    assert config["schedule"][1]["end"] == 0.1 and config["clip_norm"] == 0.5
    assert {"schedule", "clip_norm"} < set(config["changed"])
    rates = [line["learning_rate"] for line in log_lines(own_folder / "log.jsonl")]
    assert rates == metrics["history"]["learning_rate"] and len(rates) == 3
    assert rates[0] < config["learning_rate"] > rates[1] > rates[2]


def test_train_stops_early(train, own_folder):
    out, metrics = train("--epochs", "60", "--early-stopping", "1", "--lr", "0.3", "--log", "log.csv")
    history = metrics["history"]
    assert history["epochs"] == history["stopped_after"] == history["weights_of"] + 1 < 60
    assert f"Stopped early, after {history['epochs']} of 60 epochs: the weights are those of epoch" in out
    assert len((own_folder / "log.csv").read_text().splitlines()) == 1 + history["epochs"]
    assert "Stopped early" in (own_folder / "here" / "report.html").read_text()


def test_train_stops_each_seed_early(train, own_folder):
    options = ("--epochs", "60", "--early-stopping", "1", "--lr", "0.3", "--seeds", "3")
    out, metrics = train(*options, "--schedule", "plateau", "0", "0.5", "--log", "log.jsonl")
    stopped = metrics["networks"]["stopped_after"]
    assert len(stopped) == 3 and all(0 < epoch < 60 for epoch in stopped)
    assert "Stopped early: 3 of 3 networks" in out
    numbers = {line[name] for line in log_lines(own_folder / "log.jsonl") for name in ("first_network", "last_network")}
    assert {0, 2} <= numbers <= {0, 1, 2}
    (own_folder / "here").rename(own_folder / "there")
    _, alone = train(*options[:-2], "--schedule", "plateau", "0", "0.5", "--seed", "1")
    assert alone["history"]["stopped_after"] == stopped[1]


def test_train_validates_a_binary_task_that_stops_early(train):
    _, metrics = train("--task", "binary", "--epochs", "2", "--early-stopping", "5")
    assert metrics["data"]["split"]["validation"] > 0
    assert len(metrics["history"]["validation"]["loss"]) == 2


def test_train_writes_for_tensorboard(train, own_folder):
    pytest.importorskip("tensorboard")
    train("--epochs", "1", "--tensorboard")
    assert list((own_folder / "here" / "tensorboard").glob("events.out.tfevents.*"))
    (own_folder / "here").rename(own_folder / "there")
    train("--epochs", "1", "--tensorboard", "board")
    assert list((own_folder / "board").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--schedule", "linear"), ("'linear'", "cosine, step, plateau, none")),
        (("--schedule", "step", "many"), ("--schedule step", "'many'")),
        (("--schedule", "cosine", "0", "1"), ("--schedule cosine", "1 number at most")),
        (("--schedule", "step", "0"), ("step_size", 0)),
        (("--warmup", "-1"), ("warm-up", -1)),
        (("--early-stopping", "0"), ("patience", 0)),
        (("--clip-norm", "nan"), ("clip_norm", "nan")),
        (("--log", "log.txt"), ("log.txt", ".csv or .jsonl")),
    ],
)
def test_train_refuses_in_one_sentence(refused, digits, own_folder, options, words):
    refused("train", "--data", digits, *options, words=words)
    assert list(own_folder.iterdir()) == []


def test_train_refuses_a_log_that_is_there(refused, digits, own_folder):
    (own_folder / "log.csv").write_text("mine")
    refused("train", "--data", digits, "--log", "log.csv", words=("log.csv", "already"))
    assert (own_folder / "log.csv").read_text() == "mine"
