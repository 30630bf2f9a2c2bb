"""Options of `gpunet train` that say how a run goes: schedules, early stopping, clipping; and its logs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.cli.parser import number, whole_number
from gpunet.errors import InputError

if TYPE_CHECKING:  # these import NumPy, without which the help is there at once
    from gpunet.schedules import Schedule

LOGS = ("log", "tensorboard")  # options that may differ when a run is taken up again
VALUES = {"cosine": (float,), "step": (int, float), "plateau": (int, float)}  # what follows a schedule's name
RUN_FOLDER = ""  # --tensorboard alone


def add_course_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--schedule",
        nargs="+",
        metavar=("NAME", "VALUE"),
        help="how the learning rate changes: cosine [END], down to that share of it (0); step [EPOCHS FACTOR], times "
        "FACTOR (0.1) every so many EPOCHS (10); plateau [EPOCHS FACTOR], times FACTOR (0.1) after more than so many "
        "EPOCHS (10) without a better validation loss; or none",
    )
    group.add_argument(
        "--warmup", type=number, metavar="EPOCHS", help="let the learning rate rise over the first epochs, such as 2"
    )
    group.add_argument(
        "--early-stopping",
        type=whole_number,
        metavar="EPOCHS",
        help="stop after so many epochs without a better validation loss, and keep the weights of the best epoch; with "
        "--seeds each network by itself",
    )
    group.add_argument(
        "--clip-norm", type=number, metavar="LENGTH", help="cut gradients back that are longer, such as 1"
    )


def add_log_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--log", metavar="FILE", help="write a line as each epoch ends to this file, which ends in .csv or .jsonl"
    )
    group.add_argument(
        "--tensorboard",
        nargs="?",
        const=RUN_FOLDER,
        metavar="FOLDER",
        help="write event files for TensorBoard as epochs end (default: to tensorboard/ in the folder for the results)",
    )


def course_changes(arguments: argparse.Namespace, usual: tuple[Schedule, ...]) -> dict[str, Any]:
    """What the options change of a `RunConfig`, None where nothing. usual: the experiment's schedule."""
    from gpunet.pacing import EarlyStopping

    patience = arguments.early_stopping
    return {
        "schedule": _schedule(arguments.schedule, arguments.warmup, usual),
        "early_stopping": None if patience is None else EarlyStopping(patience),
        "clip_norm": arguments.clip_norm,
    }


def _schedule(
    words: list[str] | None, warmup: float | None, usual: tuple[Schedule, ...]
) -> tuple[Schedule, ...] | None:
    from gpunet.schedules import Warmup, schedule_parts

    if words is None and warmup is None:
        return None
    rising = [part for part in usual if isinstance(part, Warmup)]
    others = [part for part in usual if not isinstance(part, Warmup)]
    if warmup is not None:
        rising = [Warmup(warmup)] if warmup else []
    if words is not None:
        others = _parsed(*words)
    return schedule_parts((*rising, *others))


def _parsed(name: str, *words: str) -> list[Schedule]:
    """`--schedule step 10 0.1`, without its first word."""
    from gpunet.schedules import Cosine, Plateau, StepDecay

    if name == "none" and not words:
        return []
    if name not in VALUES:
        raise InputError(f"--schedule {name!r} is not known: use one of {', '.join(VALUES)}, none")
    kind, types = {"cosine": Cosine, "step": StepDecay, "plateau": Plateau}[name], VALUES[name]
    if len(words) > len(types):
        raise InputError(f"--schedule {name} takes {len(types)} number{'s' * (len(types) > 1)} at most: leave some out")
    parsers = {int: whole_number, float: number}
    try:
        return [kind(*(parsers[each](word) for each, word in zip(types, words, strict=False)))]
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--schedule {name}: {error}") from None


def check_logs(arguments: argparse.Namespace) -> None:
    """Raise `InputError` now for logs that cannot be written later."""
    from gpunet.logs import check_tensorboard, log_path

    if arguments.log is not None:
        log_path(arguments.log, append=arguments.resume is not None)
    if arguments.tensorboard is not None:
        check_tensorboard()


@contextmanager
def opened_logs(arguments: argparse.Namespace, folder: Path) -> Iterator[Any]:
    """An `on_epoch` that writes the logs asked for, None for none. folder: the run's."""
    from gpunet.logs import file_log, in_turn, tensorboard_log

    calls = []
    with ExitStack() as stack:
        if arguments.log is not None:
            calls.append(stack.enter_context(file_log(arguments.log, append=arguments.resume is not None)))
        if arguments.tensorboard is not None:
            place = folder / "tensorboard" if arguments.tensorboard == RUN_FOLDER else arguments.tensorboard
            calls.append(stack.enter_context(tensorboard_log(place)))
        yield in_turn(*calls) if calls else None
