"""Training the reports' networks: gpunet beside what a user would pick instead, in microseconds a step.

    python benchmarks/bench_train.py [--quick] [--only WORD ...] [--out benchmarks/results/train-cpu.json]

Contenders (training/contenders/): gpunet on NumPy, with its compiled loops (jit), and on a device with and without CUDA
graphs; PyTorch eager, with its fused optimizers, through torch.compile, and on a device with a whole step as one CUDA
graph; JAX with an epoch as one compiled scan; scikit-learn; TrainKernel. Who cannot run is listed with the reason.

Everybody is given the same rows in memory, trains the same network in float32 with the same optimizer and batch size,
and shuffles as the experiment has it. Before anything is timed, all train from the same weights over the same batches,
and their losses must be those of float64 within what float32 may be off by (training/agreement.py); if one's are not,
nothing is written and the exit status is 1.

Each contender has a process of its own. Three times are taken:

    first process     exp2 as reported, ten epochs, with all that is compiled on the way; nothing is in any cache yet
    second process    the same again, with the caches that the first one has left, where its library keeps any
    warm              each experiment, in rounds: everybody trains once, one after the other, after a rest and an epoch
                      to warm up, so that a drift of the machine's speed hits all alike; medians over the rounds, with
                      the 20th and 80th percentile

Imports are in none of them; they stand apart. On a device, warm is the difference between a long run and a short one,
so that what a run pays for once cancels out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from measuring import about_this_machine, percentiles, positive, rest, results_path, version_of, write_results
from training.agreement import COMPARED_STEPS, EPS_A_STEP, Agreement
from training.contenders import CONTENDERS, Contender
from training.contenders.problem import Problem
from training.figure import write_figure
from training.process import ContenderFailed, Entrant, TrainingProcess
from training.task import Task

from gpunet.errors import InputError
from gpunet.experiments import REPORTED, Experiment
from gpunet.ops.backend import device_facts, why_no_cuda

PACKAGES = ("numpy", "numba", "torch", "jax", "scikit-learn", "cupy", "numba-cuda", "trainkernel")
COLD = ("multiclass", "exp2")  # the experiment of the first and second process
QUICK_ROUNDS = 3
CPU_STEPS = 2000  # of a timed run at most, in whole epochs
DEVICE_EPOCHS, DEVICE_STEPS = 2, 5000  # the short run, and how much longer the long one is


class NotEqual(Exception):
    """A contender trains something else, so there is nothing to time."""


class NotRun(Exception):
    """A contender cannot train here."""


class Running(NamedTuple):
    """An entrant and its process."""

    entrant: Entrant
    process: TrainingProcess


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.figure:
            return _redraw(options.figure)
        experiments, contenders = chosen(options.only, quick=options.quick)
        problems = [Problem.of(Task.load(options.data, each.task, each.name)) for each in experiments]
    except InputError as error:
        print(f"bench_train: {error}", file=sys.stderr)
        return 2
    threads = sorted(set(options.threads or (1, os.cpu_count() or 1)))
    no_device = why_no_cuda(options.device)
    results: dict[str, Any] = {
        "what": "training, microseconds a step",
        "complete": (len(experiments), len(contenders)) == (len(REPORTED), len(CONTENDERS)),
        "machine": about_this_machine(threads, PACKAGES),
        "device": device_facts(options.device) if no_device is None else None,
        "rounds": options.rounds or (QUICK_ROUNDS if options.quick else 5),
        "data": Path(options.data).name,
        "compared": {"steps": COMPARED_STEPS, "eps_a_step": EPS_A_STEP},
        "not_run": {},
        "cold_experiment": " ".join(COLD),
        "cold": {},
        "experiments": [],
    }
    status = 0
    try:
        with tempfile.TemporaryDirectory() as caches, ExitStack() as stack:
            cold = None if options.quick else next((each for each in problems if is_cold(each)), None)
            taking_part = entrants(contenders, threads, no_device, options.device, results["not_run"])
            running = []
            for number, entrant in enumerate(taking_part):
                try:
                    running.append(enter(entrant, Path(caches, str(number)), cold, options.data, stack, results))
                except (NotRun, ContenderFailed) as error:
                    leave_out(entrant, error, results["not_run"])
            show_not_run(results["not_run"])
            for problem in problems:
                results["experiments"].append(measure(problem, running, results["rounds"], options.data))
                show(results["experiments"][-1])
            show_cold(results["cold"])
    except (NotEqual, ContenderFailed) as error:
        print(f"bench_train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "the experiments measured so far are kept" if results["experiments"] else "nothing was measured"
        print(f"\nbench_train: interrupted; {kept}", file=sys.stderr)
        results["complete"], status = False, 130
    if not results["experiments"]:
        return status
    device = results["device"]
    path = options.out or results_path("train", device and device["device"], complete=results["complete"])
    write_results(path, results)
    write_figure(results, path.with_suffix(".png"))
    print(f"\nwritten: {path}\nwritten: {path.with_suffix('.png')}")
    return status


# Who takes part


def chosen(only: Sequence[str] | None, *, quick: bool) -> tuple[list[Experiment], list[Contender]]:
    """Experiments and contenders whose names hold one of the words; all, where no word is for them. quick: exp2 alone,
    and nothing that takes long to compile.

    Raises `InputError` for a word that no name holds.
    """
    experiments = [each for each in REPORTED if not quick or (each.task, each.name) == COLD]
    contenders = [each for each in CONTENDERS if not quick or each.variant != "compiled"]
    chosen_experiments = [each for each in experiments if _holds(f"{each.task} {each.name}", only)]
    chosen_contenders = [each for each in contenders if _holds(each.name, only)]
    for word in only or ():
        if not (_any_holds(word, experiments, contenders)):
            names = ", ".join([*(each.name for each in experiments), *(each.name for each in contenders)])
            raise InputError(f"--only {word}: no experiment and no contender is called so; there are {names}")
    return chosen_experiments or experiments, chosen_contenders or contenders


def entrants(
    contenders: Sequence[Contender],
    threads: Sequence[int],
    no_device: str | None,
    device: int,
    not_run: dict[str, str],
) -> list[Entrant]:
    """The contenders that are installed, with their numbers of threads; the reasons of the others go into `not_run`."""
    found = []
    for contender in contenders:
        if contender.on_device and no_device is not None:
            not_run[contender.name] = f"no GPU is used, because {no_device}"
        elif version_of(contender.package) == "not installed":
            not_run[contender.name] = f"{contender.package} is not installed"
        else:
            counts = threads if contender.each_thread_count else threads[-1:]
            found += [Entrant(contender, count, device if contender.on_device else None) for count in counts]
    return found


def enter(
    entrant: Entrant, caches: Path, cold: Problem | None, data: str, stack: ExitStack, results: dict[str, Any]
) -> Running:
    """An entrant, ready to train, in a process that ends with the stack. cold: the experiment of which the times of the
    first and second process go into the results; without one, there is one process.

    Raises `NotRun`, `ContenderFailed` or `NotEqual`.
    """
    runs = []
    if cold is not None:
        with TrainingProcess(entrant, caches) as process:
            runs.append(first_run(entrant, process, cold, data))
    process = stack.enter_context(TrainingProcess(entrant, caches))
    if cold is None:
        start(process)
    else:
        runs.append(first_run(entrant, process, cold, data))
        results["cold"][entrant.name] = dict(zip(("first", "second"), runs, strict=True))
    return Running(entrant, process)


def start(process: TrainingProcess) -> float:
    """Seconds of the imports. Raises `NotRun` where the contender cannot train here."""
    reply = process.ask("start")
    if reply["why_not"] is not None:
        raise NotRun(reply["why_not"])
    return reply["seconds"]


def leave_out(entrant: Entrant, error: Exception, not_run: dict[str, str]) -> None:
    """Note why an entrant does not run. A gpunet that fails is an error of the benchmark's own."""
    if isinstance(error, ContenderFailed) and entrant.contender.is_gpunet:
        raise error
    not_run[entrant.name] = error.reason if isinstance(error, ContenderFailed) else str(error)


