"""The files of a run hold what the run's result holds."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from gpunet import __version__, atomic, load_model
from gpunet.errors import InputError
from gpunet.reporting import artifacts, figures
from gpunet.reporting.artifacts import (
    default_run_folder,
    discard_if_empty,
    ensure_writable,
    history_csv,
    metrics,
    metrics_json,
    reported_facts,
    write_artifacts,
)
from gpunet.runs import RunConfig, run

FILES = {
    "model.safetensors",
    "metrics.json",
    "history.csv",
    "learning_curves.png",
    "confusion_matrix.png",
    "misread.png",
    "report.html",
}


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in ("seconds", "date")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def quick_figures(monkeypatch):
    """Nothing drawn, for the tests of the other files."""
    monkeypatch.setattr(figures, "FIGURES", {name: lambda result: None for name in figures.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")


def test_write_artifacts_writes_every_file_and_nothing_else(multiclass, tmp_path):
    paths = write_artifacts(multiclass, tmp_path / "new" / "run")
    assert set(paths) == FILES == set(os.listdir(tmp_path / "new" / "run"))
    assert all(path.is_file() and path.name == name for name, path in paths.items())
    assert next(iter(paths)) == "model.safetensors"  # what took the time is safe first


@pytest.mark.parametrize("name", ["interrupted", "awkward_names", "squared_error"])
def test_write_artifacts_copes_with_unusual_runs(name, request, tmp_path):
    paths = write_artifacts(request.getfixturevalue(name), tmp_path)
    assert set(paths) == FILES
    strict_json(paths["metrics.json"].read_text())


def test_write_artifacts_replaces_an_earlier_run(multiclass, interrupted, tmp_path, quick_figures):
    write_artifacts(multiclass, tmp_path)
    paths = write_artifacts(interrupted, tmp_path)
    assert strict_json(paths["metrics.json"].read_text())["interrupted"] is True
    assert paths["history.csv"].read_text().count("\n") == 1


def test_metrics_json_holds_the_result(multiclass):
    facts = strict_json(metrics_json(metrics(multiclass)))
    test, history, dataset = multiclass.test, multiclass.history, multiclass.dataset
    assert facts["test"]["accuracy"] == test.accuracy
    assert facts["test"]["loss"] == test.loss
    assert facts["test"]["confusion_matrix"] == test.confusion_matrix.tolist()
    assert facts["test"]["report"]["3"]["f1-score"] == test.report["3"]["f1-score"]
    assert facts["test"]["seconds"] == multiclass.seconds["evaluation"]
    assert facts["history"]["epochs"] == 3
    for name in ("train", "train_after", "validation"):
        for kind in ("loss", "accuracy"):
            assert facts["history"][name][kind] == getattr(getattr(history, name), kind)[0].tolist()
    assert facts["config"] == {
        **{name: list(v) if isinstance(v, tuple) else v for name, v in vars(multiclass.config).items()},
        "changed": ["epochs"],
    }
    assert facts["data"]["sha256"] == dataset.sha256()
    assert facts["data"]["source"] == dataset.source and facts["data"]["note"] == dataset.note
    assert facts["data"]["split"] == {"train": 192, "validation": 48, "test": 60}
    assert facts["data"]["class_names"] == list("0123456789")
    assert facts["parameters"] == 784 * 64 + 64 + 64 * 10 + 10
    assert facts["reported"]["test_accuracy"] == 0.95
    assert facts["reported"]["per_class"]["4"] == [0.91, 0.90, 0.90]
    assert facts["versions"]["gpunet"] == __version__ and facts["versions"]["numpy"] == np.__version__
    assert facts["versions"]["blas"]
    assert facts["device"]["backend"] == "numpy" and facts["device"]["blas_threads"] >= 1
    assert facts["seconds"] == multiclass.seconds


def test_metrics_json_says_null_where_nothing_was_measured(binary):
    assert strict_json(metrics_json(metrics(binary)))["history"]["validation"] is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_metrics_json_stays_strict_when_a_figure_is_no_number(multiclass, loss):
    broken = replace(multiclass, test=replace(multiclass.test, loss=np.float64(loss)))
    assert strict_json(metrics_json(metrics(broken)))["test"]["loss"] is None


def test_metrics_json_leaves_strings_as_they_are():
    facts = {"note": "a [\n 1,\n 2 ] list", "numbers": [1, 2.5], "nested": [[1], [2]], "names": ["1", "2"]}
    text = metrics_json(facts)
    assert json.loads(text) == facts
    assert '"numbers": [1, 2.5]' in text


def test_metrics_json_is_the_same_for_the_same_command_but_for_times(multiclass, digits_file, tmp_path, quick_figures):
    again = run(RunConfig.from_experiment("multiclass", "exp1", data=digits_file, epochs=3))
    other = run(RunConfig.from_experiment("multiclass", "exp1", data=digits_file, epochs=3, seed=1))
    first, second, third = (write_artifacts(r, tmp_path / str(i)) for i, r in enumerate((multiclass, again, other)))
    facts = [without_times(strict_json(paths["metrics.json"].read_text())) for paths in (first, second, third)]
    assert facts[0] == facts[1]
    assert facts[0]["history"] != facts[2]["history"]
    assert first["model.safetensors"].read_bytes() == second["model.safetensors"].read_bytes()
    assert first["history.csv"].read_bytes() == second["history.csv"].read_bytes()


def test_metrics_json_beyond_the_reports_names_no_report(beyond):
    assert reported_facts(beyond) == {
        "source": None,
        "per_class": None,
        "note": beyond.config.experiment.purpose,
        "differences": ["epochs: 2 instead of 30", "dropout: 0.1 instead of 0.2"],
    }


def test_history_csv_holds_the_history(multiclass):
    rows = list(csv.DictReader(history_csv(multiclass.history).splitlines()))
    history = multiclass.history
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    columns = {"train{}": history.train, "train{}_after": history.train_after, "validation{}": history.validation}
    for name, curve in columns.items():
        for kind in ("loss", "accuracy"):
            values = [float(row[name.format(f"_{kind}")]) for row in rows]
            assert values == getattr(curve, kind)[0].tolist()


def test_history_csv_is_empty_where_nothing_was_measured(binary, interrupted):
    rows = list(csv.DictReader(history_csv(binary.history).splitlines()))
    assert len(rows) == 2
    assert all(row["validation_loss"] == row["validation_accuracy"] == "" for row in rows)
    assert history_csv(interrupted.history).splitlines() == [",".join(artifacts.HISTORY_COLUMNS)]


def test_model_predicts_as_the_run_did(multiclass, tmp_path, quick_figures):
    saved = load_model(write_artifacts(multiclass, tmp_path)["model.safetensors"])
    images = multiclass.dataset.images[multiclass.split.test]
    assert np.array_equal(saved.network.predict(images), multiclass.test.predictions)
    about = saved.metadata
    assert (about["task"], about["exp"], about["seed"], about["epochs"]) == ("multiclass", "exp1", 0, 3)
    assert about["data_source"] == multiclass.dataset.source and about["data_note"] == multiclass.dataset.note
    assert about["interrupted"] is False and about["gpunet_version"] == __version__


def test_a_file_appears_whole_or_not_at_all(multiclass, tmp_path, monkeypatch, quick_figures):
    write_artifacts(multiclass, tmp_path)
    before = (tmp_path / "metrics.json").read_bytes()

    class DiskFull(io.FileIO):
        def write(self, content):
            super().write(content[:10])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "open", DiskFull, raising=False)
    with pytest.raises(InputError, match="No space left on device"):
        write_artifacts(multiclass, tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert set(os.listdir(tmp_path)) == FILES


def test_default_run_folder_names_task_experiment_and_time_and_never_collides(multiclass, tmp_path):
    now = datetime(2024, 5, 6, 7, 8, 9)
    folders = [default_run_folder(multiclass.config, tmp_path / "runs", now) for _ in range(3)]
    assert [folder.name for folder in folders] == [
        "multiclass-exp1-20240506-070809",
        "multiclass-exp1-20240506-070809-2",
        "multiclass-exp1-20240506-070809-3",
    ]
    assert all(folder.is_dir() for folder in folders)


def test_discard_if_empty_removes_only_an_empty_folder(tmp_path):
    empty, full = tmp_path / "empty", tmp_path / "full"
    ensure_writable(empty)
    ensure_writable(full)
    (full / "file").write_text("kept")
    for folder in (empty, full, tmp_path / "missing"):
        discard_if_empty(folder)
    assert not empty.exists() and (full / "file").exists()


def test_ensure_writable_creates_the_folder_and_leaves_nothing_in_it(tmp_path):
    ensure_writable(tmp_path / "a" / "b")
    ensure_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/gpunet-test/run"])
def test_an_unusable_folder_is_refused_in_one_sentence(place, multiclass, tmp_path):
    if place.startswith("/proc") and not os.path.isdir("/proc/self"):
        pytest.skip("needs Linux's /proc, which even root cannot write")
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / place
    for refused in (
        lambda: ensure_writable(folder),
        lambda: default_run_folder(multiclass.config, folder),
        lambda: write_artifacts(multiclass, folder),
    ):
        with pytest.raises(InputError) as error:
            refused()
        assert str(folder) in str(error.value) and "\n" not in str(error.value)
        assert ("is a file" in str(error.value)) == place.startswith("file")


def test_heavy_packages_are_imported_where_they_are_used():
    modules = ("artifacts", "summary", "progress", "html", "figures")
    code = f"import sys; {'; '.join(f'import gpunet.reporting.{m}' for m in modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "sklearn", "rich", "scipy", "safetensors"} & set(loaded)
