"""`gpunet train`: from options to a trained and judged network in a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.cli import INTERRUPTED
from gpunet.cli.messages import fail
from gpunet.cli.parser import Parser, number, whole_number
from gpunet.errors import InputError
from gpunet.experiments import EXPERIMENTS, Experiment

if TYPE_CHECKING:
    from rich.console import Console

    from gpunet.data import Dataset, Split
    from gpunet.network import MLP
    from gpunet.runs import RunConfig, RunResult

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


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Train a network on images of digits, judge it on a test set, and keep everything in a folder.",
        epilog=_experiment_table(),
    )
    what = parser.add_argument_group("what to train, and on what")
    what.add_argument("--task", default="multiclass", help="multiclass (default) or binary")
    what.add_argument("--exp", help="experiment of the reports, see below (default: exp2; base for binary)")
    what.add_argument(
        "--data",
        metavar="SOURCE",
        help="signs (the reports' file, fetched once), synthetic (drawn hands), mnist5k (MNIST digits), a .npz file, "
        "a folder with one sub-folder of images a class, or auto (default): signs, or else synthetic",
    )
    what.add_argument("--limit", type=whole_number, metavar="N", help="take only N images, the classes balanced")
    what.add_argument(
        "--classes", nargs=2, metavar=("A", "B"), help="the two classes of a binary task (default: 4 9); A becomes 0"
    )
    what.add_argument(
        "--backend",
        help="numpy (the CPU), cuda (a GPU; not proved on one yet), sim (the CUDA kernels in a simulator, slowly), or "
        "auto (default): numpy for now",
    )
    what.add_argument("--device", type=whole_number, metavar="N", help="which GPU, counted from 0 (default: 0)")
    what.add_argument("--seed", type=whole_number, metavar="N", help="of weights, split and shuffling (default: 0)")

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
    how.add_argument("--dropout", type=number, metavar="RATE", help="share of hidden activations dropped (default: 0)")
    how.add_argument("--weight-decay", type=number, metavar="RATE", help="L2 penalty, as in PyTorch (default: 0)")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FOLDER", help="new or empty folder for the results (default: runs/<task>-<exp>-<time>)"
    )
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from gpunet.reporting.artifacts import write_artifacts
    from gpunet.reporting.summary import print_summary
    from gpunet.runs import RunConfig

    exp = DEFAULT_EXPERIMENT.get(arguments.task, "") if arguments.exp is None else arguments.exp
    changes = {name: _as_field(getattr(arguments, name)) for name in CHANGEABLE}
    config = RunConfig.from_experiment(arguments.task, exp, **changes)
    console = Console(markup=False, highlight=False, emoji=False, quiet=arguments.quiet)
    with _results_folder(config, arguments.out) as folder:
        result = _train(config, console)
        if result.history.interrupted:
            text = "Interrupted: judging and keeping what was learnt (Ctrl-C again gives it up)."
            _say(console, text, style="bold yellow")
        try:
            write_artifacts(result, folder)
        except KeyboardInterrupt:
            return fail(
                arguments.prog,
                f"interrupted while the results were written: they are incomplete in {folder}",
                INTERRUPTED,
            )
    print_summary(console, result, folder)
    return INTERRUPTED if result.history.interrupted else 0


def _train(config: RunConfig, console: Console) -> RunResult:
    """Run it; unless the console is quiet, show what begins and how it goes."""
    from rich.text import Text

    from gpunet.reporting.facts import clean
    from gpunet.reporting.progress import progress
    from gpunet.runs import run as run_experiment

    if console.quiet:
        return run_experiment(config)
    with ExitStack() as stack:
        # As Text, since status would take brackets in a path for markup, whatever the console was told.
        loading = stack.enter_context(console.status(Text(f"Loading the data set {clean(config.data)} ...")))
        show = None

        def on_start(dataset: Dataset, split: Split, network: MLP, backend: str) -> None:
            nonlocal show
            loading.stop()
            _announce(config, dataset, split, network, backend, console)
            show = stack.enter_context(progress(config.epochs, console))

        return run_experiment(config, on_start=on_start, on_epoch=lambda report: show(report))


def _announce(config: RunConfig, dataset: Dataset, split: Split, network: MLP, backend: str, console: Console) -> None:
    """Say what is about to be trained, and on what: loudly if on drawn images."""
    from gpunet.reporting.facts import clean, is_drawn

    layers = "-".join(map(str, network.sizes)) + (f" {config.activation}" if config.hidden else "")
    parameters = sum(array[0].size for array in network.named_parameters.values())
    optimizer = f"{config.optimizer} {config.learning_rate:g}, batch {config.batch_size}"
    _say(console, f"{config.task} {config.exp}: {layers}, {parameters:,} parameters; {optimizer}")
    _say(console, f"on {backend}")
    names = dataset.class_names
    classes = f"{clean(names[0])} and {clean(names[1])}" if len(names) == 2 else f"{len(names)} classes"
    _say(console, f"data: {clean(dataset.source)}, {len(dataset):,} images of {classes}")
    parts = {"to train": split.train, "to validate": split.validation, "to test": split.test}
    _say(console, "      " + ", ".join(f"{len(rows):,} {purpose}" for purpose, rows in parts.items() if len(rows)))
    if is_drawn(dataset):
        _say(console, f"NOTE: {clean(dataset.note)}", style="bold yellow")


def _say(console: Console, text: str, style: str | None = None) -> None:
    # Lines are broken for a person's terminal only, never in a file or a pipe.
    console.print(text, style=style, soft_wrap=not console.is_terminal)


@contextmanager
def _results_folder(config: RunConfig, out: str | None) -> Iterator[Path]:
    """The folder for the results, found fit before anything is trained. If nothing comes of it, it goes again."""
    from gpunet.reporting.artifacts import default_run_folder, discard_if_empty, ensure_writable

    given = RUNS if out is None else Path(os.path.expanduser(out))
    made = [each for each in (given, *given.parents) if not os.path.lexists(each)]
    try:
        if out is None:
            folder = default_run_folder(config, given)
            made.insert(0, folder)
        else:
            folder = given
            _refuse_if_used(folder)
        ensure_writable(folder)
        yield folder
    finally:
        for each in made:
            discard_if_empty(each)


def _refuse_if_used(folder: Path) -> None:
    try:
        used = bool(os.listdir(folder))
    except OSError:
        return  # not there yet, or else ensure_writable says what is wrong with it
    if used:
        raise InputError(f"the folder {folder} is not empty and nothing in it is overwritten: name another with --out")


def _as_field(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _experiment_table() -> str:
    rows = [("task", "exp", "layers", "optimizer", "batch", "epochs", "reported accuracy")]
    rows += [_experiment_row(experiment) for experiment in EXPERIMENTS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "experiments:\n" + "\n".join(f"  {line}" for line in lines)


def _experiment_row(experiment: Experiment) -> tuple[str, ...]:
    outputs = 10 if experiment.task == "multiclass" else 1
    layers = "-".join(map(str, (784, *experiment.hidden, outputs)))
    return (
        experiment.task,
        experiment.name,
        f"{layers} {experiment.activation}" if experiment.hidden else layers,
        f"{experiment.optimizer} {experiment.learning_rate:g}",
        str(experiment.batch_size),
        str(experiment.epochs),
        f"{experiment.reported.test_accuracy:.2f}",
    )