# What must agree, and what is timed


def compare(entrant: Entrant, problem: Problem, agreement: Agreement, losses: list[float], epochs: int) -> float:
    """How far the losses are off, in units of what is allowed. Raises `NotEqual` if that is more than one."""
    error = agreement.error(entrant.contender, losses, epochs)
    if not error <= 1:
        raise NotEqual(
            f"{title(problem)}: {entrant.name} trains something else, its losses are off by {error:.3g} times what "
            "float32 may be; nothing of it is timed"
        )
    return error


def first_run(entrant: Entrant, process: TrainingProcess, problem: Problem, data: str) -> dict[str, float]:
    """The first run in a process, as reported: microseconds a step, with all that is prepared for it, and seconds."""
    imports = start(process)
    prepared = open_experiment(process, problem, data)
    epochs = problem.experiment.epochs
    run = process.ask("train", epochs=epochs, given_order=True)
    compare(entrant, problem, Agreement(problem), run["losses"], epochs)
    seconds = prepared + run["seconds"]
    return {
        "us_per_step": round(1e6 * seconds / (epochs * problem.steps), 1),
        "seconds": round(seconds, 3),
        "import_seconds": round(imports, 3),
    }


def measure(problem: Problem, running: Sequence[Running], rounds: int, data: str) -> dict[str, Any]:
    """An experiment's entry in the results file. Raises `NotEqual`, and `ContenderFailed` of gpunet."""
    agreement, errors, not_run = Agreement(problem), {}, {}
    ready = []
    for each in running:
        try:
            open_experiment(each.process, problem, data)
            run = each.process.ask("train", epochs=agreement.epochs, given_order=True)
        except ContenderFailed as error:
            leave_out(each.entrant, error, not_run)
            continue
        errors[each.entrant.name] = compare(each.entrant, problem, agreement, run["losses"], agreement.epochs)
        ready.append(each)
    times: dict[str, list[float]] = {each.entrant.name: [] for each in ready}
    for counted in [False] + [True] * rounds:  # the first round warms up
        for each in ready:
            us = us_per_step(each, problem)
            if counted:
                times[each.entrant.name].append(us)
    return {
        "experiment": title(problem),
        "sizes": problem.sizes,
        "batch_size": problem.experiment.batch_size,
        "rows": problem.rows,
        "loss_errors": {name: round(error, 4) for name, error in errors.items()},
        "us_per_step": {name: percentiles(values) for name, values in times.items()},
        "times_gpunet": {
            ours: {name: _ratio(values, times[ours]) for name, values in times.items() if not name.startswith("gpunet")}
            for ours in times
            if ours.startswith("gpunet")
        },
        "not_run": not_run,
    }


