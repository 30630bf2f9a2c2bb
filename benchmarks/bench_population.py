"""Many networks: how many a second gpunet trains, and how many its peers do, from one network to thousands.

    python benchmarks/bench_population.py [--quick] [--only gpunet ...] [--out benchmarks/results/population-cpu.json]

The networks are those of the experiment exp2 (784-64-10, batches of 128, Adam), each with its own weights and its own
order of rows. Contenders, all in float32:

    gpunet (NumPy), (jit)          on the CPU: a `Population`, which trains as many side by side as its caches hold well
    gpunet (CUDA graph)            on a device: all side by side, an epoch's launches in one graph
    torch.func.vmap                a functional perceptron over stacked parameters, Adam written out for the stack
    torch.func.vmap, CUDA graph    on a device: the same, an epoch's steps captured
    JAX, vmap and scan             the same in JAX, all steps in one compiled function
    PyTorch, one after another     a module and a fused Adam for each network: what most people do

Before a contender is timed, it trains all networks from the same weights over the same batches, and the loss of every
step is compared with NumPy's in float64: it may be off by 4 times as much as NumPy's in float32 is. If it is farther
off, nothing more is timed, and the exit status is 1.

What is timed is this training again, a few epochs of it, from weights, orders and data in place to the losses on the
host: not what is paid for once, such as compiling, capturing and drawing weights. A rate is that of whole runs of ten
epochs: networks * epochs timed / (10 * seconds). In each round every contender trains once, one after the other.
Figures are medians over rounds, with the 20th and 80th percentile. Where no device is, small populations are timed on
the CPU; a run that would take too long is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from device_clock import Device, find_device
from measuring import about_this_machine, percentiles, positive, rest, results_path, write_results
from population.contenders import GPUNET, ONE_AFTER_ANOTHER, Contender, Contenders, find_contenders
from population.figure import write_figure
from population.problem import Problem, Reference, Run
from threadpoolctl import threadpool_limits
from training.task import Task

from gpunet.errors import InputError

PACKAGES = ("numpy", "numba", "torch", "jax")
RUN_EPOCHS = 10  # of which a rate is told
EPOCHS, ROUNDS = 2, 5
ON_CPU, ON_DEVICE = (1, 2, 4, 8, 16, 20, 32, 64), (1, 4, 16, 20, 64, 256, 1024, 4096)
QUICK_EPOCHS, QUICK_ROUNDS, QUICK_NETWORKS = 1, 2, (1, 4)
LIMIT_SECONDS = 5  # of one run
PATIENCE, AT_LEAST = 20.0, 3  # seconds, after which a size gets no more rounds, unless it has had too few
GOAL_NETWORKS, GOAL = 20, 2.0  # a population of so many, against as many runs of PyTorch


class NotEqual(Exception):
    """A contender trains something else, so there is nothing to time."""


class Options(NamedTuple):
    """rounds: counted runs of each contender at each size, at most. limit: seconds that one run may take. threads: of
    the CPU; JAX takes as many as it likes."""

    rounds: int
    limit: int
    threads: int


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.figure is not None:
            return _redraw(parsed.figure)
        device = find_device(parsed.device)
        if isinstance(device, str):
            print(f"No GPU is used, because {device}: the CPU alone is timed, and nothing here was measured on a GPU.")
            device = None
        contenders = chosen(find_contenders(device), parsed.only)
        sizes = sorted(set(parsed.networks or (QUICK_NETWORKS if parsed.quick else ON_DEVICE if device else ON_CPU)))
        epochs = parsed.epochs or (QUICK_EPOCHS if parsed.quick else EPOCHS)
        problem = Problem.of(Task.load(parsed.data, "multiclass", "exp2"), epochs, max(sizes))
    except InputError as error:
        print(f"bench_population: {error}", file=sys.stderr)
        return 2
    options = Options(parsed.rounds or (QUICK_ROUNDS if parsed.quick else ROUNDS), parsed.limit, parsed.threads)
    whole = not (parsed.quick or parsed.only or parsed.networks or parsed.epochs)
    results = about(problem, device, contenders, options, Path(parsed.data).name) | {"complete": whole}
    for name, reason in contenders.not_run.items():
        print(f"not run: {name}: {reason}")
    status = 0
    try:
        measure(problem, contenders.found, sizes, options, results)
    except NotEqual as error:
        print(f"bench_population: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "the sizes measured so far are kept" if results["rows"] else "nothing was measured"
        print(f"\nbench_population: interrupted; {kept}", file=sys.stderr)
        results["complete"], status = False, 130
        if not results["rows"]:
            return status
    show_goal(results)
    path = parsed.out or default_path(results)
    write_results(path, results)
    write_figure(results, path.with_suffix(".png"))
    print(f"\nwritten: {path}\nwritten: {path.with_suffix('.png')}")
    return status


def chosen(contenders: Contenders, only: Sequence[str] | None) -> Contenders:
    """Those whose name holds one of the words. Raises `InputError` for a word that none of them holds, or none that can
    run here."""
    found, not_run = contenders
    for word in only or ():
        if not any(word in name for name in [*(contender.name for contender in found), *not_run]):
            names = ", ".join(contender.name for contender in found)
            raise InputError(f"--only {word}: no contender is called so; give part of one of these names: {names}")
    if only:
        found = [contender for contender in found if any(word in contender.name for word in only)]
        not_run = {name: reason for name, reason in not_run.items() if any(word in name for word in only)}
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in not_run.items())
        raise InputError(f"none of the contenders asked for can run here ({reasons})")
    return Contenders(found, not_run)


def about(
    problem: Problem, device: Device | None, contenders: Contenders, options: Options, data: str
) -> dict[str, Any]:
    """What a results file says besides its rows."""
    return {
        "what": f"networks a second, each trained for {RUN_EPOCHS} epochs",
        "machine": about_this_machine(options.threads, PACKAGES),
        "device": device.facts if device else None,
        "data": data,
        "sizes": problem.sizes,
        "batch_size": problem.experiment.batch_size,
        "training_rows": problem.order.shape[2],
        "epochs_timed": problem.epochs,
        "rounds": options.rounds,
        "not_run": contenders.not_run,
        "left_out": {},
        "rows": [],
    }


def measure(
    problem: Problem, contenders: Sequence[Contender], sizes: Sequence[int], options: Options, results: dict[str, Any]
) -> None:
    """Put a row for each size of population into results["rows"], one by one, so that an interrupted run leaves what it
    has; and into results["left_out"] from which size on a contender is missing, and why.

    Raises `NotEqual` if one of them trains something else.
    """
    reference = Reference(problem, sizes)
    expected: dict[str, float] = {}  # seconds a network, at the size before
    for networks in sizes:
        runs: dict[str, Run] = {}
        errors: dict[str, float] = {}
        for name, prepare in contenders:
            if name in results["left_out"]:
                continue
            if expected.get(name, 0.0) * networks > options.limit:
                reason = f"a run of more than {options.limit} seconds"
            else:
                try:
                    with _threads(options.threads):
                        runs[name] = prepare(problem, networks)
                        losses = runs[name]().losses
                except (InputError, MemoryError, RuntimeError) as error:
                    reason = str(error).strip().partition("\n")[0] or type(error).__name__
                else:
                    errors[name] = _checked(name, networks, reference.error(losses))
                    continue
            runs.pop(name, None)
            results["left_out"][name] = {"from": networks, "why": reason}
            print(f"left out: {name} from {networks} networks on: {reason}")
        if not runs:
            break
        seconds = _seconds(runs, options)
        row = result_of(networks, problem, seconds, errors)
        expected = {name: min(times) / networks for name, times in seconds.items()}
        results["rows"].append(row)
        show(row)


def _checked(name: str, networks: int, error: float) -> float:
    if not error <= 1:
        raise NotEqual(
            f"{name}, P = {networks}: a step's loss is {error:.3g} times as far from NumPy's in float64 as it may be; "
            "nothing more is timed"
        )
    return error


def _seconds(runs: dict[str, Run], options: Options) -> dict[str, list[float]]:
    """{contender: one figure a round}, the contenders in turn in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    with _threads(options.threads):
        for round_number in range(options.rounds):
            if round_number >= AT_LEAST and time.perf_counter() - began > PATIENCE:
                break
            for name, run in runs.items():
                rest()
                seconds[name].append(run().seconds)
    return seconds


