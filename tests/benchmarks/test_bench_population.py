"""bench_population: that what it times is equal, what a rate is, and what it says of who cannot run.

On made-up data and a network of twelve inputs; the times mean nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import bench_population
import numpy as np
import pytest
import stand_in_cupy
from made_up import images_and_labels
from PIL import Image
from population import contenders as population_contenders
from population.contenders import Contender, Contenders, by_gpunet, by_gpunet_on_a_device
from population.problem import Problem, Reference, Trained
from training.task import Task

from gpunet import Adam, NumpyOps
from gpunet.data import Dataset, Split
from gpunet.errors import InputError
from gpunet.experiments import find_experiment

IMAGES, LABELS = images_and_labels(50, 3, 12)
ROWS = np.arange(50)
EXPERIMENT = replace(find_experiment("multiclass", "exp2"), hidden=(5,), batch_size=8)
TASK = Task(
    EXPERIMENT,
    Dataset(IMAGES, LABELS, ("a", "b", "c"), "made up", ""),
    Split(np.random.default_rng(0).permutation(ROWS)[:43], ROWS[:0], ROWS[:0]),
)
GPUNET = Contender("gpunet (NumPy)", partial(by_gpunet, NumpyOps()))
PYTORCH = Contender(population_contenders.ONE_AFTER_ANOTHER, partial(by_gpunet, NumpyOps()))  # in its place


@pytest.fixture
def problem():
    return Problem.of(TASK, epochs=2, networks=5)


@pytest.fixture
def run(monkeypatch):
    """main(), with these contenders and the small network."""

    def run(contenders, *arguments, not_run=None, device="there is none"):
        monkeypatch.setattr(bench_population, "find_device", lambda number: device)
        monkeypatch.setattr(bench_population, "Task", SimpleNamespace(load=lambda *names: TASK))
        found = Contenders(list(contenders), not_run or {})
        monkeypatch.setattr(bench_population, "find_contenders", lambda device: found)
        return bench_population.main([str(argument) for argument in arguments])

    return run


def wrong(change):
    """What trains right, and then changes its losses ``[P, steps]``."""

    def prepare(problem, networks):
        def train():
            seconds, losses = problem.train(NumpyOps(), range(networks))
            change(losses)
            return Trained(seconds, losses)

        return train

    return Contender("a wrong one", prepare)


def with_another_rate(problem, networks):
    return partial(Other.of(problem, 1.001 * EXPERIMENT.learning_rate).train, NumpyOps(), range(networks))


class Other(Problem):
    @classmethod
    def of(cls, problem, rate):
        return cls(replace(EXPERIMENT, learning_rate=rate), *list(vars(problem).values())[1:])


class Clock(Problem):
    """On which an epoch takes a second, and what is done once takes ten. trained: the epochs of each run."""

    trained: ClassVar[list[int]] = []

    def train(self, ops, members, order=None):
        if ops.dtype == np.float64 or order is None:
            return super().train(ops, members, order)
        self.trained.append(len(order))
        return Trained(10.0 + len(order), super().train(ops, members, order).losses)


@pytest.fixture(autouse=True)
def no_repeats(monkeypatch):
    """Of epochs on a device."""
    monkeypatch.setattr(population_contenders, "ENOUGH", 1)


# The problem


def test_population_problem_has_full_batches_of_each_networks_own_order(problem):
    assert problem.order.shape == (2, 5, 40) and problem.steps == 10
    for rows in problem.order.reshape(-1, 40):
        assert len(set(rows)) == 40 and set(rows) <= set(TASK.split.train)
    assert len({tuple(rows) for rows in problem.order.reshape(-1, 40)}) == 10
    batches = problem.batches(3)
    assert batches.shape == (10, 3, 8)
    np.testing.assert_array_equal(batches[6, 2], problem.order[1, 2, 8:16])


def test_population_reference_holds_each_networks_losses(problem):
    reference = Reference(problem, (2, 5))
    single = problem.train(NumpyOps(np.float64), [4]).losses[0]
    losses = problem.train(NumpyOps(), range(5)).losses
    assert 0 < reference.error(losses) <= 1 and 0 < reference.error(losses[:2]) <= 1
    np.testing.assert_allclose(losses[4], single, rtol=1e-5)
    assert np.abs(losses[4] - losses[3]).max() > 0.01
    assert reference.error(losses[::-1]) > 100


@pytest.mark.parametrize("value", [np.nan, np.inf, 5.0])
def test_population_reference_refuses_a_single_wrong_loss(problem, value):
    losses = problem.train(NumpyOps(), range(5)).losses
    losses[4, 9] = value
    assert Reference(problem, (5,)).error(losses) > 100
    assert Reference(problem, (5,)).error(losses[:, :9]) == np.inf


def test_population_reference_notices_a_rate_a_thousandth_too_large(problem):
    assert Reference(problem, (5,)).error(with_another_rate(problem, 5)().losses) > 10


# Contenders


def vmap():
    return partial(pytest.importorskip("population.in_torch").by_vmap, "cpu", graph=False)


def one_after_another():
    return partial(pytest.importorskip("population.in_torch").by_torch, "cpu")


def jax():
    return pytest.importorskip("population.in_jax").by_jax


@pytest.mark.parametrize("peer", [vmap, one_after_another, jax])
def test_population_peers_train_what_numpy_does_and_begin_anew(problem, peer):
    reference = Reference(problem, (3,))
    train = peer()(problem, 3)
    first, second = train(), train()
    assert first.losses.shape == (3, 10) and first.seconds > 0
    assert 0 < reference.error(first.losses) <= 1
    np.testing.assert_array_equal(first.losses, second.losses)


def test_population_on_a_device_is_a_long_run_less_a_short_one(problem, monkeypatch):
    reference = Reference(problem, (3,))
    for enough, repeats in ((1, 1), (13, 3)):
        monkeypatch.setattr(population_contenders, "ENOUGH", enough)
        Clock.trained.clear()
        clock = Clock(*vars(problem).values())
        trained = by_gpunet_on_a_device(NumpyOps(), clock, 3)()
        assert clock.trained == [2, 2 * repeats + 2]
        assert trained.seconds == problem.epochs and trained.losses.shape == (3, 10)
        assert reference.error(trained.losses) <= 1


def test_population_contenders_that_are_missing_are_listed_with_the_reason(monkeypatch):
    monkeypatch.setattr(population_contenders, "find_spec", lambda name: None)

    def no_backend(name):
        raise InputError(f"backend {name} needs Numba")

    monkeypatch.setattr(population_contenders, "make_backend", no_backend)
    found, not_run = population_contenders.find_contenders(None)
    assert [contender.name for contender in found] == ["gpunet (NumPy)"]
    assert list(not_run) == ["gpunet (jit)", "torch.func.vmap", PYTORCH.name, "JAX, vmap and scan"]
    assert "pip install torch" in not_run[PYTORCH.name] and not_run["gpunet (jit)"] == "backend jit needs Numba"
    found, not_run = population_contenders.find_contenders(stand_in_cupy.device())
    assert [contender.name for contender in found] == ["gpunet (CUDA graph)"]
    assert "torch.func.vmap, CUDA graph" in not_run and "gpunet (jit)" not in not_run


# The benchmark


def test_bench_population_writes_rates_of_ten_epochs_and_a_figure(run, capsys, tmp_path):
    path = tmp_path / "new" / "population.json"
    arguments = ("--networks", 1, 20, "--rounds", 2, "--out", path)
    assert run([GPUNET, PYTORCH], *arguments, not_run={"a peer": "it is not installed"}) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("No GPU is used, because there is none: the CPU alone is timed, and nothing here was")
    assert "not run: a peer: it is not installed" in printed and "20 networks: gpunet (NumPy) trains" in printed
    results = json.loads(path.read_text())
    assert (
        results["device"] is None
        and not results["complete"]
        and results["not_run"] == {"a peer": "it is not installed"}
    )
    assert [row["networks"] for row in results["rows"]] == [1, 20]
    for row in results["rows"]:
        assert list(row["rate"]) == list(row["us_per_step"]) == [GPUNET.name, PYTORCH.name]
        for name, rate in row["rate"].items():
            assert 0 < rate["p20"] <= rate["median"] <= rate["p80"] and 0 < row["errors"][name] <= 1
    with Image.open(path.with_suffix(".png")) as figure:
        assert figure.width > 1000 and figure.convert("L").getextrema() == (0, 255)
    drawn = path.with_suffix(".png").read_bytes()
    path.with_suffix(".png").unlink()
    assert bench_population.main(["--figure", str(path)]) == 0
    assert path.with_suffix(".png").read_bytes() == drawn


def test_bench_population_on_a_device_names_it(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench_population, "Problem", Clock)
    monkeypatch.setattr(bench_population, "ON_DEVICE", (1, 3))
    path = tmp_path / "population.json"
    contender = Contender("gpunet (CUDA graph)", partial(by_gpunet_on_a_device, stand_in_cupy.DeviceOps()))
    assert run([contender], "--rounds", 1, "--limit", 9, "--out", path, device=stand_in_cupy.device()) == 0
    assert "No GPU" not in capsys.readouterr().out
    results = json.loads(path.read_text())
    assert results["complete"] and results["device"]["device"] == stand_in_cupy.NAME
    assert [row["rate"][contender.name]["median"] for row in results["rows"]] == [0.1, 0.3]  # an epoch takes a second
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_bench_population_rate_is_that_of_whole_runs(problem):
    row = bench_population.result_of(4, problem, {"gpunet (NumPy)": [0.5]}, {"gpunet (NumPy)": 0.25})
    assert row["rate"]["gpunet (NumPy)"]["median"] == 4 * 2 / (10 * 0.5)
    assert row["us_per_step"]["gpunet (NumPy)"]["median"] == 0.5e6 / 10


@pytest.mark.parametrize(
    "contender",
    [
        wrong(lambda losses: losses.fill(np.nan)),
        wrong(lambda losses: losses.__imul__(1.0001)),
        Contender("another rate", with_another_rate),
    ],
    ids=["nan", "scaled", "rate"],
)
def test_bench_population_refuses_to_time_what_is_not_equal(run, capsys, tmp_path, contender):
    path = tmp_path / "population.json"
    assert run([GPUNET, contender], "--networks", 2, "--rounds", 1, "--out", path) == 1
    error = capsys.readouterr().err
    assert f"{contender.name}, P = 2: a step's loss is" in error and "nothing more is timed" in error
    assert error.count("\n") == 1 and not path.exists()


def test_bench_population_leaves_out_what_takes_too_long_or_fails(run, capsys, tmp_path):
    def slow(problem, networks):
        return lambda: Trained(3.0 * networks, problem.train(NumpyOps(), range(networks)).losses)

    def needs_much(problem, networks):
        if networks > 1:
            raise RuntimeError("out of memory\nand much more")
        return by_gpunet(NumpyOps(), problem, networks)

    path = tmp_path / "population.json"
    contenders = [GPUNET, Contender("slow", slow), Contender("large", needs_much)]
    assert run(contenders, "--networks", 1, 2, 4, "--rounds", 1, "--limit", 10, "--out", path) == 0
    results = json.loads(path.read_text())
    assert [list(row["rate"]) for row in results["rows"]] == [
        [GPUNET.name, "slow", "large"],
        [GPUNET.name, "slow"],
        [GPUNET.name],
    ]
    assert results["left_out"] == {
        "slow": {"from": 4, "why": "a run of more than 10 seconds"},
        "large": {"from": 2, "why": "out of memory"},
    }
    assert "left out: large from 2 networks on: out of memory" in capsys.readouterr().out


def test_bench_population_interrupted_keeps_the_sizes_that_it_has_measured(run, capsys, tmp_path):
    def interrupted(problem, networks):
        if networks > 1:
            raise KeyboardInterrupt
        return by_gpunet(NumpyOps(), problem, networks)

    path = tmp_path / "population.json"
    assert run([Contender("gpunet", interrupted)], "--networks", 1, 2, "--rounds", 1, "--out", path) == 130
    results = json.loads(path.read_text())
    assert len(results["rows"]) == 1 and results["complete"] is False
    assert "interrupted; the sizes measured so far are kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--only", "TensorFlow"), "--only TensorFlow: no contender"),
        (("--only", "a peer"), "none of the contenders asked for can run here (a peer: it is not installed)"),
        (("--figure", "nothing.json"), "--figure nothing.json"),
    ],
)
def test_bench_population_refuses_in_a_sentence(run, capsys, arguments, words):
    assert run([GPUNET], *arguments, not_run={"a peer": "it is not installed"}) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_bench_population_never_writes_a_part_over_the_whole():
    assert bench_population.default_path({"device": None, "complete": True}).name == "population-cpu.json"
    device = {"device": {"device": "Tesla T4"}, "complete": False}
    assert bench_population.default_path(device).name == "population-tesla-t4-part.json"


def test_bench_population_goal_is_the_best_of_gpunet_against_single_runs_of_pytorch():
    rates = {"gpunet (NumPy)": 5.0, "gpunet (jit)": 9.0, "JAX, vmap and scan": 20.0, PYTORCH.name: 3.0}
    row = {"networks": 20, "rate": {name: {"median": rate} for name, rate in rates.items()}}
    goal = bench_population.goal_reached({"rows": [row]})
    assert goal == {"contender": "gpunet (jit)", "rate": 9.0, "pytorch_rate": 3.0, "ratio": 3.0}
    assert bench_population.goal_reached({"rows": [row | {"networks": 16}]}) is None


def test_population_problem_is_of_the_experiments_adam(problem):
    assert problem.optimizer == Adam(0.003)
