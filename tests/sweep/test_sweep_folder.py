"""What a sweep's folder holds is checked before it is believed."""

from __future__ import annotations

import json

import pytest
from sentences import refused

from gpunet.sweep.folder import SweepFolder
from gpunet.sweep.groups import FIGURES

SHA = "ab" * 32
WINNER = {"cell": 1, "seed": [0, 1], "accuracy": [0.5, None], "loss": [0.25, None]}


@pytest.fixture
def folder(tmp_path, plan_of):
    """A folder of two combinations that are finished, and the way to open it again."""
    plan = plan_of("lr=1e-3,1e-2")
    record = {"diverged": [False, True], **dict.fromkeys(FIGURES, [0.5, None])}
    sweep = SweepFolder(tmp_path / "sweep", plan, SHA, 2)
    sweep.keep({0: record, 1: record})
    sweep.keep_winner(WINNER)
    return sweep.path, lambda: SweepFolder(sweep.path, plan, SHA, 1)


def test_folder_comes_back_as_it_was_left(folder):
    _, reopened = folder
    assert reopened().blas_threads == 2 and reopened().winner() == WINNER
    assert reopened().records().keys() == {0, 1}


@pytest.mark.parametrize("name", ["diverged", *FIGURES])
@pytest.mark.parametrize("value", ["ab", [0.5], [0.5, "x"], [0.5, 10**400], [0.5, float("nan")], [[], []], None, 2])
def test_damaged_record_is_trained_again(folder, name, value):
    path, reopened = folder
    file = path / "finished" / "cells-00000.json"
    content = json.loads(file.read_text())
    content["1"][name] = value
    file.write_text(json.dumps(content))
    assert reopened().records() == {}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"0": ' * 50_000, "null", "", "[]"])
def test_file_that_is_no_record_is_trained_again(folder, text):
    path, reopened = folder
    for name in ("cells-00000.json", "winner.json"):
        (path / "finished" / name).write_text(text)
    assert reopened().records() == {} and reopened().winner() is None


@pytest.mark.parametrize(
    "change", [{"cell": "1"}, {"cell": 2}, {"cell": True}, {"seed": [1, 2]}, {"loss": [1.0]}, {"accuracy": "ab"}]
)
def test_damaged_winner_is_judged_again(folder, change):
    path, reopened = folder
    (path / "finished" / "winner.json").write_text(json.dumps(WINNER | change))
    assert reopened().winner() is None


@pytest.mark.parametrize("threads", [0, -1, "2", True, 1.5, 10**400])
def test_damaged_plan_is_refused(folder, threads):
    path, reopened = folder
    plan = json.loads((path / "sweep.json").read_text())
    (path / "sweep.json").write_text(json.dumps(plan | {"blas_threads": threads}))
    with refused(path, "damaged"):
        reopened()
