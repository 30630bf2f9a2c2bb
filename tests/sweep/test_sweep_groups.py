"""A sweep's networks are the single runs; and they never meet the test set."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from sentences import refused
from tolerances import assert_same_bits

from gpunet.data import stratified_split
from gpunet.ops import NumpyOps
from gpunet.population import Population
from gpunet.runs import load_classes, make_network, prepare, run, training_options
from gpunet.sweep import groups
from gpunet.sweep.groups import FIGURES, check_networks, make_group, make_material, train_group
from gpunet.training import train

DEFINITIONS = ("lr=0.003,0.01", "hidden=6", "epochs=2", "batch=9", "dropout=0,0.3", "weight-decay=0,0.01")


@pytest.fixture
def populations(monkeypatch):
    """Those that groups train, as they come."""
    made = []

    class Kept(Population):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(groups, "Population", Kept)
    return made


def trained(plan, dataset=None):
    """The records of all combinations as one group."""
    material = make_material(plan, dataset or load_classes(plan.base))
    return train_group(make_group(plan, tuple(range(len(plan.cells))), None), material)


def assert_is(record, seed, history):
    figures = [history.validation.accuracy, history.validation.loss, history.train.accuracy, history.train.loss]
    assert [record[name][seed] for name in FIGURES] == [each[0, -1] for each in figures]
    assert record["diverged"][seed] is False


@pytest.mark.parametrize("limit", [None, 133])
def test_cell_is_the_single_run_of_each_seed(plan_of, populations, monkeypatch, limit):
    """Weights and figures, in a population of other learning rates, weight decays and dropouts cut into chunks."""
    monkeypatch.setattr(NumpyOps, "cache_bytes", 700_000)
    plan = plan_of(*DEFINITIONS, seed=5, limit=limit)
    records = trained(plan)
    (population,) = populations
    assert len(population) == 16 and 1 < len(population.chunks) < 16
    for cell in range(8) if limit is None else (0, 7):
        for place, seed in enumerate(plan.all_seeds):
            alone = run(replace(plan.config(cell), seed=seed))
            assert_same_bits(population.parameters[2 * cell + place], alone.network.parameters[0])
            assert_is(records[cell], place, alone.history)


@pytest.mark.parametrize("exp", ["base", "numpy"])
def test_cell_of_a_binary_task_gives_a_fifth_of_its_training_rows_to_validation(plan_of, populations, exp):
    plan = plan_of("lr=0.01,0.1", "epochs=2", "hidden=4", task="binary", exp=exp, seed=3)
    records = trained(plan)
    for cell in range(2):
        for place, seed in enumerate(plan.all_seeds):
            config = replace(plan.config(cell), seed=seed)
            dataset, usual = prepare(config)
            split = stratified_split(dataset.labels, seed=seed, validation=0.2)
            assert_same_bits(split.test, usual.test)
            assert set(usual.train) == {*split.train, *split.validation} and len(split.validation) == 7
            network = make_network(config, dataset)
            rows = (split.train, split.validation)
            history = train(network, dataset.images, dataset.labels, *rows, **training_options(config))
            assert_same_bits(populations[0].parameters[2 * cell + place], network.parameters[0])
            assert_is(records[cell], place, history)


def test_records_do_not_depend_on_the_test_set(plan_of):
    plan = plan_of(*DEFINITIONS, seeds=1)
    dataset = load_classes(plan.base)
    split = stratified_split(dataset.labels, seed=0, validation=0.2)
    usual = trained(plan, dataset)

    def without(rows):
        images = dataset.images.copy()
        images[rows] = 255 - images[rows]
        return trained(plan, replace(dataset, images=images))

    assert without(split.test) == usual
    assert without(split.validation) != usual
    assert without(split.train) != usual


def test_records_of_what_diverges_hold_no_figures(plan_of):
    plan = plan_of("lr=0.01,1e30", "hidden=4", "epochs=2")
    records = trained(plan)
    assert records[0]["diverged"] == [False, False] and all(map(math.isfinite, records[0]["validation_loss"]))
    lost = {"diverged": [True, True], **{name: [None, None] for name in FIGURES}}
    assert records[1] == lost
    assert trained(plan_of("lr=1e30", "hidden=4", "epochs=2")) == {0: lost}


def test_group_tells_how_far_it_is(plan_of):
    plan = plan_of("lr=0.01,0.1", "hidden=4", "epochs=2")
    told = []
    group = make_group(plan, (0, 1), None)
    train_group(group, make_material(plan, load_classes(plan.base)), told.append)
    assert told[-1] == group.networks == 4 and told == sorted(told) and len(told) >= 2


def test_group_that_is_interrupted_has_no_records(plan_of, monkeypatch):
    def interrupt(networks):
        raise KeyboardInterrupt

    plan = plan_of("lr=0.01", "hidden=4", "epochs=2")
    with pytest.raises(KeyboardInterrupt):
        train_group(make_group(plan, (0,), None), make_material(plan, load_classes(plan.base)), interrupt)


def test_networks_that_cannot_be_made_are_refused_at_once(plan_of):
    plan = plan_of("loss=softmax_cross_entropy,binary_cross_entropy")
    with refused("binary_cross_entropy"):
        check_networks(plan, load_classes(plan.base))
