"""The files of a run with many seeds hold what its result holds."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from gpunet import load_model
from gpunet.reporting import figures, seeds_figures
from gpunet.reporting.artifacts import metrics_json
from gpunet.reporting.seeds_artifacts import seeds_history_csv, seeds_metrics, write_seeds_artifacts


def facts_of(result):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(metrics_json(seeds_metrics(result)), parse_constant=refuse)


@pytest.mark.parametrize("name", ["seeds", "seeds_left_out", "seeds_before_an_epoch"])
def test_seeds_artifacts_are_all_there(name, request, tmp_path, monkeypatch):
    result = request.getfixturevalue(name)
    monkeypatch.setattr(seeds_figures, "FIGURES", {name: lambda result: None for name in seeds_figures.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")
    paths = write_seeds_artifacts(result, tmp_path / "run")
    pngs = {f"{name}.png" for name in seeds_figures.FIGURES}
    expected = {"model.safetensors", "metrics.json", "history.csv", "report.html"} | pngs
    assert set(paths) == set(os.listdir(tmp_path / "run")) == expected
    saved = load_model(paths["model.safetensors"])
    kept = result.kept.index
    assert np.array_equal(saved.network.parameters[0], result.population.parameters[kept])
    assert saved.metadata["seed"] == result.seeds[kept] and saved.metadata["kept"] == result.kept.why
    assert saved.metadata["test_accuracy"] == result.test.accuracy[kept]


def test_seeds_metrics_hold_every_network(seeds):
    facts = facts_of(seeds)
    assert facts["config"]["seeds"] == 4 and facts["config"]["seed"] == 3
    own = facts["networks"]
    assert own["seed"] == [3, 4, 5, 6] and own["trained"] == [True] * 4 and own["diverged"] == [False] * 4
    assert own["test_accuracy"] == seeds.test.accuracy.tolist()
    assert own["train_loss"] == seeds.history.train.loss[:, -1].tolist()
    assert own["confusion_matrix"] == seeds.test.confusion_matrix.tolist()
    assert own["f1"] == seeds.test.class_figures()["f1"].tolist()
    assert facts["kept"] == {"seed": 6, "why": "as asked for"}
    assert facts["reported"]["test_accuracy"] == 0.95


def test_seeds_metrics_sum_up_what_counts(seeds_left_out):
    facts = facts_of(seeds_left_out)
    accuracy = seeds_left_out.test.accuracy[[0, 2]]
    assert facts["summary"]["networks"] == 2 and facts["interrupted"] is True
    found = facts["summary"]["test_accuracy"]
    assert [found[key] for key in ("mean", "min", "max")] == [accuracy.mean(), accuracy.min(), accuracy.max()]
    assert found["sd"] == pytest.approx(accuracy.std(ddof=1))
    assert facts["networks"]["test_accuracy"] == [accuracy[0], None, accuracy[1], None]
    assert facts["networks"]["diverged"] == [False, True, False, False]
    course = facts["history"]["validation"]["loss"]
    assert course["mean"] == seeds_left_out.history.validation.loss[[0, 2]].mean(axis=0).tolist()
    assert facts["side_by_side"]["note"] == seeds_left_out.population.note
    assert facts["confusion_matrix"]["mean"] == seeds_left_out.test.confusion_matrix[[0, 2]].mean(axis=0).tolist()


def test_seeds_metrics_tell_images_a_seed_where_limited(two_seeds_binary):
    facts = facts_of(two_seeds_binary)
    assert facts["data"]["images_a_seed"] == 40 == sum(facts["data"]["split"].values())
    assert facts["history"]["validation"] is None


def test_seeds_history_csv_has_a_row_a_seed_and_epoch(seeds_left_out, two_seeds_binary):
    rows = list(csv.DictReader(seeds_history_csv(seeds_left_out).splitlines()))
    assert [(row["seed"], row["epoch"]) for row in rows] == [("3", "1"), ("3", "2"), ("5", "1"), ("5", "2")]
    history = seeds_left_out.history
    assert [float(row["validation_accuracy"]) for row in rows] == history.validation.accuracy[[0, 2]].ravel().tolist()
    assert [float(row["train_loss_after"]) for row in rows] == history.train_after.loss[[0, 2]].ravel().tolist()
    rows = list(csv.DictReader(seeds_history_csv(two_seeds_binary).splitlines()))
    assert len(rows) == 2 and all(row["validation_loss"] == "" for row in rows)
