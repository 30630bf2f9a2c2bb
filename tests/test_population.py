"""Many networks by one call: each as it would be alone, however they are cut into chunks, and whatever befalls the
others."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, SGD, Adam, NumpyOps, Population, TrainingDiverged, train
from gpunet.evaluation import evaluate
from gpunet.footprint import training_footprint
from gpunet.population import MEMORY_SHARE

CLASSES, INPUTS = 3, 12
IMAGES, LABELS = images_and_labels(60, CLASSES, INPUTS)
NAMES = ("a", "b", "c")
SEEDS = (3, 2**32 - 1, 0, 8, 5)
SPLITS = np.stack([np.random.default_rng(seed).permutation(60) for seed in SEEDS])
TRAIN, VALIDATION, TEST = SPLITS[:, :30], SPLITS[:, 30:40], SPLITS[:, 40:]
RATES = [0.02, 0.005, 0.1, 0.03, 0.01]
DECAYS = [0.0, 0.01, 0.1, 0.0, 0.02]
DROPOUTS = [0.3, 0.0, 0.6, 0.0, 0.2]


class InterruptedOps(NumpyOps):
    """Ctrl-C in front of the update of that number."""

    def __init__(self, updates):
        super().__init__()
        self.updates = updates

    def dense_update(self, layers, state, step):
        self.updates -= 1
        if self.updates < 0:
            raise KeyboardInterrupt
        super().dense_update(layers, state, step)


class TightOps(NumpyOps):
    """A backend with so little memory."""

    def __init__(self, free, cache_bytes=None):
        super().__init__()
        self.free, self.cache_bytes = free, cache_bytes

    def available_bytes(self):
        return self.free


def population_of(at_a_time=None, dropout=0.0, **options):
    return Population((INPUTS, 7, CLASSES), "tanh", SEEDS, dropout=dropout, at_a_time=at_a_time, **options)


def trained(population, **options):
    arguments = {"optimizer": Adam(0.02), "epochs": 2, "batch_size": 7, "evaluate_training": True, **options}
    return population.train(IMAGES, LABELS, TRAIN, VALIDATION, **arguments)


# Each as alone


@pytest.mark.parametrize("at_a_time", [None, 1, 2])
@pytest.mark.parametrize("make_optimizer", [Adam, SGD])
def test_member_is_its_single_run_bit_for_bit(make_optimizer, at_a_time):
    """Seed, rates, decay, dropout and split are each network's own; nor do the chunks matter."""
    population = population_of(at_a_time, DROPOUTS)
    history = trained(population, optimizer=make_optimizer(learning_rate=RATES, weight_decay=DECAYS))
    test = population.evaluate(IMAGES, LABELS, TEST, NAMES)
    for index, seed in enumerate(SEEDS):
        alone = MLP((INPUTS, 7, CLASSES), "tanh", seed, dropout=DROPOUTS[index])
        own = train(
            alone,
            IMAGES,
            LABELS,
            TRAIN[index],
            VALIDATION[index],
            optimizer=make_optimizer(RATES[index], DECAYS[index]),
            epochs=2,
            batch_size=7,
            evaluate_training=True,
        )
        assert_same_bits(population.member(index).parameters, alone.parameters)
        assert_same_bits(population.parameters[index], alone.parameters[0])
        for figures in ("step_loss", "step_accuracy"):
            assert_same_bits(getattr(history, figures)[index], getattr(own, figures)[0])
        for curve in ("train", "train_after", "validation"):
            for kind in ("loss", "accuracy"):
                ours, single = (getattr(getattr(each, curve), kind) for each in (history, own))
                assert_same_bits(ours[index], single[0])
        judged = evaluate(alone, IMAGES[TEST[index]], LABELS[TEST[index]], NAMES)
        assert (test.loss[index], test.accuracy[index]) == (judged.loss, judged.accuracy)
        assert_same_bits(test.predictions[index], judged.predictions)
        assert_same_bits(test.confusion_matrix[index], judged.confusion_matrix)


