"""`gpunet sweep`: many combinations of hyper-parameters, trained side by side and ranked by validation."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.cli import INTERRUPTED
from gpunet.cli.parser import Parser, whole_number
from gpunet.cli.train import DEFAULT_EXPERIMENT, RUNS
from gpunet.errors import InputError

if TYPE_CHECKING:
    from gpunet.sweep.plan import Plan
    from gpunet.sweep.running import Trainer

DEFAULT_SEEDS = 5

FIELDS_HELP = """fields:
  learning_rate (lr), batch_size (batch), hidden, epochs, dropout, weight_decay,
  activation, loss, optimizer, init, shuffle; what is not named is as in the experiment,
  and a field with one value is set to it

  lr=1e-4,3e-4,1e-3     these values
  hidden=none,64,128-64 no hidden layer, one of 64, one of 128 and then one of 64
  lr=1e-4..1e-1         with --random: any number in this range, both ends included; drawn evenly
                        by its logarithm for lr, weight_decay, batch and hidden (one layer, whole
                        numbers), evenly for dropout and epochs; from a list each value alike

examples:
  %(prog)s --grid lr=1e-4,3e-4,1e-3,3e-3 hidden=16,64,256 batch=32,128 --seeds 10
  %(prog)s --random 50 lr=1e-4..1e-1 dropout=0..0.5 hidden=64,128-64

Networks of one shape and batch size are trained as one population, in which learning rates, weight decays and
dropout differ. The combinations are ranked by their mean validation accuracy; of a binary task, which has no
validation images, a fifth of the training images serve as such. The winner alone is then judged on the test set.
What is finished is kept at once: stopped by anything, the same command goes on from there.
"""


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Train every combination of some hyper-parameters, or a random choice of combinations, with "
        "several seeds,\nand rank them.",
        epilog=FIELDS_HELP % {"prog": prog},
    )
    what = parser.add_argument_group("what to sweep")
    what.add_argument(
        "--grid", nargs="+", action="extend", default=[], metavar="FIELD=VALUES", help="every combination of these"
    )
    what.add_argument(
        "--random", nargs="+", metavar=("N", "FIELD=VALUES"), help="N combinations, drawn from these by --seed"
    )
    what.add_argument(
        "--seeds",
        type=whole_number,
        default=DEFAULT_SEEDS,
        metavar="N",
        help=f"networks for each combination, whose seeds are --seed and those that follow (default: {DEFAULT_SEEDS})",
    )
    base = parser.add_argument_group("the experiment, as for gpunet train")
    base.add_argument("--task", default="multiclass", help="multiclass (default) or binary")
    base.add_argument("--exp", help="experiment, as for gpunet train (default: exp2; base for binary)")
    base.add_argument("--data", metavar="SOURCE", help="data source, .npz file or folder (default: auto)")
    base.add_argument("--limit", type=whole_number, metavar="N", help="take only N images, the classes balanced")
    base.add_argument("--classes", nargs=2, metavar=("A", "B"), help="the two classes of a binary task (default: 4 9)")
    base.add_argument("--backend", help="numpy, jit, cuda, sim or auto (default): cuda on a GPU, else numpy")
    base.add_argument("--device", type=whole_number, metavar="N", help="which GPU, counted from 0 (default: 0)")
    base.add_argument("--seed", type=whole_number, metavar="N", help="the first seed (default: 0)")

    cluster = parser.add_argument_group("more than one process, by Dask; the results are the same")
    cluster.add_argument(
        "--scheduler", metavar="ADDRESS", help="train on the workers of this cluster, such as tcp://host:8786"
    )
    cluster.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help="train in N processes of this machine (set OMP_NUM_THREADS=1, so that they do not share cores)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="FOLDER",
        help="for the results: new, empty, or of the same sweep (default: one of this sweep's own in runs/)",
    )
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def run(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    from rich.console import Console

    from gpunet.sweep.outputs import print_results, write_outputs
    from gpunet.sweep.progress import ConsoleObserver
    from gpunet.sweep.running import run_sweep

    folder = Path(os.path.expanduser(arguments.out)) if arguments.out else RUNS / plan.folder_name()
    console = Console(markup=False, highlight=False, emoji=False, quiet=arguments.quiet)
    with ConsoleObserver(console) as observer:
        result = run_sweep(plan, folder, None if arguments.quiet else observer, _trainer(arguments))
    if result.records:
        write_outputs(result, folder)
    print_results(console, result, folder)
    return INTERRUPTED if result.interrupted else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    from gpunet.runs import RunConfig
    from gpunet.sweep.plan import make_plan
    from gpunet.sweep.space import draw, grid, read_space

    if not arguments.grid and arguments.random is None:
        raise InputError(
            "there is nothing to sweep: name fields and values, as in --grid lr=1e-4,1e-3 hidden=16,64, or "
            "--random 20 lr=1e-4..1e-1"
        )
    exp = DEFAULT_EXPERIMENT.get(arguments.task, "") if arguments.exp is None else arguments.exp
    names = ("data", "limit", "backend", "device", "seed")
    options = {name: getattr(arguments, name) for name in names}
    classes = None if arguments.classes is None else tuple(arguments.classes)
    base = RunConfig.from_experiment(arguments.task, exp, classes=classes, **options)
    if arguments.random is None:
        return make_plan(base, arguments.seeds, grid(read_space(arguments.grid)))
    if arguments.grid:
        raise InputError("--grid and --random exclude each other: give all fields after one of them")
    count, *fields = arguments.random
    if not fields:
        raise InputError("--random needs a number and what to draw from, as in --random 20 lr=1e-4..1e-1")
    try:
        number = whole_number(count)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--random begins with how many combinations to draw, and {error}") from None
    return make_plan(base, arguments.seeds, draw(read_space(fields), number, base.seed))


def _trainer(arguments: argparse.Namespace) -> Trainer | None:
    """What trains the groups; None: this process."""
    if arguments.scheduler is None and arguments.workers is None:
        return None
    if arguments.scheduler is not None and arguments.workers is not None:
        raise InputError("--scheduler uses a cluster and --workers starts one: give one of the two")
    from gpunet.sweep.cluster import cluster_trainer

    return cluster_trainer(arguments.scheduler, arguments.workers)