def us_per_step(running: Running, problem: Problem) -> float:
    """Microseconds a step of a run on the CPU, of a long run without a short one on a device; an epoch warms up."""
    few, many = 0, min(problem.experiment.epochs, math.ceil(CPU_STEPS / problem.steps))
    if running.entrant.contender.on_device:
        few, many = DEVICE_EPOCHS, DEVICE_EPOCHS + math.ceil(DEVICE_STEPS / problem.steps)
    seconds = {0: 0.0}
    rest()
    running.process.ask("train", epochs=1)
    for epochs in filter(None, (few, many)):
        run = running.process.ask("train", epochs=epochs)
        if not all(map(math.isfinite, run["losses"])):
            raise NotEqual(f"{title(problem)}: {running.entrant.name} loses its way; a loss is no finite number")
        seconds[epochs] = run["seconds"]
    return 1e6 * (seconds[many] - seconds[few]) / ((many - few) * problem.steps)


def open_experiment(process: TrainingProcess, problem: Problem, data: str) -> float:
    """Seconds that the contender took to prepare."""
    return process.ask("open", data=data, task=problem.experiment.task, name=problem.experiment.name)["seconds"]


def title(problem: Problem) -> str:
    return f"{problem.experiment.task} {problem.experiment.name}"


def is_cold(problem: Problem) -> bool:
    return (problem.experiment.task, problem.experiment.name) == COLD


def _ratio(times: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long they take, paired round by round."""
    return round(statistics.median(time / our for time, our in zip(times, ours, strict=True)), 2)


# What is said on the console


def show(entry: dict[str, Any]) -> None:
    print(f"\n{entry['experiment']}: {'-'.join(map(str, entry['sizes']))}, batch {entry['batch_size']}")
    for name, figures in sorted(entry["us_per_step"].items(), key=lambda item: item[1]["median"]):
        print(
            f"  {name:<34} {figures['median']:>9.1f} us a step   ({figures['p20']:.1f} to {figures['p80']:.1f})"
            f"   losses off by {entry['loss_errors'][name]:.3f} of what is allowed"
        )
    medians = {name: figures["median"] for name, figures in entry["us_per_step"].items()}
    peer = min(filter(lambda name: name.startswith("PyTorch"), medians), key=medians.get, default=None)
    for ours, ratios in entry["times_gpunet"].items() if peer else ():
        print(f"  {ours} is {ratios[peer]:.2f} times as fast as {peer}")
    show_not_run(entry["not_run"])


def show_cold(cold: dict[str, Any]) -> None:
    if cold:
        print(f"\n{' '.join(COLD)}, the first run of a process, microseconds a step (imports: seconds)")
    for name, runs in cold.items():
        first, second = runs["first"], runs["second"]
        print(
            f"  {name:<34} first process {first['us_per_step']:>9.0f}   second {second['us_per_step']:>9.0f}"
            f"   imports {second['import_seconds']:.1f}"
        )


def show_not_run(not_run: dict[str, str]) -> None:
    for reason in dict.fromkeys(not_run.values()):
        print(f"not run: {'; '.join(name for name, why in not_run.items() if why == reason)}: {reason}")


# The command line


def _holds(name: str, words: Sequence[str] | None) -> bool:
    return not words or any(word in name for word in words)


def _any_holds(word: str, experiments: Sequence[Experiment], contenders: Sequence[Contender]) -> bool:
    names = [*(f"{each.task} {each.name}" for each in experiments), *(each.name for each in contenders)]
    return any(word in name for name in names)


def _redraw(path: Path) -> int:
    try:
        write_figure(json.loads(path.read_text()), path.with_suffix(".png"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--figure {path}: not a results file of this benchmark ({error})") from error
    print(f"written: {path.with_suffix('.png')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help='experiments, contenders or both, such as exp2 "gpunet (jit)" JAX'
    )
    parser.add_argument(
        "--quick", action="store_true", help="exp2 alone, warm alone, three rounds, without torch.compile"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="counted runs of every contender (default 5)")
    parser.add_argument(
        "--threads", type=positive, nargs="+", metavar="N", help="thread counts (default: 1, and all cores)"
    )
    parser.add_argument(
        "--data", default="synthetic", help="data source (default: synthetic; the time hardly depends on it)"
    )
    parser.add_argument("--device", type=int, default=0, metavar="N", help="which GPU, counted from 0 (default 0)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="results file (JSON; the figure goes beside it; default: benchmarks/results/train-<cpu or device>.json, "
        "with -part in its name after --quick or --only)",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="measure nothing; draw a results file's figure anew"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