def test_member_before_training_is_the_untrained_network_of_its_seed():
    population = population_of(dropout=DROPOUTS)
    member = population.member(-1)
    assert member.single and member.seeds == (5,) and member.dropout == 0.2
    assert_same_bits(member.parameters, MLP((INPUTS, 7, CLASSES), seed=5).parameters)
    with pytest.raises(IndexError):
        population.member(5)


def test_training_again_goes_on_from_the_weights():
    population, networks = population_of(2), MLP((INPUTS, 7, CLASSES), "tanh", SEEDS)
    for order in ("never", np.arange(30)[None]):
        trained(population, epochs=1, shuffle=order)
        train(networks, IMAGES, LABELS, TRAIN, optimizer=Adam(0.02), epochs=1, batch_size=7, shuffle=order)
    assert_same_bits(population.parameters, networks.parameters)


def test_explicit_order_may_be_each_networks_own():
    order = np.stack([SPLITS[:, ::-1], SPLITS])  # [epochs, P, n]
    bits = []
    for at_a_time in (5, 2):
        population = population_of(at_a_time)
        population.train(IMAGES, LABELS, epochs=2, batch_size=9, shuffle=order)
        bits.append(population.parameters)
    assert_same_bits(*bits)


# Chunks


@pytest.mark.parametrize(
    ("at_a_time", "chunks"), [(None, [range(5)]), (9, [range(5)]), (3, [range(2), range(2, 5)]), (1, None)]
)
def test_chunks_are_as_equal_as_can_be(at_a_time, chunks):
    population, seen = population_of(at_a_time), []
    trained(population, on_epoch=lambda report, chunk: seen.append((report.epoch, chunk)))
    expected = chunks or [range(index, index + 1) for index in range(5)]
    assert list(population.chunks) == expected
    assert seen == [(epoch, chunk) for chunk in expected for epoch in (1, 2)]
    assert population.note is None


def test_on_epoch_gets_the_means_of_the_chunk():
    population, reports = population_of(3), {}
    history = trained(population, on_epoch=lambda report, chunk: reports.update({(chunk, report.epoch): report}))
    report = reports[range(2, 5), 2]
    assert report.validation_accuracy == history.validation.accuracy[2:, 1].mean()
    assert report.train_loss == history.train.loss[2:, 1].mean()


def test_chunks_follow_the_caches_silently():
    population = population_of(ops=TightOps(10**9, cache_bytes=1))
    trained(population)
    assert len(population.chunks) == 5 and population.note is None


def test_chunks_follow_memory_and_say_so(caplog):
    roomy = population_of()
    footprint = training_footprint(
        roomy.ops, roomy.layout, train_rows=30, validation_rows=10, epochs=2, batch_size=7, evaluate_training=True
    )
    tight = population_of(ops=TightOps(int((IMAGES.nbytes + 2.5 * footprint.run) / MEMORY_SHARE)))
    with caplog.at_level(logging.WARNING, logger="gpunet"):
        trained(roomy)
        assert not caplog.records
        trained(tight)
    assert [len(chunk) for chunk in tight.chunks] == [1, 2, 2]
    (record,) = caplog.records
    assert record.getMessage() == tight.note and "2 at a time: 5 would take" in tight.note
    assert_same_bits(tight.parameters, roomy.parameters)


# How a run ends


def test_a_diverged_network_ends_none_of_the_others():
    rates = [0.1, 0.1, 1e38, 0.1, 0.1]
    sound = [True, True, False, True, True]
    plain = population_of()
    trained(plain, optimizer=SGD(0.1))
    for at_a_time in (5, 2, 1):  # 1: alone in its chunk
        population = population_of(at_a_time, loss="softmax_cross_entropy")
        history = trained(population, optimizer=SGD(rates))
        assert population.diverged.tolist() == [not each for each in sound] and population.trained.all()
        assert population.sound.tolist() == sound
        assert np.isfinite(history.step_loss[sound]).all() and not np.isfinite(history.step_loss[2]).all()
        assert_same_bits(population.parameters[sound], plain.parameters[sound])
        test = population.evaluate(IMAGES, LABELS, TEST, NAMES)
        assert np.isnan([test.loss[2], test.accuracy[2]]).all() and np.isfinite(test.loss[sound]).all()
        assert not test.confusion_matrix[2].any() and (test.predictions[2] == -1).all()
        assert (test.confusion_matrix[sound].sum(axis=(1, 2)) == 20).all()
        with refused("network 2", "seed 0", "diverged"):
            population.member(2)


