"""The example images of a demo page are test images of the run, or there are none, with a reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused

from gpunet.checkpoint import SavedModel
from gpunet.demo import run_examples
from gpunet.reporting.artifacts import common_facts, metrics_json
from gpunet.runs import RunConfig, run

IMAGES, LABELS = images_and_labels(240, classes=10)


@pytest.fixture
def run_folder(tmp_path):
    """Train for an epoch; the result, its model, and its folder with the metrics that say how it was made."""

    def make(**settings):
        np.savez(tmp_path / "data.npz", dataset=IMAGES, labels=LABELS.astype(str))
        options = {"data": str(tmp_path / "data.npz"), "epochs": 1, "batch_size": 16} | settings
        result = run(RunConfig.from_experiment(**options))
        (tmp_path / "metrics.json").write_text(metrics_json(common_facts(result)))
        return result, SavedModel(result.network, result.dataset.class_names, {}), tmp_path

    return make


@pytest.mark.parametrize(
    "settings",
    [{}, {"seed": 3, "limit": 150}, {"task": "binary", "exp": "base", "classes": ("7", "1")}],
    ids=["multiclass", "seed and limit", "binary"],
)
def test_run_examples_are_test_images_with_their_classes(run_folder, settings):
    result, model, folder = run_folder(**settings)
    examples = run_examples(model, folder, 8)
    rows = result.split.test
    known = {result.dataset.images[row].tobytes(): int(result.dataset.labels[row]) for row in rows}
    trained_on = {result.dataset.images[row].tobytes() for row in result.split.train}
    assert len(examples.labels) == 8 == len({image.tobytes() for image in examples.images})
    for image, label in zip(examples.images, examples.labels, strict=True):
        assert known[image.tobytes()] == label and image.tobytes() not in trained_on
    assert sorted(examples.labels) == examples.labels.tolist()


def test_run_examples_show_every_class_and_some_misread(run_folder):
    result, model, folder = run_folder(learning_rate=0.0003)
    missed = (result.test.predictions != result.dataset.labels[result.split.test]).sum()
    assert 3 < missed < 40
    examples = run_examples(model, folder, 12)
    wrong = model.network.predict(examples.images) != examples.labels
    assert wrong.sum() == 3
    read = np.unique(result.test.predictions[result.test.predictions == result.dataset.labels[result.split.test]])
    assert set(examples.labels[~wrong]) == set(read[:9])
    assert len(run_examples(model, folder, 1000).labels) == 48  # all there are


def test_run_examples_of_a_run_with_many_seeds_are_those_of_the_kept_one(run_folder):
    """Its metrics have the first seed in the configuration, and beside it the one whose network is the model."""
    result, model, folder = run_folder(seed=5)
    facts = json.loads((folder / "metrics.json").read_text())
    facts["config"]["seed"], facts["kept"] = 0, {"seed": 5}
    (folder / "metrics.json").write_text(json.dumps(facts))
    images = {result.dataset.images[row].tobytes() for row in result.split.test}
    assert {image.tobytes() for image in run_examples(model, folder, 48).images} == images


def changed(folder):
    np.savez(folder / "data.npz", dataset=IMAGES // 2, labels=LABELS.astype(str))


def of_the_reports_file(folder):
    facts = json.loads((folder / "metrics.json").read_text())
    facts["data"]["source"] = "signs"
    (folder / "metrics.json").write_text(json.dumps(facts))


SPOILED = {
    "changed": changed,
    "cache": of_the_reports_file,
    "no data source": lambda folder: (folder / "data.npz").unlink(),
    "there is no": lambda folder: (folder / "metrics.json").unlink(),
    "cannot be read": lambda folder: (folder / "metrics.json").write_text("{"),
    "is not known": lambda folder: (folder / "metrics.json").write_text('{"config": {}}'),
}


@pytest.mark.parametrize("word", SPOILED)
def test_run_examples_say_why_there_are_none(run_folder, monkeypatch, word):
    _, model, folder = run_folder()
    monkeypatch.setenv("GPUNET_DATA", str(folder / "empty cache"))
    SPOILED[word](folder)
    with refused(word):
        run_examples(model, folder, 12)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("data", "source", 7),
        ("data", "source", ["a"]),
        ("config", "seed", True),
        ("config", "seed", 1.5),
        ("config", "limit", "10"),
        ("config", "classes", [1, 2]),
        ("config", "task", None),
    ],
)
def test_examples_of_damaged_metrics_are_refused(run_folder, part, name, value):
    _, model, folder = run_folder()
    facts = json.loads((folder / "metrics.json").read_text())
    facts[part][name] = value
    (folder / "metrics.json").write_text(json.dumps(facts))
    with refused("cannot be read"):
        run_examples(model, folder, 3)
