"""Learning-rate schedules: their factors, beside PyTorch's, and what training makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, SGD, Adam, Cosine, NumpyOps, Plateau, StepDecay, Warmup, train
from gpunet.optimizers import step_table
from gpunet.schedules import schedule_as_json, schedule_factors, schedule_from_json, schedule_parts

IMAGES, LABELS = images_and_labels(12, 3, 6)
EPOCHS, PER_EPOCH = 7, 4
STEPS = EPOCHS * PER_EPOCH


def torch_factors(make, every=1, steps=STEPS):
    """The learning rates of a torch scheduler, from 1, that is stepped after so many steps."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for step in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0:
            scheduler.step()
    return np.array(rates)


def test_cosine_is_pytorchs():
    ours = schedule_factors([Cosine(end=0.1)], EPOCHS, PER_EPOCH)
    theirs = torch_factors(lambda of, optimizer: of.CosineAnnealingLR(optimizer, STEPS, eta_min=0.1))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_step_decay_is_pytorchs():
    ours = schedule_factors([StepDecay(step_size=2, gamma=0.5)], EPOCHS, PER_EPOCH)
    theirs = torch_factors(lambda of, optimizer: of.StepLR(optimizer, 2, gamma=0.5), every=PER_EPOCH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_warmup_is_pytorchs():
    ours = schedule_factors([Warmup(epochs=1.5, start_factor=0.2)], EPOCHS, PER_EPOCH)
    theirs = torch_factors(lambda of, optimizer: of.LinearLR(optimizer, start_factor=0.2, total_iters=6))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of SequentialLR's own call of step
def test_warmup_then_cosine_is_pytorchs_sequence():
    def sequence(of, optimizer):
        parts = of.LinearLR(optimizer, 0.25, total_iters=8), of.CosineAnnealingLR(optimizer, STEPS - 8)
        return of.SequentialLR(optimizer, parts, milestones=[8])

    ours = schedule_factors([Warmup(epochs=2, start_factor=0.25), Cosine()], EPOCHS, PER_EPOCH)
    np.testing.assert_allclose(ours, torch_factors(sequence), rtol=1e-12)


def test_factors_by_hand():
    assert schedule_factors([], 2, 2).tolist() == [1, 1, 1, 1]
    assert schedule_factors([Plateau()], 2, 2).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(schedule_factors([Cosine()], 1, 4), [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    # The decay's epochs are counted from the end of the warm-up.
    warm = Warmup(epochs=1, start_factor=0.5)
    assert schedule_factors([warm, StepDecay(1, 0.25)], 3, 2).tolist() == [0.5, 0.75, 1, 1, 0.25, 0.25]
    assert schedule_factors([StepDecay(1, 0.5), StepDecay(2, 0.5)], 3, 1).tolist() == [1, 0.5, 0.125]
    # A warm-up longer than the run is cut off.
    assert schedule_factors([Warmup(epochs=4, start_factor=0), Cosine()], 2, 1).tolist() == [0, 0.25]


def test_step_table_multiplies_rate_and_decoupled_decay_and_nothing_else():
    adam = Adam((0.1, 0.2), weight_decay=0.5, decoupled=True)
    plain, scheduled = step_table(adam, 2, 3), step_table(adam, 2, 3, schedule=np.array([1, 0.5, 0.25]))
    np.testing.assert_array_equal(scheduled, plain * [[[1, 1, 1], [0.5, 1, 0.5], [0.25, 1, 0.25]]])


def test_training_follows_a_schedule(ops):
    """Two epochs of SGD at 0.5 and at half of that: as two runs with these rates."""
    scheduled, by_hand = (MLP((6, 4, 3), seed=2, ops=ops) for _ in range(2))
    options = {"batch_size": 5, "shuffle": "never"}
    schedule = StepDecay(step_size=1, gamma=0.5)
    history = train(scheduled, IMAGES, LABELS, optimizer=SGD(0.5), epochs=2, schedule=schedule, **options)
    for rate in (0.5, 0.25):
        train(by_hand, IMAGES, LABELS, optimizer=SGD(rate), epochs=1, **options)
    assert_same_bits(scheduled.parameters, by_hand.parameters)
    assert history.learning_rate.tolist() == [[0.5, 0.25]]
    assert [history.report(epoch).learning_rate for epoch in (0, 1)] == [0.5, 0.25]


def test_training_row_by_row_follows_a_schedule():
    """Where one operation makes all steps of an epoch."""
    networks = [MLP((6, 4, 1), "sigmoid", seed=2, ops=NumpyOps(np.float64)) for _ in range(2)]
    options = {"batch_size": 1, "shuffle": "never"}
    train(networks[0], IMAGES, LABELS % 2, optimizer=SGD(0.5), epochs=2, schedule=StepDecay(1, 0.5), **options)
    for rate in (0.5, 0.25):
        train(networks[1], IMAGES, LABELS % 2, optimizer=SGD(rate), epochs=1, **options)
    assert_same_bits(networks[0].parameters, networks[1].parameters)


def test_schedule_is_adamw_of_pytorchs():
    """Rate and decay of twelve steps beside torch.optim.AdamW under the same schedule."""
    torch = pytest.importorskip("torch")
    network = MLP((6, 3), seed=4, ops=NumpyOps(np.float64))
    layer = torch.nn.Linear(6, 3).double()
    with torch.no_grad():
        layer.weight[:] = torch.from_numpy(network.layers[0][0][0].T.copy())
        layer.bias[:] = torch.from_numpy(network.layers[0][1][0].copy())
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.05, weight_decay=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for step in range(12):
        rows = slice(4 * (step % 3), 4 * (step % 3) + 4)
        optimizer.zero_grad()
        x = torch.from_numpy(IMAGES[rows] / 255)
        torch.nn.functional.cross_entropy(layer(x), torch.from_numpy(LABELS[rows])).backward()
        optimizer.step()
        scheduler.step()
    adamw = Adam(0.05, weight_decay=0.3, decoupled=True)
    train(network, IMAGES, LABELS, optimizer=adamw, epochs=4, batch_size=4, shuffle="never", schedule=Cosine())
    np.testing.assert_allclose(network.layers[0][0][0], layer.weight.detach().numpy().T, rtol=1e-10, atol=1e-13)


def test_schedule_comes_back_from_json():
    parts = (Warmup(2, 0.1), Cosine(0.5), StepDecay(3), Plateau(4, 0.5, cooldown=1))
    assert schedule_from_json(schedule_as_json(parts)) == parts
    assert schedule_from_json(schedule_as_json(())) == ()


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Cosine(end=1.5), ("cosine", 1.5)),
        (Cosine(end=np.nan), ("cosine", "nan")),
        (StepDecay(step_size=0), ("step_size", 0)),
        (StepDecay(gamma=-1), ("gamma", -1)),
        (Warmup(epochs=0), ("warm-up", 0)),
        (Warmup(start_factor=2), ("start_factor", 2)),
        (Plateau(patience=-1), ("patience", -1)),
        (Plateau(factor=1), ("factor", 1)),
        (Plateau(min_factor=np.nan), ("min_factor", "nan")),
        ((Cosine(), Warmup()), ("warm-up", "first")),
        ((Plateau(), Plateau()), ("one Plateau",)),
        ("cosine", ("Cosine()", "'cosine'")),
    ],
    ids=str,
)
def test_schedule_that_is_none_is_refused(schedule, words):
    with refused(*words):
        schedule_parts(schedule)
    with refused(*words):
        train(MLP((6, 3)), IMAGES, LABELS, np.arange(6), np.arange(6, 12), schedule=schedule)
