"""From what is written on the command line to combinations."""

from __future__ import annotations

import numpy as np
import pytest
from sentences import refused

from gpunet.sweep.space import Range, cell_text, draw, grid, read_space, value_text


def test_space_reads_names_and_values():
    space = read_space(["lr=1e-4, 3e-4", "hidden=none,16,128-64", "weight-decay=0", "batch=32,32", "activation=relu"])
    assert space == {
        "learning_rate": (1e-4, 3e-4),
        "hidden": ((), (16,), (128, 64)),
        "weight_decay": (0.0,),
        "batch_size": (32,),
        "activation": ("relu",),
    }
    assert read_space(["hidden=16..64"]) == {"hidden": Range("hidden", 16, 64)}


def test_grid_is_every_combination():
    cells = grid(read_space(["lr=0.1,0.2", "batch=8,16,32"]))
    assert cells[:4] == [
        {"learning_rate": 0.1, "batch_size": 8},
        {"learning_rate": 0.1, "batch_size": 16},
        {"learning_rate": 0.1, "batch_size": 32},
        {"learning_rate": 0.2, "batch_size": 8},
    ]
    assert len(cells) == 6


def test_draws_lie_in_their_ranges_and_follow_from_the_seed():
    space = read_space(["lr=1e-4..1e-1", "hidden=8..128", "dropout=0..0.5", "epochs=2..5", "activation=relu,tanh"])
    cells = draw(space, 400, seed=3)
    assert cells == draw(space, 400, seed=3) and cells != draw(space, 400, seed=4)
    rates = np.array([cell["learning_rate"] for cell in cells])
    assert rates.min() >= 1e-4 and rates.max() <= 1e-1
    decades = np.histogram(np.log10(rates), bins=(-4, -3, -2, -1))[0]
    assert decades.min() > 100  # of 133 in each, by the logarithm; evenly they would be 0.4, 4 and 360
    assert all(rate == float(f"{rate:.3g}") for rate in rates)
    sizes = [cell["hidden"] for cell in cells]
    assert all(len(size) == 1 and isinstance(size[0], int) and 8 <= size[0] <= 128 for size in sizes)
    assert 150 < sum(size[0] < 32 for size in sizes) < 250  # half of the logarithm
    dropout = np.array([cell["dropout"] for cell in cells])
    assert dropout.min() >= 0 and dropout.max() <= 0.5 and 0.22 < dropout.mean() < 0.28
    assert {cell["epochs"] for cell in cells} == {2, 3, 4, 5}
    assert {cell["activation"] for cell in cells} == {"relu", "tanh"}
    assert len({tuple(cell.values()) for cell in cells}) == 400


@pytest.mark.parametrize(
    ("value", "text"),
    [((), "none"), ((64,), "64"), ((128, 64), "128-64"), (1e-4, "0.0001"), (1e-5, "1e-05"), (32, "32")],
)
def test_value_text_is_what_is_read(value, text):
    name = {tuple: "hidden", float: "lr", int: "batch"}[type(value)]
    assert value_text(value) == text
    assert list(read_space([f"{name}={text}"]).values()) == [(value,)]


def test_value_text_keeps_every_digit():
    assert value_text(0.00012345678901) == "0.00012345678901"
    assert cell_text({"learning_rate": 0.1, "hidden": ()}) == "learning_rate 0.1, hidden none"


@pytest.mark.parametrize(
    ("definitions", "words"),
    [
        (["speed=1"], ["'speed'", "learning_rate"]),
        (["seed=1,2"], ["'seed'", "--seeds"]),
        (["data=signs,mnist5k"], ["--data"]),
        (["lr"], ["'lr'", "field=value"]),
        (["lr="], ["learning_rate", "no values"]),
        (["lr=,"], ["learning_rate", "no values"]),
        (["lr=0.1,fast"], ["learning_rate", "'fast'", "number"]),
        (["batch=0.5"], ["batch_size", "'0.5'", "whole number"]),
        (["hidden=64x32"], ["hidden", "'64x32'"]),
        (["lr=0.1", "learning-rate=0.2"], ["learning_rate", "twice"]),
        (["lr=1..2..3"], ["1..2..3", "two numbers"]),
        (["lr=0.1..0.01"], ["0.1..0.01", "lower one first"]),
        (["lr=nan..1"], ["nan..1"]),
        (["lr=0..1"], ["above zero"]),
        (["hidden=16-8..64"], ["16-8..64", "two numbers"]),
        (["activation=relu..tanh"], ["activation", "no ranges"]),
    ],
)
def test_space_refuses(definitions, words):
    with refused(*words):
        read_space(definitions)


def test_grid_and_draw_refuse():
    with refused("learning_rate", "--random"):
        grid(read_space(["lr=0.1..1"]))
    with refused("1,000,000"):
        grid(read_space([f"{name}={','.join(map(str, range(1, 101)))}" for name in ("batch", "epochs", "hidden")]))
    with refused("hardly 5"):
        draw(read_space(["batch=8,16", "epochs=1,2"]), 5, seed=0)
    with refused("not 0"):
        draw(read_space(["lr=0.1..1"]), 0, seed=0)
