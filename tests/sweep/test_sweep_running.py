"""Whole sweeps: kept, continued, judged; and folders that are refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from sentences import refused

from gpunet.reporting import figures, seeds_figures
from gpunet.sweep import running
from gpunet.sweep.outputs import networks_csv, results_csv
from gpunet.sweep.running import run_sweep, train_here

SMALL = ("lr=0.003,0.01", "hidden=none,4,6", "epochs=2")


class Stopped(Exception):
    """Something that ends everything."""


def train_until(groups_done, error):
    def trainer(groups, material, on_networks=None):
        for count, trained in enumerate(train_here(groups, material)):
            if count == groups_done:
                raise error
            yield trained

    return trainer


@pytest.fixture
def undrawn(monkeypatch):
    """No figures of the winner, which take most of the time."""
    for module in (figures, seeds_figures):
        monkeypatch.setattr(module, "FIGURES", {name: lambda result: None for name in module.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")


def never(groups, material, on_networks=None):
    raise AssertionError("trained again")


@pytest.mark.parametrize("error", [Stopped(), KeyboardInterrupt()])
def test_sweep_goes_on_where_it_was_stopped(plan_of, tmp_path, unjudged, error):
    plan = plan_of(*SMALL)
    whole = run_sweep(plan, tmp_path / "whole")
    if isinstance(error, KeyboardInterrupt):
        part = run_sweep(plan, tmp_path / "part", trainer=train_until(2, error))
        assert part.interrupted and part.winner is None and len(part.records) == 4
    else:
        with pytest.raises(Stopped):
            run_sweep(plan, tmp_path / "part", trainer=train_until(2, error))
    trained = []

    def rest(groups, material, on_networks=None):
        trained.extend(cell for group in groups for cell in group.cells)
        return train_here(groups, material)

    result = run_sweep(plan, tmp_path / "part", trainer=rest)
    assert trained == [2, 5]  # the last shape's
    assert results_csv(result) == results_csv(whole) and networks_csv(result) == networks_csv(whole)
    again = run_sweep(plan, tmp_path / "part", trainer=never)
    assert results_csv(again) == results_csv(whole) and again.winner == whole.winner


def test_sweep_trains_damaged_files_again(plan_of, tmp_path, unjudged, caplog):
    plan = plan_of(*SMALL)
    whole = run_sweep(plan, tmp_path / "a")
    files = sorted((tmp_path / "a" / "finished").glob("cells-*.json"))
    files[0].write_text(files[0].read_text()[:50])
    wrong = json.loads(files[1].read_text())
    wrong[next(iter(wrong))]["train_loss"].append(1.0)
    files[1].write_text(json.dumps(wrong))
    with caplog.at_level(logging.WARNING, "gpunet"):
        assert results_csv(run_sweep(plan, tmp_path / "a")) == results_csv(whole)
    assert len(caplog.records) == 2 and "damaged" in caplog.text


def test_sweep_judges_the_winner_alone(plan_of, tmp_path, undrawn, monkeypatch):
    """The networks of the sweep, as `gpunet train` would leave them; only these see the test set."""
    from gpunet import population

    evaluated = []
    evaluate = population.evaluate_networks

    def counted(network, *arguments):
        evaluated.append(network.seeds)
        return evaluate(network, *arguments)

    monkeypatch.setattr(population, "evaluate_networks", counted)
    plan = plan_of(*SMALL)

    def trainer(*arguments):
        yield from train_here(*arguments)
        assert not evaluated

    result = run_sweep(plan, tmp_path / "here", trainer=trainer)
    assert evaluated == [(0, 1)]
    best = result.ranking[0].cell
    kept = json.loads((tmp_path / "here" / "best" / "metrics.json").read_text())
    assert kept["config"]["learning_rate"] == plan.cells[best]["learning_rate"]
    assert kept["networks"]["validation_loss"] == result.records[best]["validation_loss"]
    assert result.winner == {
        "cell": best,
        "seed": [0, 1],
        "accuracy": kept["networks"]["test_accuracy"],
        "loss": kept["networks"]["test_loss"],
    }


def test_sweep_of_one_seed_keeps_a_single_run(plan_of, tmp_path, undrawn):
    result = run_sweep(plan_of("hidden=4,6", "epochs=1", seeds=1), tmp_path / "here")
    kept = json.loads((tmp_path / "here" / "best" / "metrics.json").read_text())
    assert result.winner["accuracy"] == [kept["test"]["accuracy"]] and result.winner["seed"] == [0]
    assert kept["history"]["validation"]["loss"][-1] == result.records[result.winner["cell"]]["validation_loss"][0]


def test_sweep_trains_with_the_threads_that_it_was_begun_with(plan_of, tmp_path, unjudged, monkeypatch):
    plan, threads = plan_of(*SMALL), []
    monkeypatch.setattr(running, "blas_threads", lambda: 3)
    with pytest.raises(Stopped):
        run_sweep(plan, tmp_path / "a", trainer=train_until(0, Stopped()))
    monkeypatch.setattr(running, "blas_threads", lambda: 1)

    def trainer(groups, *arguments):
        threads.extend(group.blas_threads for group in groups)
        return train_here(groups, *arguments)

    assert run_sweep(plan, tmp_path / "a", trainer=trainer).blas_threads == 3 and threads == [3, 3, 3]


def test_sweep_refuses_folders_of_other_things(plan_of, tmp_path, unjudged, digits):
    plan, folder = plan_of(*SMALL), tmp_path / "a"
    run_sweep(plan, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    for other, words in (
        (plan_of("lr=0.003,0.02", *SMALL[1:]), ["combinations"]),
        (plan_of(*SMALL, seeds=3), ["seeds"]),
        (plan_of(*SMALL, seed=1), ["seed"]),
    ):
        with refused("another sweep", "a", "--out", *words):
            run_sweep(other, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
    used = tmp_path / "used"
    used.mkdir()
    (used / "thesis.txt").write_text("")
    with refused("used", "not empty"):
        run_sweep(plan, used)
    (used / "sweep.json").write_text("[]")
    with refused("sweep.json", "damaged"):
        run_sweep(plan, used)
    (tmp_path / "file").write_text("")
    with refused("file"):
        run_sweep(plan, tmp_path / "file")


def test_sweep_refuses_data_that_changed(plan_of, tmp_path, unjudged, digits):
    plan = plan_of(*SMALL)
    run_sweep(plan, tmp_path / "a")
    with np.load(digits) as file:
        content = dict(file)
    changed = tmp_path / "changed.npz"
    content["dataset"] = content["dataset"].copy()
    content["dataset"][0, 700] ^= 1
    np.savez(changed, **content)
    known = json.loads((tmp_path / "a" / "sweep.json").read_text())
    known["sweep"]["data"] = str(changed)
    (tmp_path / "a" / "sweep.json").write_text(json.dumps(known))
    with refused("data has changed"):
        run_sweep(plan_of(*SMALL, data=str(changed)), tmp_path / "a")


def test_sweep_in_which_all_diverge_says_so(plan_of, tmp_path):
    with refused("diverged", "learning rates"):
        run_sweep(plan_of("lr=1e30,1e31", "hidden=4", "epochs=2"), tmp_path / "a")
