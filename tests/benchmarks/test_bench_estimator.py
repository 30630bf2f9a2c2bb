"""bench_estimator: that it compares before it times, and refuses what does not agree. Times mean nothing here."""

from __future__ import annotations

import bench_estimator
import made_up
import numpy as np
import pytest
from bench_estimator import LOOP, Fit


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "made_up.npz"
    images, labels = made_up.images_and_labels(300, 10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return str(path)


def test_bench_estimator_shows_all_contenders(data, capsys, monkeypatch):
    monkeypatch.setattr(bench_estimator, "POINTS", 1)  # two steps an epoch are few for scikit-learn
    assert bench_estimator.main(["--data", data, "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "multiclass exp2: 192 rows" in lines[1]
    assert len(lines) == 2 + 5 and all("times the loop" in line for line in lines[2:])


@pytest.mark.parametrize(
    ("name", "fit", "words"),
    [
        ("gpunet.MLPClassifier", Fit([0.5], 0.9), "not those of the loop"),
        ("gpunet.MLPClassifier", Fit([np.nan], 0.9), "not those of the loop"),
        ("scikit-learn", Fit([0.4], 0.8), "80.0%"),
        ("scikit-learn", Fit([0.4], np.nan), "nan%"),
    ],
)
def test_bench_estimator_times_nothing_that_disagrees(name, fit, words):
    fits = {LOOP: Fit([0.25], 0.9), "gpunet.MLPClassifier": Fit([0.25], 0.9), "scikit-learn": Fit([0.3], 0.91)}
    assert bench_estimator.disagreement(fits) is None
    assert words in bench_estimator.disagreement({**fits, name: fit})


def test_bench_estimator_refuses_data_that_is_none(capsys):
    assert bench_estimator.main(["--data", "/nowhere.npz"]) == 2
    assert capsys.readouterr().err.startswith("bench_estimator: ")
