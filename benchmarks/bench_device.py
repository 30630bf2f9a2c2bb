"""Training on a device, through `train` as people call it: what it learns, and then how long it takes.

    python benchmarks/bench_device.py [--device 0] [--rounds 5] [--out FILE]

Nothing is timed before these agree: a run in a CUDA graph and one that launches each kernel by itself (the same bits),
both experiments with NumPy (losses and test accuracy), and a member of a population with the network that it would be
alone (the same bits).

Microseconds a step are the difference between a long run and a short one over the steps between them, on a clock of the
host: all that a run pays for once cancels out (tables, uploads, capturing a graph), all that an epoch pays for is in it
(shuffling, sums of losses, Python). Figures are medians over rounds, with the 20th and 80th percentile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from device_clock import CEILINGS
from measuring import about_this_machine, percentiles, write_results
from training.task import Task

from gpunet import NumpyOps
from gpunet.errors import InputError
from gpunet.footprint import training_footprint
from gpunet.ops.backend import device_facts, make_backend
from gpunet.parameters import ParameterLayout

# Against NumPy, over ten epochs. NumPy in float32 is off from NumPy in float64 by 1e-6 (exp2) and 2e-5 (per-sample SGD,
# 8,000 steps) of the loss, and reads the same images right.
LOSS_DIFFERENCE = 2e-4  # relative, of the last epoch's mean loss
ACCURACY_DIFFERENCE = 0.005
NOT_CAPTURED = "kernels are launched one by one"  # what gpunet.ops.replay warns of where there is no graph
POPULATIONS = (64, 1024)
POPULATION_ROUNDS = 2  # at most: to draw the weights of a thousand networks takes the host seconds
MEMORY_SHARE = 0.9  # of what is available, that a population may take


# What must agree before anything is timed. Each check returns a sentence, and whether it holds.


def check_graph(task: Task, graph: Any, direct: Any) -> tuple[str, bool]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replayed = task.train(graph, 10, validate=True)
    for warning in caught:
        if NOT_CAPTURED in str(warning.message):
            return f"{task}: {warning.message}", False
    same = replayed.same_bits(task.train(direct, 10, validate=True))
    return f"{task}: a CUDA graph and single launches end with {'the same' if same else 'different'} bits", same


def check_against_numpy(task: Task, ops: Any) -> tuple[str, bool]:
    epochs = task.experiment.epochs
    ours, reference = task.train(ops, epochs), task.train(NumpyOps(), epochs)
    loss, expected = (trained.history.train.loss[0, -1] for trained in (ours, reference))
    accuracy, expected_accuracy = task.accuracy(ours.network), task.accuracy(reference.network)
    agrees = (
        abs(loss - expected) <= LOSS_DIFFERENCE * expected and abs(accuracy - expected_accuracy) <= ACCURACY_DIFFERENCE
    )
    sentence = (
        f"{task}: the last epoch's loss is {loss:.6f} and {accuracy:.1%} of the test images are read right; "
        f"with NumPy {expected:.6f} and {expected_accuracy:.1%}"
    )
    return sentence, bool(agrees)


def check_population(task: Task, ops: Any, networks: int) -> tuple[str, bool]:
    last = networks - 1
    same = task.train(ops, 3, range(networks)).same_bits(task.train(ops, 3, last), member=last)
    return f"{task}: the last of {networks} networks ends {'as' if same else 'otherwise than'} it does alone", same


# What is timed


def times_a_step(task: Task, ops: Any, networks: int, epochs: tuple[int, int], rounds: int) -> list[float]:
    """Microseconds a step of all networks side by side, one figure a round, after a round that warms up."""
    seeds = range(networks) if networks > 1 else 0
    times = []
    for _ in range(rounds + 1):
        few, many = (task.train(ops, each, seeds).history.seconds for each in epochs)
        times.append(1e6 * (many - few) / ((epochs[1] - epochs[0]) * task.steps))
    return times[1:]


def timed(what: str, task: Task, ops: Any, networks: int, epochs: tuple[int, int], rounds: int) -> dict[str, Any]:
    """A row of the results file."""
    us = percentiles(times_a_step(task, ops, networks, epochs, rounds))
    return {
        "what": what,
        "backend": ops.name,
        "network": "-".join(map(str, task.sizes)),
        "batch_size": task.experiment.batch_size,
        "networks": networks,
        "epochs": epochs,
        "rounds": rounds,
        "us_per_step": us,
        "us_per_step_and_network": round(us["median"] / networks, 3),
        "gflops": round(networks * task.flops / us["median"] / 1e3, 1),
    }


def time_run(task: Task, ops: Any, rounds: int) -> dict[str, Any]:
    """The experiment with its validation, warm: milliseconds of the training alone, and of the call as a whole."""
    training, call = [], []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        training.append(task.train(ops, task.experiment.epochs, validate=True).history.seconds)
        call.append(time.perf_counter() - began)
    medians = (statistics.median(values[1:]) for values in (training, call))
    names = ("training_ms", "call_ms")
    return {"epochs": task.experiment.epochs, **{n: round(1e3 * s, 2) for n, s in zip(names, medians, strict=True)}}


def fits(task: Task, ops: Any, networks: int, epochs: int) -> bool:
    """Whether a population finds room in the memory that is free."""
    footprint = training_footprint(
        ops,
        ParameterLayout(task.sizes),
        train_rows=len(task.split.train),
        epochs=epochs,
        batch_size=task.experiment.batch_size,
    )
    return networks * footprint.run <= MEMORY_SHARE * ops.available_bytes()


def measure(
    results: dict[str, Any],
    exp2: Task,
    per_sample: Task,
    graph: Any,
    direct: Any,
    *,
    rounds: int = 5,
    populations: Sequence[int] = POPULATIONS,
    show: Callable[[str], None] = print,
) -> None:
    """Checks and, if they hold, times, put into `results` one by one, so that an interrupted run leaves what it has:
    "agrees", "checks", "rows" and "run".

    graph, direct: the backend with CUDA graphs and without.
    """
    results |= {"agrees": False, "checks": [], "rows": [], "run": None}
    for check, *arguments in (
        (check_graph, exp2, graph, direct),
        (check_against_numpy, exp2, graph),
        (check_against_numpy, per_sample, graph),
        (check_population, exp2, graph, populations[0]),
    ):
        sentence, agrees = check(*arguments)
        show(f"{'agrees' if agrees else 'DISAGREES'}: {sentence}")
        results["checks"].append({"says": sentence, "agrees": agrees})
    results["agrees"] = all(check["agrees"] for check in results["checks"])
    if not results["agrees"]:
        return
    cases = [
        ("exp2, NumPy on the CPU", exp2, NumpyOps(), 1, (10, 40)),
        ("exp2, each kernel launched by itself", exp2, direct, 1, (10, 60)),
        ("exp2, an epoch in a CUDA graph", exp2, graph, 1, (10, 410)),
        ("per-sample SGD, NumPy on the CPU", per_sample, NumpyOps(), 1, (1, 6)),
        ("per-sample SGD", per_sample, graph, 1, (2, 22)),
        *((f"exp2, {networks} networks", exp2, graph, networks, (3, 23)) for networks in populations),
    ]
    for what, task, ops, networks, epochs in cases:
        if networks > 1 and not fits(task, ops, networks, epochs[1]):
            show(f"{what}: left out, because the memory does not suffice")
            continue
        each = rounds if networks == 1 else min(rounds, POPULATION_ROUNDS)
        results["rows"].append(timed(what, task, ops, networks, epochs, each))
        show(f"{what}: {results['rows'][-1]['us_per_step']['median']:.1f} us a step")
    results["run"] = time_run(exp2, graph, rounds)
    show(f"exp2, {results['run']['epochs']} epochs with validation: {results['run']['training_ms']} ms")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=int, default=0, metavar="N", help="which GPU, counted from 0 (default 0)")
    parser.add_argument("--rounds", type=int, default=5, help="counted repetitions of each time (default 5)")
    parser.add_argument("--data", default="synthetic", help="data source (default: synthetic)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results file there (JSON)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {options.rounds}")
    try:
        graph = make_backend("cuda", options.device).ops
        exp2 = Task.load(options.data, "multiclass", "exp2")
        per_sample = Task.load(options.data, "binary", "numpy")
    except InputError as error:
        print(f"bench_device: {error}", file=sys.stderr)
        return 2
    direct = type(graph)(options.device, graphs=False)
    results = {
        "what": "training on a device, microseconds a step",
        "machine": about_this_machine(None, ("numpy", "numba-cuda")),
        "device": device_facts(options.device),
        "ceiling": CEILINGS[graph.device_name]._asdict() if graph.device_name in CEILINGS else None,
        "data": Path(options.data).name,
    }
    try:
        measure(results, exp2, per_sample, graph, direct, rounds=options.rounds)
    finally:
        if options.out:
            write_results(options.out, results)
            print(f"written: {options.out}")
    return 0 if results["agrees"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
