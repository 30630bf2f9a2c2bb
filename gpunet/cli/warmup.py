"""`gpunet warmup`: the kernels of the experiments, compiled before they are wanted."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from gpunet.cli.parser import Parser, whole_number
from gpunet.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from gpunet.experiments import Experiment


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Compile the CUDA kernels of the experiments for a GPU, so that training begins at once.\n"
        "They are kept on disk, in the folder that GPUNET_CACHE names, or else in the user's cache folder.",
    )
    parser.add_argument("--device", type=whole_number, default=0, metavar="N", help="which GPU, from 0 (default: 0)")
    parser.add_argument("--task", help="experiments of one task only: multiclass or binary")
    parser.add_argument("--exp", help="experiments of one name only, such as exp2")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from gpunet.kernels import kernel_cache
    from gpunet.ops.backend import make_backend, why_no_cuda
    from gpunet.warmup import choose_experiments

    experiments = choose_experiments(arguments.task, arguments.exp)
    reason = why_no_cuda(arguments.device)
    if reason is not None:
        raise InputError(f"there is no GPU to compile kernels for, because {reason}")
    folder = kernel_cache.cache_folder()
    try:
        kernel_cache.ensure_writable()
    except OSError as error:
        raise InputError(
            f"kernels cannot be kept in {folder} ({error.strerror}): name another folder in GPUNET_CACHE"
        ) from error
    console = Console(markup=False, highlight=False, emoji=False, quiet=arguments.quiet)
    began = time.perf_counter()
    backend = make_backend("cuda", arguments.device)
    _say(console, f"on {backend.note}")
    for experiment in experiments:
        _warm_up(experiment, backend.ops, console)
    _say(console, f"{_counted(*_counts())} in {time.perf_counter() - began:.1f} s, kept in {folder}")
    return 0


def _warm_up(experiment: Experiment, ops: object, console: Console) -> None:
    """Compile an experiment's kernels, and say how many that was."""
    from gpunet.warmup import compile_kernels

    name = f"{experiment.task} {experiment.name}"
    compiled, loaded = _counts()
    began = time.perf_counter()
    with console.status(f"Compiling the kernels of {name} ..."):
        compile_kernels(experiment, ops)
    now_compiled, now_loaded = _counts()
    figures = _counted(now_compiled - compiled, now_loaded - loaded)
    _say(console, f"{name}: {figures} in {time.perf_counter() - began:.1f} s")


def _counts() -> tuple[int, int]:
    """Kernels compiled and loaded by this process so far."""
    from gpunet.kernels.kernel_cache import counts

    return counts.compiled, counts.loaded


def _counted(compiled: int, loaded: int) -> str:
    """'3 kernels compiled, 1 there already'; kernels that this call has seen before do not count."""
    if not compiled and not loaded:
        return "no further kernels"
    first = compiled or loaded
    kernels = f"{first} kernel{'s' if first > 1 else ''}"
    if not compiled:
        return f"{kernels} there already"
    return f"{kernels} compiled" + (f", {loaded} there already" if loaded else "")


def _say(console: Console, text: str) -> None:
    # Lines are broken for a person's terminal only, never in a file or a pipe.
    console.print(text, soft_wrap=not console.is_terminal)
