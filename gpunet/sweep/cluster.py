"""Groups of a sweep on the workers of a Dask cluster: an existing one, or one of processes on this machine.

The scheduler runs the groups of a worker that is lost again on another. What is trained on is given to the cluster as
the result of a task, not scattered: what was scattered to a worker would be lost with it. Each group is trained with as
many BLAS threads as this process has, since their number decides the last bits of large products.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gpunet.errors import InputError
from gpunet.machine import blas_threads
from gpunet.sweep.groups import Group, Material, Record, train_group
from gpunet.sweep.running import Trained, Trainer

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10
MOST_WORKERS = 1024

logger = logging.getLogger(__name__)


def cluster_trainer(scheduler: str | None, workers: int | None) -> Trainer:
    """What trains groups on the cluster whose scheduler has this address, or on so many new processes.

    Raises `InputError` where Dask is missing or the number of workers is out of range; the trainer does, where nothing
    answers.
    """
    if find_spec("distributed") is None:
        raise InputError('Dask is not installed: pip install "gpunet[dask]"')
    if scheduler is None and not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"--workers starts from 1 to {MOST_WORKERS} processes, not {workers}")
    return partial(_train, scheduler, workers)


def _train(
    scheduler: str | None,
    workers: int | None,
    groups: Sequence[Group],
    material: Material,
    on_networks: Callable[[int], None] | None = None,
) -> Iterator[Trained]:
    """Groups as they are finished, in whatever order. on_networks is not called: workers do not tell."""
    from distributed import Client, as_completed

    with ExitStack() as stack:
        stack.enter_context(_quiet())
        cluster = scheduler if scheduler is not None else stack.enter_context(_local_cluster(workers))
        client = stack.enter_context(_connected(Client, cluster))
        with warnings.catch_warnings():
            # The data set is as large as it is, and is sent once.
            warnings.filterwarnings("ignore", message="Sending large graph")
            shared = client.submit(_as_it_is, material, pure=False)
            futures = {client.submit(train_group, group, shared, pure=False): group for group in groups}
        for future in as_completed(futures, loop=client.loop):
            yield futures[future], _result(future)


def _connected(client: Any, cluster: Any) -> Client:
    """cluster: a scheduler's address, or a cluster of this process."""
    try:
        return client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"no Dask scheduler answers at {cluster!r} ({reason}): give the address that `dask scheduler` prints, "
            "such as tcp://host:8786"
        ) from error


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    threads, cores = blas_threads() or 1, os.cpu_count() or 1
    if threads > 1 and workers * threads > cores:
        logger.warning(
            "%d workers of %d BLAS threads each share %d cores, slowly: OMP_NUM_THREADS=1 gives each worker one thread",
            *(workers, threads, cores),
        )
    with _interrupts_ignored():
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )


def _result(future: Any) -> dict[int, Record]:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise InputError(
            "a group of networks was lost with one worker after another, perhaps for want of memory: give the workers "
            "more, and continue with the same command"
        ) from error
    except ImportError as error:
        raise InputError(
            f"a worker cannot load what it needs ({error}): install the same gpunet where the workers run"
        ) from error


def _as_it_is(material: Material) -> Material:
    return material


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that are started meanwhile ignore Ctrl-C for good: it reaches all processes of a terminal, and ending
    the workers is for this one."""
    try:
        usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's log, which tells of a lost worker at length: the scheduler deals with it."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
