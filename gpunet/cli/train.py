"""`gpunet train`: from options to a trained and judged network in a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpunet.augmentation import Augmentation
from gpunet.cli import INTERRUPTED
from gpunet.cli.course_options import LOGS, add_course_options, add_log_options, check_logs, course_changes, opened_logs
from gpunet.cli.folders import results_folder
from gpunet.cli.messages import fail, note
from gpunet.cli.parser import Parser, memory_size, number, whole_number
from gpunet.errors import InputError
from gpunet.experiments import BEYOND, EXPERIMENTS, Experiment, find_experiment

if TYPE_CHECKING:
    from rich.console import Console

    from gpunet.data import Dataset, Split
    from gpunet.network import MLP
    from gpunet.resume_folder import Order, UnfinishedRun
    from gpunet.runs import RunConfig, RunResult
    from gpunet.seed_runs import SeedsResult

DEFAULT_EXPERIMENT = {"multiclass": "exp2", "binary": "base"}
RUNS = Path("runs")  # where runs go that were given no folder
CHANGEABLE = (
    "data",
    "limit",
    "classes",
    "backend",
    "device",
    "epochs",
    "batch_size",
    "learning_rate",
    "hidden",
    "activation",
    "dropout",
    "weight_decay",
    "seed",
)
BESIDE_RESUME = ("resume", "checkpoint_every", "max_memory", "quiet", "prog", *LOGS)  # all else is as the run was begun


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Train a network on images of digits, judge it on a test set, and keep everything in a folder.",
        epilog=_experiment_table(),
    )
    what = parser.add_argument_group("what to train, and on what")
    what.add_argument("--task", default="multiclass", help="multiclass (default) or binary")
    what.add_argument("--exp", help="experiment, see below (default: exp2; base for binary)")
    what.add_argument(
        "--data",
        metavar="SOURCE",
        help="signs (the reports' file, fetched once), synthetic (drawn hands), mnist5k (MNIST digits), a .npz file, "
        "a folder with one sub-folder of images a class, a folder with images.npy and labels.npy, which may be larger "
        "than memory, or auto (default): signs, or else synthetic",
    )
    what.add_argument(
        "--max-memory",
        type=memory_size,
        metavar="SIZE",
        help="what the images and the work on them may take of memory, such as 512MB: images.npy is read a batch at a "
        "time where it is larger, with the same result (default: half of what is free)",
    )
    what.add_argument("--limit", type=whole_number, metavar="N", help="take only N images, the classes balanced")
    what.add_argument(
        "--classes", nargs=2, metavar=("A", "B"), help="the two classes of a binary task (default: 4 9); A becomes 0"
    )
    what.add_argument(
        "--backend",
        help="numpy (the CPU), jit (the CPU, with loops compiled by Numba: faster, once they are compiled), cuda (a "
        "GPU), sim (the CUDA kernels in a simulator, slowly), or auto (default): cuda where there is a GPU, else numpy",
    )
    what.add_argument("--device", type=whole_number, metavar="N", help="which GPU, counted from 0 (default: 0)")
    what.add_argument("--seed", type=whole_number, metavar="N", help="of weights, split and shuffling (default: 0)")
    what.add_argument(
        "--seeds",
        type=whole_number,
        metavar="N",
        help="train N networks, whose seeds are --seed and those that follow, each as it would be alone; tell mean, "
        "standard deviation and range of every figure (default: 1)",
    )

    how = parser.add_argument_group("how to train it (default: as in the experiment)")
    how.add_argument("--epochs", type=whole_number, metavar="N", help="passes over the training images")
    how.add_argument("--batch-size", type=whole_number, metavar="N", help="images a step")
    how.add_argument("--learning-rate", "--lr", type=number, metavar="RATE", help="of the optimizer")
    how.add_argument(
        "--hidden",
        type=whole_number,
        nargs="*",
        metavar="N",
        help="sizes of the hidden layers; none after it: no layer",
    )
    how.add_argument("--activation", metavar="NAME", help="of the hidden layers: relu, sigmoid, tanh or identity")
    how.add_argument("--dropout", type=number, metavar="RATE", help="share of hidden activations dropped")
    how.add_argument("--weight-decay", type=number, metavar="RATE", help="L2 penalty, as in PyTorch")
    augment = how.add_mutually_exclusive_group()
    augment.add_argument(
        "--augment",
        type=number,
        nargs=3,
        metavar=("DEGREES", "PIXELS", "SCALE"),
        help="in each epoch turn, shift and resize every training image anew, by no more than that: 10 2 0.1 for 10 "
        "degrees, 2 pixels and a tenth",
    )
    augment.add_argument(
        "--no-augment",
        dest="augment",
        action="store_const",
        const=(0, 0, 0),
        help="train on the images as they are, where the experiment would change them",
    )

    add_course_options(how)

    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FOLDER", help="new or empty folder for the results (default: runs/<task>-<exp>-<time>)"
    )
    output.add_argument(
        "--keep",
        type=whole_number,
        metavar="SEED",
        help="with --seeds: whose network to save (default: that of the best validation accuracy, or without "
        "validation of the lowest training loss)",
    )
    output.add_argument(
        "--checkpoint-every",
        type=whole_number,
        metavar="N",
        help="keep the run every N epochs, so that it can be resumed whatever becomes of it; 0: never (default: about "
        "once a minute)",
    )
    output.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with the run in this folder, which was killed, interrupted or lost its device, from where it was "
        "last kept; it ends as if nothing had happened",
    )
    add_log_options(output)
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from gpunet.reporting.artifacts import default_run_folder
    from gpunet.resume_folder import begun, taken_up

    if arguments.checkpoint_every is not None and arguments.checkpoint_every < 0:
        raise InputError(f"--checkpoint-every must be a whole number of epochs, not {arguments.checkpoint_every}")
    console = Console(markup=False, highlight=False, emoji=False, quiet=arguments.quiet)
    check_logs(arguments)
    logs = partial(opened_logs, arguments)
    if arguments.resume is not None:
        _refuse_beside_resume(arguments)
        changes = {"checkpoint_every": arguments.checkpoint_every, "max_memory": arguments.max_memory}
        with taken_up(Path(os.path.expanduser(arguments.resume)), **changes) as unfinished:
            return _carry_out(unfinished, arguments.prog, console, logs)
    order = _order(arguments)
    with (
        results_folder(arguments.out, RUNS, partial(default_run_folder, order.config)) as folder,
        begun(folder, order) as unfinished,
    ):
        return _carry_out(unfinished, arguments.prog, console, logs)


def _order(arguments: argparse.Namespace) -> Order:
    """What is asked for."""
    from gpunet.resume_folder import Order
    from gpunet.runs import RunConfig

    exp = DEFAULT_EXPERIMENT.get(arguments.task, "") if arguments.exp is None else arguments.exp
    changes = {name: _as_field(getattr(arguments, name)) for name in CHANGEABLE}
    augmentation = None if arguments.augment is None else Augmentation(*arguments.augment)
    changes |= course_changes(arguments, find_experiment(arguments.task, exp).schedule)
    config = RunConfig.from_experiment(arguments.task, exp, **changes, augmentation=augmentation)
    one_seed = arguments.seeds in (None, 1)
    if arguments.keep is not None and one_seed:
        raise InputError("--keep says which of many networks to save: give their number with --seeds")
    if arguments.max_memory is not None and not one_seed:
        raise InputError("--max-memory is for a run of one seed: leave out --seeds, or --max-memory")
    seeds = None if one_seed else arguments.seeds
    return Order(config, seeds, arguments.keep, arguments.max_memory, arguments.checkpoint_every)


def _refuse_beside_resume(arguments: argparse.Namespace) -> None:
    usual = make_parser(arguments.prog)
    for name, value in vars(arguments).items():
        if name not in BESIDE_RESUME and value != usual.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--resume goes on with a run as it was begun: leave out {option}, or begin another run")


def _carry_out(unfinished: UnfinishedRun, prog: str, console: Console, logs: Callable[[Path], Any]) -> int:
    """Train from where the run is, keep what comes of it in its folder, and return the exit status. logs: from the
    folder to a context manager that gives the `on_epoch` of the logs, or None."""
    order, folder = unfinished.order, unfinished.folder
    kind = _one_seed(order.max_memory) if order.seeds is None else _many_seeds(order.seeds, order.keep)
    try:
        with logs(folder) as log:
            result = _train(unfinished, kind, console, log)
    except Exception as error:  # noqa: BLE001 (what a driver raises has many names)
        return _fail_in_training(error, unfinished, prog)
    if result.history.interrupted:
        text = "Interrupted: judging and keeping what was learnt (Ctrl-C again gives it up)."
        _say(console, text, style="bold yellow")
    try:
        kind.write(result, folder)
    except KeyboardInterrupt:
        text = f"interrupted while the results were written: they are incomplete in {folder}, and {unfinished.advice}"
        return fail(prog, text, INTERRUPTED)
    except InputError as error:
        if not unfinished.can_go_on:
            raise
        raise InputError(f"{error}; or mend that, and {unfinished.advice}") from error
    unfinished.is_finished = not (result.history.interrupted and unfinished.can_go_on)
    kind.summarize(console, result, folder)
    if not unfinished.is_finished:
        _say(console, f"To finish it: {unfinished.advice}.")
    failures = 0 if unfinished.checkpoints is None else unfinished.checkpoints.failures
    if failures:
        _say(console, f"{failures} of its checkpoints could not be written; its results are complete all the same.")
    return INTERRUPTED if result.history.interrupted else 0


def _fail_in_training(error: Exception, unfinished: UnfinishedRun, prog: str) -> int:
    """One sentence if it was the device that failed; else the error goes on, after a word on how the run can."""
    from gpunet.ops.backend import device_failure

    failure = device_failure(error)
    if failure is not None:
        return fail(prog, f"the device failed in the middle of the run ({failure}): {unfinished.advice}", 1)
    if unfinished.can_go_on and not isinstance(error, InputError):
        note(prog, unfinished.advice)
    raise error


class _Kind(NamedTuple):
    """What differs between a run with one seed and one with many: (console) -> its context manager of progress, and
    the functions that run it, write its files and sum it up."""

    progress: Callable[..., Any]
    run: Callable[..., Any]
    write: Callable[..., Any]
    summarize: Callable[..., None]


def _one_seed(max_memory: int | None) -> _Kind:
    from gpunet.reporting.artifacts import write_artifacts
    from gpunet.reporting.progress import progress
    from gpunet.reporting.summary import print_summary
    from gpunet.runs import run as run_experiment

    return _Kind(progress, partial(run_experiment, max_memory=max_memory), write_artifacts, print_summary)


def _many_seeds(count: int, keep: int | None) -> _Kind:
    from gpunet.reporting.progress import seeds_progress
    from gpunet.reporting.seeds_artifacts import write_seeds_artifacts
    from gpunet.reporting.seeds_summary import print_seeds_summary
    from gpunet.seed_runs import run_seeds

    run_all = partial(run_seeds, count=count, keep=keep)
    return _Kind(partial(seeds_progress, count), run_all, write_seeds_artifacts, print_seeds_summary)


def _train(
    unfinished: UnfinishedRun, kind: _Kind, console: Console, log: Callable[..., Any] | None
) -> RunResult | SeedsResult:
    """Run it; unless the console is quiet, show what begins and how it goes. log: called as epochs end, besides."""
    from rich.text import Text

    from gpunet.logs import in_turn
    from gpunet.reporting.facts import clean

    config, checkpoints = unfinished.order.config, unfinished.checkpoints
    if console.quiet:
        return kind.run(config, checkpoints=checkpoints, on_epoch=log)
    if checkpoints is not None:
        checkpoints.on_resume = lambda epoch: _say(console, f"goes on after epoch {epoch} of {config.epochs}")
    with ExitStack() as stack:
        # As Text, since status would take brackets in a path for markup, whatever the console was told.
        loading = stack.enter_context(console.status(Text(f"Loading the data set {clean(config.data)} ...")))
        show = None

        def on_start(dataset: Dataset, split: Split, network: MLP, backend: str) -> None:
            nonlocal show
            loading.stop()
            _announce(config, dataset, split, network, backend, console)
            show = stack.enter_context(kind.progress(config.epochs, console))

        run = partial(kind.run, config, checkpoints=checkpoints)
        return run(on_start=on_start, on_epoch=in_turn(lambda *report: show(*report), log))


def _announce(config: RunConfig, dataset: Dataset, split: Split, network: MLP, backend: str, console: Console) -> None:
    """Say what is about to be trained, and on what: loudly if on drawn images."""
    from gpunet.memory_limit import size_text
    from gpunet.reporting.facts import clean, is_drawn

    layers = "-".join(map(str, network.sizes)) + (f" {config.activation}" if config.hidden else "")
    optimizer = f"{config.optimizer} {config.learning_rate:g}, batch {config.batch_size}"
    _say(console, f"{config.task} {config.exp}: {layers}, {network.layout.count:,} parameters; {optimizer}")
    _say(console, f"on {backend}")
    names = dataset.class_names
    classes = f"{clean(names[0])} and {clean(names[1])}" if len(names) == 2 else f"{len(names)} classes"
    parts = {"to train": split.train, "to validate": split.validation, "to test": split.test}
    _say(console, f"data: {clean(dataset.source)}, {sum(map(len, parts.values())):,} images of {classes}")
    _say(console, "      " + ", ".join(f"{len(rows):,} {purpose}" for purpose, rows in parts.items() if len(rows)))
    if dataset.is_streamed:
        _say(console, f"      read from their file a batch at a time: {size_text(dataset.images.nbytes)}")
    if config.augmentation is not None:
        _say(console, f"      changed anew in each epoch: {config.augmentation}")
    if config.schedule:
        _say(console, f"learning rate: {', '.join(map(str, config.schedule))}")
    if config.clip_norm is not None:
        _say(console, f"gradients: no longer than {config.clip_norm:g}")
    if config.early_stopping is not None:
        _say(console, f"stops early: {config.early_stopping}")
    if is_drawn(dataset):
        _say(console, f"NOTE: {clean(dataset.note)}", style="bold yellow")


def _say(console: Console, text: str, style: str | None = None) -> None:
    # Lines are broken for a person's terminal only, never in a file or a pipe.
    console.print(text, style=style, soft_wrap=not console.is_terminal)


def _as_field(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _experiment_table() -> str:
    rows = [("task", "exp", "layers", "optimizer", "batch", "epochs", "reported accuracy")]
    rows += [_experiment_row(experiment) for experiment in EXPERIMENTS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    names = [f"{experiment.task} {experiment.name}" for experiment in BEYOND]
    purposes = [f"{name:{max(map(len, names))}}  {each.purpose}" for name, each in zip(names, BEYOND, strict=True)]
    return "\n  ".join(["experiments:", *lines]) + "\n\n" + "\n  ".join(["beyond the reports:", *purposes])


def _experiment_row(experiment: Experiment) -> tuple[str, ...]:
    layers = "-".join(map(str, experiment.sizes))
    return (
        experiment.task,
        experiment.name,
        f"{layers} {experiment.activation}" if experiment.hidden else layers,
        f"{experiment.optimizer} {experiment.learning_rate:g}",
        str(experiment.batch_size),
        str(experiment.epochs),
        f"{experiment.reported.test_accuracy:.2f}" if experiment.is_reported else "-",
    )
