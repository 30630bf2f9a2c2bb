"""gpunet's MLPClassifier beside the training loop that it stands on, and beside scikit-learn's.

    python benchmarks/bench_estimator.py [--data synthetic] [--rounds 9] [--threads 1] [--backend numpy]

All train exp2's network on exp2's rows (float32, 0..1) for ten epochs, in rounds: everybody once, one after the other,
in an order that turns from round to round. Figures are medians over the rounds, with the 20th and 80th percentile, and
medians of the ratios within a round. With alpha = 0 the estimator must end with the losses of the loop, bit for bit,
before anything is timed; scikit-learn begins with other weights and has other orders of rows, and is held to the same
test accuracy within 3 points.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from measuring import about_this_machine, percentiles, positive, rest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier
from threadpoolctl import threadpool_limits
from training.contenders.problem import Problem
from training.task import Task

from gpunet import MLP, Adam, MLPClassifier, train
from gpunet.errors import InputError
from gpunet.ops.backend import make_backend

LOOP = "gpunet.train"
SEED = 0
ALPHA = 1e-4
POINTS = 0.03  # of test accuracy
FOR_EVER = 10**6


class Fit(NamedTuple):
    """The mean loss of each epoch and the test accuracy."""

    losses: list[float]
    accuracy: float


class Contender(NamedTuple):
    """What is timed, fit, and what tells its result, afterwards."""

    fit: Callable[[], Any]
    result: Callable[[Any], Fit]


def contenders(problem: Problem, task: Task, backend: str) -> dict[str, Contender]:
    """The loop and the estimator, each without and with the L2 penalty, and scikit-learn's estimator (with it)."""
    experiment, images, labels = problem.experiment, problem.images, problem.labels
    test_images = task.data.images[task.split.test].astype(np.float32) / np.float32(255)
    test_labels = task.data.labels[task.split.test]
    common = {
        "hidden_layer_sizes": experiment.hidden,
        "batch_size": experiment.batch_size,
        "learning_rate_init": experiment.learning_rate,
        "max_iter": experiment.epochs,
        "tol": 0.0,
        "n_iter_no_change": FOR_EVER,
        "random_state": SEED,
    }

    def loop(alpha: float) -> Contender:
        def fit() -> Any:
            # The seed that the estimator draws from its random_state.
            seed = int(np.random.RandomState(SEED).randint(np.iinfo(np.int32).max))
            network = MLP(problem.sizes, seed=seed, init="glorot", ops=make_backend(backend).ops)
            optimizer, rows = Adam(experiment.learning_rate), experiment.batch_size
            options = {"epochs": experiment.epochs, "batch_size": rows, "weight_penalty": alpha}
            return network, train(network, images, labels, optimizer=optimizer, **options)

        def result(fitted: Any) -> Fit:
            network, history = fitted
            accuracy = (network.predict(test_images) == test_labels).mean()
            return Fit(history.train.loss[0].tolist(), float(accuracy))

        return Contender(fit, result)

    def estimator(model: Any) -> Contender:
        return Contender(
            lambda: model.fit(images, labels),
            lambda fitted: Fit(fitted.loss_curve_, fitted.score(test_images, test_labels)),
        )

    return {
        LOOP: loop(0.0),
        "gpunet.MLPClassifier": estimator(MLPClassifier(alpha=0.0, backend=backend, **common)),
        f"{LOOP}, alpha = {ALPHA}": loop(ALPHA),
        f"gpunet.MLPClassifier, alpha = {ALPHA}": estimator(MLPClassifier(alpha=ALPHA, backend=backend, **common)),
        f"scikit-learn's MLPClassifier, alpha = {ALPHA}": estimator(TheirClassifier(alpha=ALPHA, **common)),
    }


def disagreement(fits: dict[str, Fit]) -> str | None:
    """What forbids to time these, in a sentence."""
    loop, ours = fits[LOOP], fits["gpunet.MLPClassifier"]
    if not np.array_equal(loop.losses, ours.losses):
        return "the estimator's losses are not those of the loop"
    for name, fit in fits.items():
        if not abs(fit.accuracy - loop.accuracy) <= POINTS:
            return f"{name} reads {fit.accuracy:.1%} of the test images right, and the loop {loop.accuracy:.1%}"
    return None


def measure(running: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each fit in each round."""
    times: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        turn = number % len(running)
        for name in [*list(running)[turn:], *list(running)[:turn]]:
            rest()
            began = time.perf_counter()
            running[name].fit()
            times[name].append(1e3 * (time.perf_counter() - began))
    return times


def show(times: dict[str, list[float]]) -> None:
    """Ratios are against the loop with the same alpha, the first of its pair."""
    loop = times[LOOP]
    for name, each in times.items():
        loop = each if name.startswith(LOOP) else loop
        figures = percentiles(each)
        ratio = statistics.median(one / other for one, other in zip(each, loop, strict=True))
        print(
            f"  {name:<48} {figures['median']:>8.1f} ms   ({figures['p20']:.1f} to {figures['p80']:.1f})"
            f"   {ratio:.3f} times the loop"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="synthetic", help="data source (default: synthetic)")
    parser.add_argument("--rounds", type=positive, default=9, metavar="N", help="counted fits of each (default 9)")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of BLAS (default 1)")
    parser.add_argument("--backend", default="numpy", help="gpunet's: numpy (default) or jit")
    options = parser.parse_args(arguments)
    try:
        task = Task.load(options.data, "multiclass", "exp2")
        running = contenders(Problem.of(task), task, options.backend)
        with threadpool_limits(options.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are ten epochs
            wrong = disagreement({name: each.result(each.fit()) for name, each in running.items()})
            times = {} if wrong else measure(running, options.rounds)
    except InputError as error:
        print(f"bench_estimator: {error}", file=sys.stderr)
        return 2
    if wrong:
        print(f"bench_estimator: {wrong}; nothing is timed", file=sys.stderr)
        return 1
    machine = about_this_machine(options.threads, ("numpy", "scikit-learn"))
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{task}: {len(task.split.train)} rows, ten epochs, backend {options.backend}, {options.rounds} rounds")
    show(times)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
