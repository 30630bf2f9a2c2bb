"""Logs: what they hold, that they are there while a run goes on, and that they never end one."""

from __future__ import annotations

import csv
import json
import logging

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet import MLP, Population, train
from gpunet.logs import COLUMNS, FIGURES, file_log, in_turn, tensorboard_log

IMAGES, LABELS = images_and_labels(12, 3, 6)
ROWS = np.arange(8), np.arange(8, 12)


def trained(on_epoch):
    return train(MLP((6, 3)), IMAGES, LABELS, *ROWS, epochs=3, batch_size=4, on_epoch=on_epoch)


def lines(path):
    """The epochs of a log, each {column: text or number}."""
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["run.csv", "deep/er/run.jsonl"])
def test_log_holds_every_epoch_as_soon_as_it_has_ended(tmp_path, name):
    path, lengths = tmp_path / name, []
    with file_log(path) as log:
        history = trained(in_turn(log, lambda report: lengths.append(len(lines(path)))))
    assert lengths == [1, 2, 3]
    for epoch, line in enumerate(lines(path)):
        assert tuple(line) == COLUMNS
        assert (int(line["epoch"]), int(line["epochs"])) == (epoch + 1, 3)
        for figure in FIGURES:
            expected = getattr(history.report(epoch), figure)
            if expected is None:
                assert line[figure] in ("", None)
            else:
                assert float(line[figure]) == expected


def test_log_of_a_population_names_the_networks(tmp_path):
    population = Population((6, 3), seeds=range(3), at_a_time=2)
    with file_log(tmp_path / "log.jsonl") as log:
        population.train(IMAGES, LABELS, epochs=1, on_epoch=log)
    assert [(line["first_network"], line["last_network"]) for line in lines(tmp_path / "log.jsonl")] == [(0, 0), (1, 2)]


def test_log_that_is_there_is_gone_on_with_or_refused(tmp_path):
    path = tmp_path / "log.csv"
    for _ in range(2):
        with file_log(path, append=True) as log:
            trained(log)
    assert [line["epoch"] for line in lines(path)] == ["1", "2", "3"] * 2
    with refused("log.csv", "there already"), file_log(path):
        pass


def test_log_of_another_kind_is_refused(tmp_path):
    with refused("run.txt", ".csv", ".jsonl"):
        file_log(tmp_path / "run.txt")


def test_log_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with refused("cannot be written"), file_log(tmp_path / "file" / "log.csv"):
        pass


def test_log_on_a_full_disk_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "gpunet"):
        try:
            open("/dev/full", "a").close()
        except OSError:
            pytest.skip("there is no /dev/full")
        from gpunet import logs

        def write(report, networks):
            with open("/dev/full", "a") as file:
                file.write("x")

        history = trained(logs._watched(write, "log.csv"))
    assert history.epochs == 3
    assert [record.getMessage().split("(")[0] for record in caplog.records] == [
        "the log log.csv ends before epoch 1, since it cannot be written "
    ]


def test_in_turn_ends_the_run_if_any_says_so():
    calls = []
    history = trained(in_turn(None, lambda report: report.epoch == 2, lambda report: calls.append(report.epoch)))
    assert history.epochs == 2 and calls == [1, 2]


def test_tensorboard_log_is_what_tensorboard_reads(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard_log(tmp_path / "board") as log:
        history = trained(log)
    found = EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    tags = {"loss/train", "accuracy/train", "loss/validation", "accuracy/validation", "learning_rate"}
    assert set(found.Tags()["scalars"]) == tags
    scalars = found.Scalars("loss/validation")
    assert [event.step for event in scalars] == [1, 2, 3]
    np.testing.assert_allclose([event.value for event in scalars], history.validation.loss[0], rtol=1e-6)


def test_tensorboard_that_is_missing_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.summary.writer.event_file_writer", None)
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with refused("TensorBoard", 'pip install "gpunet[tensorboard]"'), tensorboard_log(tmp_path):
        pass
