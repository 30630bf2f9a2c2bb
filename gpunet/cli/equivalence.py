"""`gpunet equivalence`: whether a backend trains as NumPy in float64 does, operation by operation and step by step."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.cli.parser import Parser, whole_number
from gpunet.errors import InputError
from gpunet.experiments import find_experiment

if TYPE_CHECKING:
    from rich.console import Console

    from gpunet.data import Dataset
    from gpunet.equivalence.plan import Plan
    from gpunet.runs import RunConfig

BACKENDS = ("cuda", "sim", "numpy", "jit")
DEFAULT_EXPERIMENT = {"multiclass": "exp2", "binary": "base"}
RESULTS = Path("runs")

# What the simulator can train while somebody waits: it takes milliseconds for each thread of a kernel. Two hidden
# layers, so that every operation has its part.
SIMULATED_HIDDEN = (16, 12)
SIMULATED_BATCH = 16
SIMULATED_STEPS = 4


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Train an experiment on a backend and hold every operation and every step against NumPy in "
        "float64. Exit status 0: they agree. 1: they do not.",
    )
    parser.add_argument(
        "--backend", help="cuda, sim (the kernels, simulated), numpy (float32) or jit; default: cuda, else sim"
    )
    parser.add_argument("--device", type=whole_number, default=0, metavar="N", help="which GPU, counted from 0")
    parser.add_argument("--task", default="multiclass", help="multiclass (default) or binary")
    parser.add_argument("--exp", help="experiment, as for gpunet train (default: exp2; base for binary)")
    parser.add_argument(
        "--hidden",
        type=whole_number,
        nargs="*",
        metavar="N",
        help="sizes of the hidden layers (default: the experiment's; at most 16, 12 in the simulator)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number,
        metavar="N",
        help="images a step (default: the experiment's; at most 16 in the simulator)",
    )
    parser.add_argument(
        "--steps",
        type=whole_number,
        metavar="N",
        help="training steps, rounded up to whole epochs (default: the experiment's, at most 250; "
        f"{SIMULATED_STEPS} in the simulator)",
    )
    parser.add_argument("--seed", type=whole_number, metavar="N", help="of weights, split and shuffling")
    parser.add_argument("--data", metavar="SOURCE", help="as for gpunet train (default: auto)")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="take only N images, the classes balanced")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="for equivalence.json and equivalence.png, which are replaced there (default: runs/equivalence-BACKEND)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from gpunet.equivalence.comparison import compare
    from gpunet.equivalence.plan import make_plan
    from gpunet.ops.backend import make_backend
    from gpunet.reporting.artifacts import ensure_writable
    from gpunet.reporting.equivalence import document, print_comparison, write_comparison
    from gpunet.runs import make_network, prepare

    config, steps = _configuration(arguments)
    backend = make_backend(config.backend, config.device)
    folder = Path(os.path.expanduser(arguments.out or RESULTS / f"equivalence-{config.backend}"))
    console = Console(markup=False, highlight=False, emoji=False)
    dataset, split = prepare(config)
    plan = make_plan(split, config.batch_size, config.epochs, steps)
    config = replace(config, epochs=plan.epochs)
    ensure_writable(folder)
    _announce(console, config, dataset, plan, backend.note)
    with _observed(console, plan.steps(config.batch_size), config.backend) as on_step:
        comparison = compare(
            lambda ops: make_network(config, dataset, ops),
            backend.ops,
            dataset.images,
            dataset.labels,
            plan.train_rows,
            plan.validation_rows,
            optimizer=config.make_optimizer(),
            epochs=plan.epochs,
            batch_size=config.batch_size,
            shuffle=config.shuffle,
            augmentation=config.augmentation,
            repeat=config.backend != "sim",
            on_step=on_step,
        )
    results = document(comparison, config, dataset, plan, backend.ops)
    write_comparison(results, folder)
    print_comparison(console, results, comparison.disagreements(), folder)
    return 0 if comparison.agrees else 1


def _configuration(arguments: argparse.Namespace) -> tuple[RunConfig, int | None]:
    """What to train, and how many steps; None: as many as the experiment has."""
    from gpunet.ops.backend import why_no_cuda
    from gpunet.runs import RunConfig

    backend = arguments.backend or ("cuda" if why_no_cuda(arguments.device) is None else "sim")
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} cannot be compared with NumPy: use one of {', '.join(BACKENDS)}")
    if arguments.steps is not None and arguments.steps < 1:
        raise InputError(f"steps must be a positive whole number, not {arguments.steps}")
    exp = DEFAULT_EXPERIMENT.get(arguments.task, "") if arguments.exp is None else arguments.exp
    experiment = find_experiment(arguments.task, exp)
    hidden, batch_size, steps = arguments.hidden, arguments.batch_size, arguments.steps
    if backend == "sim":
        if hidden is None and max(experiment.hidden, default=0) > max(SIMULATED_HIDDEN):
            hidden = SIMULATED_HIDDEN
        batch_size = batch_size or min(experiment.batch_size, SIMULATED_BATCH)
        steps = steps or SIMULATED_STEPS
    config = RunConfig.from_experiment(
        arguments.task,
        exp,
        backend=backend,
        device=arguments.device,
        hidden=None if hidden is None else tuple(hidden),
        batch_size=batch_size,
        seed=arguments.seed,
        data=arguments.data,
        limit=arguments.limit,
    )
    return config, steps


def _announce(console: Console, config: RunConfig, dataset: Dataset, plan: Plan, note: str) -> None:
    from gpunet.reporting.facts import data_name, run_name, setting, usual_setting

    layers = " hidden " + setting(config.hidden) if config.hidden else " no hidden layer"
    optimizer = f"{config.optimizer} {config.learning_rate:g}, batch {config.batch_size}, seed {config.seed}"
    steps = plan.steps(config.batch_size)
    lines = [
        f"{run_name(config)}:{layers}; {optimizer}",
        f"on {note}",
        f"data: {data_name(dataset)}; {steps:,} steps on {len(plan.train_rows):,} images, epochs: {plan.epochs}",
    ]
    departures = [
        f"{name.replace('_', ' ')} {setting(getattr(config, name))} instead of {setting(usual_setting(config, name))}"
        for name in ("hidden", "batch_size")
        if name in config.changed
    ]
    if departures:
        lines.append(f"unlike the experiment: {'; '.join(departures)}")
    for line in lines:
        console.print(line, soft_wrap=not console.is_terminal)


@contextmanager
def _observed(console: Console, steps: int, backend: str) -> Iterator[Callable[[Any], None] | None]:
    """What is told of each step: it shows how far the run has come."""
    status = console.status("Training in NumPy ...") if console.is_terminal else None
    with warnings.catch_warnings(), ExitStack() as stack:
        if backend == "sim":
            # uint32 arithmetic, which the simulator leaves to NumPy
            warnings.filterwarnings("ignore", message="overflow encountered in scalar", category=RuntimeWarning)
        if status is None:
            yield None
        else:
            stack.enter_context(status)
            yield lambda step: status.update(f"Step {step.step} of {steps} ...")