@pytest.mark.parametrize("at_a_time", [5, 1])
def test_all_diverged_is_one_sentence(at_a_time):
    with refused("all 5 networks", "learning rate") as caught:
        trained(population_of(at_a_time), optimizer=SGD(1e38))
    assert isinstance(caught.value, TrainingDiverged)


def test_interrupt_keeps_the_networks_that_are_done():
    """Ten steps a network: the third is not done yet."""
    whole, population = population_of(1), population_of(1, ops=InterruptedOps(24))
    expected, history = trained(whole), trained(population)
    assert history.interrupted and history.epochs == 2
    assert population.trained.tolist() == population.sound.tolist() == [True, True, False, False, False]
    assert_same_bits(population.parameters[:2], whole.parameters[:2])
    assert_same_bits(history.validation.loss[:2], expected.validation.loss[:2])
    assert np.isnan(history.validation.loss[2:]).all() and np.isnan(history.step_loss[2:]).all()
    assert_same_bits(population.member(2).parameters, MLP((INPUTS, 7, CLASSES), seed=0).parameters)


def test_interrupt_in_the_first_chunk_keeps_what_it_has_learnt():
    whole, population = population_of(), population_of(3, ops=InterruptedOps(12))
    expected, history = trained(whole, epochs=1), trained(population, epochs=7)
    assert history.interrupted and history.epochs == 2
    assert population.sound.tolist() == [True, True, False, False, False]
    assert_same_bits(history.train.loss[:2, :1], expected.train.loss[:2])
    assert history.step_loss.shape == (5, 2, 5)


def test_interrupt_before_anything_is_learnt_goes_through(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gpunet.population.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(population_of())


# What it refuses


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": ()}, ["seed"]),
        ({"seeds": (1, -1)}, ["seed", "-1"]),
        ({"seeds": (1, 2.5)}, ["seed", "2.5"]),
        ({"dropout": [0.1, 0.2]}, ["dropout", "[0.1, 0.2]"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"at_a_time": 0}, ["at_a_time", "0"]),
        ({"activation": "gelu"}, ["activation", "gelu"]),
        ({"sizes": (INPUTS,)}, ["layer sizes"]),
        ({"seeds": range(2**32)}, ["4,294,967,296 networks", "memory", "fewer"]),
    ],
    ids=str,
)
def test_population_refuses(options, words):
    with refused(*words):
        Population(**{"sizes": (INPUTS, 7, CLASSES), "seeds": SEEDS, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_rows": TRAIN[:4]}, ["train_rows", "[5, n]"]),
        ({"validation_rows": TRAIN[:4]}, ["validation_rows", "[5, n]"]),
        ({"train_rows": TRAIN + 60}, ["train_rows", "59"]),
        ({"optimizer": Adam([0.1, 0.2])}, ["learning_rate", "5 of them"]),
        ({"optimizer": SGD(0.1, [-1.0] * 5)}, ["weight_decay", "-1"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"shuffle": np.zeros((10, 4, 30), int)}, ["order", "[10, 5, n]"]),
        ({"labels": LABELS[:-1]}, ["labels"]),
        ({"images": IMAGES[:, :3]}, ["images"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_population_refuses_to_train(options, words):
    """Before any network is trained."""
    population = population_of(1)
    with refused(*words):
        population.train(**{"images": IMAGES, "labels": LABELS, "train_rows": TRAIN, **options})
    assert not population.trained.any()
