"""Running it all: everything is trained, as it would be alone; what ends it, and what stays then."""

from __future__ import annotations

import numpy as np
import pytest
from listening import Listener
from made_up import images_and_labels
from sentences import refused

from gpunet.reproduction import numpy_report, pytorch_report
from gpunet.reproduction.artifacts import write_reproduction
from gpunet.reproduction.beyond import IDEAS
from gpunet.reproduction.printed import Training
from gpunet.reproduction.reports import trainings
from gpunet.reproduction.running import Plan, reproduce
from gpunet.seed_runs import run_seeds


def test_reproduce_trains_everything_with_every_seed(outcome, listener):
    assert tuple(outcome.results) == trainings() == tuple(listener.ended)
    assert tuple(outcome.seconds) == tuple(each for each in trainings() if each.is_printed)
    for training, result in outcome.results.items():
        assert result.seeds == (5, 6, 7) and result.sound.all()
        assert result.config == training.config(data=outcome.plan.data, seed=5)
        assert result.history.epochs == result.config.epochs
        assert len(outcome.seconds.get(training, ())) == (3 if training.is_printed else 0)
    assert not outcome.interrupted and not outcome.diverged and outcome.took > 0


def test_reproduce_gives_what_the_runs_of_their_seeds_give(outcome):
    for training in (pytorch_report.EXP2, numpy_report.FINAL):
        alone, found = run_seeds(outcome.results[training].config, 3), outcome.results[training]
        assert (alone.test.accuracy == found.test.accuracy).all()
        assert (alone.history.train.loss == found.history.train.loss).all()
        assert (alone.population.parameters == found.population.parameters).all()


def test_long_trainings_beyond_the_reports_get_fewer_seeds():
    trained, quick = Plan(), Plan(quick=True, seeds=5)
    best, deep = (next(idea.training for idea in IDEAS if idea.experiment.name == name) for name in ("best", "deep"))
    assert trained.networks(pytorch_report.EXP2, 5000) == (20, 3) and quick.networks(pytorch_report.EXP2, 5000) == (
        5,
        1,
    )
    assert trained.networks(deep, 5000) == (20, 0)
    few, none = trained.networks(best, 5000)
    assert 5 <= few < 20 and none == 0
    assert quick.networks(best, 5000)[0] < few and trained.networks(best, 200) == (20, 0)
    assert Plan(seeds=1).networks(best, 10**6) == (1, 0)  # never more than asked for


def test_reproduce_tells_how_far_it_is(outcome, listener):
    numbers = [(number, of) for _, number, of in listener.begun]
    assert numbers == [(number, 27) for number in range(1, 28)]
    assert all(np.diff(listener.done) >= 0) and listener.done[0] > 0
    assert listener.done[-1] == pytest.approx(listener.total)
    assert len(listener.done) > 100  # within the trainings, too


def test_ctrl_c_keeps_what_is_done(digits_path, tmp_path):
    outcome = reproduce(Plan(data=digits_path, seeds=2), Listener(interrupt_at=3))
    assert outcome.interrupted and tuple(outcome.results) == trainings()[:2]
    paths = write_reproduction(outcome, tmp_path / "here")
    page = paths["report.md"].read_text()
    assert "Interrupted after 2 of 27 trainings" in page and "cannot be said" in page
    assert {"binary_confusion_matrix.png", "base_curves.png"} == {name for name in paths if name.endswith(".png")}


def test_ctrl_c_before_anything_is_done_leaves_nothing(digits_path):
    with pytest.raises(KeyboardInterrupt):
        reproduce(Plan(data=digits_path, seeds=2), Listener(interrupt_at=1))


def test_networks_that_diverge_do_not_end_it(digits_path):
    wild = Training("wild", "binary", "numpy", (("learning_rate", 1e30), ("loss", "squared_error"), ("epochs", 2)))
    outcome = reproduce(Plan(data=digits_path, seeds=2), Listener(), [wild, numpy_report.FINAL])
    assert tuple(outcome.results) == (numpy_report.FINAL,)
    assert "all 2 networks" in outcome.diverged[wild]


def test_reproduce_refuses_what_cannot_be_used(digits_path, tmp_path):
    path = tmp_path / "letters.npz"
    images, labels = images_and_labels(100, classes=5)
    np.savez(path, dataset=images, labels=np.array(list("abcde"))[labels])
    with refused("4", "9", "letters.npz"):
        reproduce(Plan(data=str(path), seeds=2), Listener())
    few = tmp_path / "few.npz"
    np.savez(few, dataset=images[:40], labels=(np.arange(40) % 10).astype(str))
    with refused("too few images"):
        reproduce(Plan(data=str(few), seeds=2), Listener())
    with refused("seeds", "0"):
        reproduce(Plan(data=digits_path, seeds=0), Listener())
    with refused("backend", "abacus"):
        reproduce(Plan(data=digits_path, backend="abacus"), Listener())
