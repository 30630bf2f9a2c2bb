"""`gpunet reproduce`: every experiment of both course reports over many seeds, beside every figure they print."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.cli import INTERRUPTED
from gpunet.cli.folders import results_folder
from gpunet.cli.messages import fail
from gpunet.cli.parser import Parser, whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from gpunet.reproduction.running import Outcome

REPORTS = Path("reports")  # where it goes that was given no folder


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Train every experiment of both course reports with many seeds, and write a page with each of "
        "their tables and figures beside ours: mean, standard deviation, and the 95% prediction interval; and what the "
        "ideas bring that they name as future work.",
    )
    parser.add_argument(
        "--data",
        default="auto",
        metavar="SOURCE",
        help="signs (the reports' file, fetched once), synthetic (drawn hands), mnist5k (MNIST digits), a .npz file, "
        "a folder with one sub-folder of images a class, or auto (default): signs, or else synthetic",
    )
    parser.add_argument(
        "--seeds",
        type=whole_number,
        metavar="N",
        help="networks of each kind (default: 20; at most as many of those beyond the reports, which may take long)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="the first of the seeds (default: 0)")
    parser.add_argument("--quick", action="store_true", help="5 seeds, unless --seeds says otherwise")
    parser.add_argument("--backend", default="auto", help="as for gpunet train (default: auto)")
    parser.add_argument("--device", type=whole_number, default=0, metavar="N", help="which GPU, counted from 0")
    parser.add_argument("--out", metavar="FOLDER", help="new or empty folder for the results (default: reports/<time>)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from gpunet.reproduction.artifacts import write_reproduction
    from gpunet.reproduction.progress import watched
    from gpunet.reproduction.running import QUICK_SEEDS, SEEDS, Plan, reproduce

    usual = QUICK_SEEDS if arguments.quick else SEEDS
    plan = Plan(
        data=arguments.data,
        seeds=usual if arguments.seeds is None else arguments.seeds,
        first_seed=arguments.seed,
        backend=arguments.backend,
        device=arguments.device,
        quick=arguments.quick,
    )
    console = Console(markup=False, highlight=False, emoji=False, quiet=arguments.quiet)
    with results_folder(arguments.out, REPORTS, _folder_of_now) as folder:
        with watched(console) as watcher:
            outcome = reproduce(plan, watcher)
        if outcome.interrupted:
            console.print("Interrupted: writing what is done (Ctrl-C again gives it up).", style="bold yellow")
        try:
            write_reproduction(outcome, folder)
        except KeyboardInterrupt:
            message = f"interrupted while the results were written: they are incomplete in {folder}"
            return fail(arguments.prog, message, INTERRUPTED)
    _summarize(console, outcome, folder)
    return INTERRUPTED if outcome.interrupted else 0


def _folder_of_now(root: Path) -> Path:
    from gpunet.reporting.artifacts import new_folder

    return new_folder(root / f"{datetime.now():%Y%m%d-%H%M%S}")


def _summarize(console: Console, outcome: Outcome, folder: Path) -> None:
    from gpunet.reporting.facts import clean, duration
    from gpunet.reproduction.page import agreement, brevity, data_warning, interruption

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, soft_wrap=not console.is_terminal)

    say("")
    for text in (data_warning(outcome), interruption(outcome), brevity(outcome)):
        if text is not None:
            say(clean(text), "bold yellow")
    inside, marked = agreement(outcome)
    if marked:
        say(f"{inside} of {marked} reported figures lie inside our 95% prediction intervals.", "bold")
    say(f"Done in {duration(outcome.took)}: {clean(str(folder / 'report.html'))}")