def _threads(count: int) -> threadpool_limits:
    """For NumPy's BLAS and for PyTorch, whose own count holds for good."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    return threadpool_limits(count)


def result_of(
    networks: int, problem: Problem, seconds: dict[str, list[float]], errors: dict[str, float]
) -> dict[str, Any]:
    """A row of the results file. rate: networks a second. us_per_step: of all networks together. errors: in units of
    what is allowed."""
    work = networks * problem.epochs / RUN_EPOCHS
    return {
        "networks": networks,
        "rounds": len(next(iter(seconds.values()))),
        "rate": {name: percentiles([work / each for each in times]) for name, times in seconds.items()},
        "us_per_step": {
            name: percentiles([1e6 * each / problem.steps for each in times]) for name, times in seconds.items()
        },
        "errors": {name: round(error, 4) for name, error in errors.items()},
    }


def goal_reached(results: dict[str, Any]) -> dict[str, Any] | None:
    """How many times as fast gpunet trains `GOAL_NETWORKS` networks as PyTorch does one after another; None where one
    of the two was not timed. Medians."""
    rates = next((row["rate"] for row in results["rows"] if row["networks"] == GOAL_NETWORKS), {})
    ours = {name: rate["median"] for name, rate in rates.items() if name.startswith(GPUNET)}
    if not ours or ONE_AFTER_ANOTHER not in rates:
        return None
    best, theirs = max(ours, key=ours.get), rates[ONE_AFTER_ANOTHER]["median"]
    return {"contender": best, "rate": ours[best], "pytorch_rate": theirs, "ratio": round(ours[best] / theirs, 2)}


def show(row: dict[str, Any]) -> None:
    """A row on the console."""
    print(f"\nP = {row['networks']}")
    first = next(iter(row["rate"].values()))["median"]
    for name, rate in row["rate"].items():
        spread = f"({rate['p20']:.2f} to {rate['p80']:.2f})"
        print(
            f"  {name:<28}{rate['median']:>11.2f} networks/s {spread:<22}"
            f"{row['us_per_step'][name]['median']:>10.1f} us a step   {rate['median'] / first:>6.2f} x"
        )


def show_goal(results: dict[str, Any]) -> None:
    goal = goal_reached(results)
    if goal is not None:
        print(
            f"\n{GOAL_NETWORKS} networks: {goal['contender']} trains {goal['rate']:.2f} a second, PyTorch one after "
            f"another {goal['pytorch_rate']:.2f}: {goal['ratio']:.2f} times as fast (the goal: {GOAL:g} times)"
        )


def default_path(results: dict[str, Any]) -> Path:
    """benchmarks/results/population-<cpu or the device's name>.json, with "-part" where something was left out by
    request."""
    device = results["device"]
    return results_path("population", device and device["device"], complete=results["complete"])


def _redraw(path: Path) -> int:
    try:
        write_figure(json.loads(path.read_text()), path.with_suffix(".png"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--figure {path}: not a results file of this benchmark ({error})") from error
    print(f"written: {path.with_suffix('.png')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help='contenders, such as gpunet or "one after another"')
    parser.add_argument("--quick", action="store_true", help="1 and 4 networks, one epoch, two rounds")
    parser.add_argument("--networks", type=positive, nargs="+", metavar="P", help="sizes of populations")
    parser.add_argument("--epochs", type=positive, metavar="N", help=f"that are timed (default {EPOCHS})")
    parser.add_argument("--rounds", type=positive, metavar="N", help=f"of each size at most (default {ROUNDS})")
    parser.add_argument(
        "--limit", type=positive, default=LIMIT_SECONDS, metavar="S", help=f"of one run (default {LIMIT_SECONDS} s)"
    )
    parser.add_argument(
        "--threads", type=positive, default=os.cpu_count() or 1, metavar="N", help="of the CPU (default: its cores)"
    )
    parser.add_argument("--device", type=int, default=0, metavar="N", help="which GPU, counted from 0 (default 0)")
    parser.add_argument("--data", default="synthetic", help="data source (default: synthetic)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="results file (JSON; the figure goes beside it; default: benchmarks/results/population-<cpu or "
        "device>.json, with -part in its name where a part is measured)",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="measure nothing; draw a results file's figure anew"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
