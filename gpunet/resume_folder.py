"""A run's folder as long as the run is not finished. Killed at any moment, it can be taken up again.

    RUN/unfinished/run.json               what was asked for, and BLAS's threads
    RUN/unfinished/epoch-*.safetensors    checkpoints, see `gpunet.resume`; of many networks by parts, in folders
    RUN/unfinished/lock                   held by the process that trains

All of it goes once the results are written.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpunet.atomic import remove_leftovers
from gpunet.errors import InputError
from gpunet.machine import blas_threads
from gpunet.regular_file import read_regular
from gpunet.resume import Checkpoints
from gpunet.runs import RunConfig
from gpunet.training import TrainingDiverged

FORMAT = 1
LARGEST_ORDER = 1 << 20  # bytes of `ORDER_FILE`
UNFINISHED, ORDER_FILE, LOCK_FILE = "unfinished", "run.json", "lock"
NUMBERS = ("seeds", "keep", "max_memory", "checkpoint_every")  # of an `Order`
TEMPORARY = ".gpunet-"  # how the names begin of what is being made, or removed
ANTICIPATED = (InputError, KeyboardInterrupt, MemoryError, OSError)  # by which a run ends that has just begun


@dataclass(frozen=True)
class Order:
    """What was asked for. seeds: how many, None for a run of one. keep: of `run_seeds`. max_memory: of `run`.
    checkpoint_every: epochs; 0: never; None: by the clock."""

    config: RunConfig
    seeds: int | None = None
    keep: int | None = None
    max_memory: int | None = None
    checkpoint_every: int | None = None


class UnfinishedRun:
    """A run that this process trains. checkpoints: None where there shall be none."""

    def __init__(self, folder: Path, order: Order) -> None:
        self.folder, self.order = folder, order
        self.checkpoints: Checkpoints | None = None
        if order.checkpoint_every != 0:
            self.checkpoints = Checkpoints(folder / UNFINISHED, order.checkpoint_every)
        self.is_finished = False

    @property
    def can_go_on(self) -> bool:
        """Whether there is more than its beginning to go on from."""
        return self.checkpoints is not None and self.checkpoints.exist()

    @property
    def advice(self) -> str:
        """How to go on, as the second half of a sentence."""
        where = "from its last checkpoint" if self.can_go_on else "from its beginning"
        return f"`gpunet train --resume {shlex.quote(str(self.folder))}` goes on {where}"


@contextmanager
def begun(folder: Path, order: Order) -> Iterator[UnfinishedRun]:
    """A run that begins in this empty folder. Raises `InputError` if another has begun there, and where it cannot be
    written."""
    place = folder / UNFINISHED
    numbers = {name: getattr(order, name) for name in NUMBERS}
    facts = {"format": FORMAT, "config": order.config.as_json(), **numbers, "blas_threads": blas_threads()}
    temporary = folder / f"{TEMPORARY}{UNFINISHED}-{os.getpid()}"
    try:
        temporary.mkdir()
        (temporary / ORDER_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        os.rename(temporary, place)  # refused where there is one
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if place.is_dir():
            raise InputError(f"another run has just begun in {folder}: name another folder with --out") from error
        raise InputError(
            f"the output folder {folder} cannot be used because it cannot be written ({error.strerror or error}): name "
            "another"
        ) from error
    with _locked(folder), _until_finished(UnfinishedRun(folder, order), ANTICIPATED) as run:
        yield run


@contextmanager
def taken_up(folder: Path, **changes: int | None) -> Iterator[UnfinishedRun]:
    """The run in this folder that was stopped, with as many BLAS threads as it had. changes: of the order's numbers
    those that do not change the outcome; None leaves one as it is.

    Raises `InputError` if there is none, or if another process is training it.
    """
    from threadpoolctl import threadpool_limits

    order, threads = _read_order(folder)
    order = replace(order, **{name: value for name, value in changes.items() if value is not None})
    with _locked(folder), threadpool_limits(threads, user_api="blas"):
        remove_leftovers(folder)
        with _until_finished(UnfinishedRun(folder, order), ()) as run:
            yield run


def is_unfinished(folder: Path) -> bool:
    """Whether there is a run to be taken up."""
    return (folder / UNFINISHED / ORDER_FILE).is_file()


@contextmanager
def _until_finished(run: UnfinishedRun, vain: tuple[type[BaseException], ...]) -> Iterator[UnfinishedRun]:
    """Clear up once the run is finished, and where it has come to nothing: it diverged, as it would again, or one of
    these errors ended it before there was anything to go on from."""
    came_to_nothing = False
    try:
        yield run
    except TrainingDiverged:
        came_to_nothing = True
        raise
    except vain:
        came_to_nothing = not run.can_go_on
        raise
    finally:
        if run.is_finished or came_to_nothing:
            _clear(run.folder)


def _clear(folder: Path) -> None:
    """Renamed first: a run is finished or it is not, at whatever moment this is killed."""
    rubbish = folder / f"{TEMPORARY}finished-{os.getpid()}"
    try:
        os.rename(folder / UNFINISHED, rubbish)
    except OSError:  # Windows, which does not move a folder with an open file
        rubbish = folder / UNFINISHED
        (rubbish / ORDER_FILE).unlink(missing_ok=True)
    shutil.rmtree(rubbish, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Refuse a second process. The system lets go of the lock when its holder dies, however that happens."""
    try:
        from filelock import FileLock, Timeout
    except ImportError:  # training needs it for nothing else
        yield
        return
    lock = FileLock(folder / UNFINISHED / LOCK_FILE)
    with ExitStack() as stack:
        try:
            lock.acquire(timeout=0)
            stack.callback(lock.release)
        except Timeout:
            raise InputError(
                f"another process is training the run in {folder}: wait until it is done, or end it first"
            ) from None
        except NotImplementedError:  # a file system without locks
            pass
        except OSError as error:
            raise InputError(
                f"the run in {folder} cannot be taken up because nothing can be written there "
                f"({error.strerror or error}): make it writable"
            ) from error
        yield


def _read_order(folder: Path) -> tuple[Order, int | None]:
    """What was asked for, and BLAS's threads. Raises `InputError` if there is no such run."""
    path = folder / UNFINISHED / ORDER_FILE
    try:
        facts = json.loads(read_regular(path, LARGEST_ORDER))
    except FileNotFoundError:
        raise InputError(_nothing_to_resume(folder)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read or is damaged: begin the run anew") from error
    try:
        if facts["format"] != FORMAT:
            raise InputError(f"the run in {folder} is of another version of gpunet: resume it with that one")
        config = RunConfig.from_json(facts["config"])
        try:
            config.check()
        except InputError as error:  # which may quote any amount of what is in the file
            raise ValueError("out of range") from error
        order = Order(config, **{name: _whole_or_none(facts[name]) for name in NUMBERS})
        return order, _whole_or_none(facts["blas_threads"])
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged: begin the run anew") from error


def _nothing_to_resume(folder: Path) -> str:
    from gpunet.prediction import MODEL_FILE

    if (folder / MODEL_FILE).is_file():
        return f"the run in {folder} is finished: there is nothing to resume"
    if folder.is_dir():
        return f"the folder {folder} holds no unfinished run: begin one with gpunet train"
    return f"there is no run's folder {folder} to resume: give the one that the run was begun in"


def _whole_or_none(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"{value!r} is no whole number")
    return value
