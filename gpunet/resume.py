"""Training runs that go on where they were: checkpoints hold all that the rest of a run depends on.

    folder/epoch-00000012.safetensors    after epoch 12: weights, moments, what the history has so far
    folder/epoch-00000010.safetensors    one before it, which is used where the newest is damaged

Orders of rows, dropout and augmentation follow from seeds and counters, so that the number of the epoch stands for all
of them: a run that goes on from a checkpoint ends with the bits of one that was never stopped. Files are safetensors
with a hash of their content; nothing in them can run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.atomic import remove_leftovers, write_whole
from gpunet.errors import InputError
from gpunet.fingerprint import content_of, differing, fingerprints
from gpunet.machine import blas_threads, processor_name
from gpunet.tensor_file import read_tensor_file

FORMAT = 1
ENTRY = "gpunet checkpoint"  # of a file's header
FILES = "epoch-*.safetensors"
SECONDS = 60.0  # between two checkpoints, where nobody says after how many epochs
SYNC_SECONDS = 1.0  # between two that wait until the disk has them, which takes longer than all the rest
WRITING_SHARE = 0.02  # of the time, at most, then goes into writing them

logger = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """A run at the end of an epoch. epoch: how many have ended. seconds: how long they took. arrays: on the host."""

    epoch: int
    seconds: float
    arrays: dict[str, np.ndarray]


class Checkpoints:
    """The checkpoints of one run: `train(..., checkpoints=Checkpoints(folder))` writes them, and the same call made
    again goes on from the newest.

    folder: for this run alone and one process at a time; created when the first one is written. every: after so many
    epochs (default: about once a minute, and never so often that they take more than a fiftieth of the time).
    on_resume: told how many epochs had ended, before a run goes on. keep_last: write one after the last epoch in any
    case; else only where there are others.

    Two are kept: the newest, and of those before it the last that is sure to be on the disk, so that a power failure
    costs about a second more than a kill. One that cannot be written (the disk is full) is a warning, and training goes
    on; `failures` counts them.
    Raises `InputError` unless `every` is a positive whole number.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int | None = None,
        *,
        on_resume: Callable[[int], None] | None = None,
        keep_last: bool = False,
    ) -> None:
        if every is not None and (not isinstance(every, (int, np.integer)) or every < 1):
            raise InputError(f"a checkpoint can be written after every positive whole number of epochs, not {every}")
        self.folder, self.every = Path(folder), every
        self.on_resume, self._keep_last = on_resume, keep_last
        self._failures: list[int] = []  # epochs whose checkpoints could not be written, of this one and its parts
        self._sound: list[Path] = []  # files that can be gone on from, the newest last
        self._synced: Path | None = None  # the one of them that is sure to be on the disk
        self._next_sync = 0.0
        self._identity: Callable[[], dict[str, str]] = dict
        self._made_by: dict[str, Any] = {}
        self._next = time.perf_counter() + SECONDS

    def part(self, name: str, *, keep_last: bool) -> Checkpoints:
        """Those of a part of the run, in a folder of their own."""
        part = Checkpoints(self.folder / name, self.every, keep_last=keep_last)
        part._failures = self._failures
        return part

    @property
    def failures(self) -> int:
        """How many could not be written."""
        return len(self._failures)

    def exist(self) -> bool:
        """Whether there is something to go on from, in this folder or in those of the run's parts."""
        return any(True for _ in self.folder.rglob(FILES))

    def begin(self, ops: Any, things: Mapping[str, Any]) -> Snapshot | None:
        """Where the run of these things (see `gpunet.fingerprint`) was when it was stopped; None at its beginning.

        Raises `InputError` if the folder's checkpoints are of another run, or of another version.
        """
        # Worked out when it is first needed: a data set of gigabytes takes seconds.
        self._identity, self._made_by = cache(partial(fingerprints, things)), _made_by(ops)
        remove_leftovers(self.folder)
        self._sound, self._next = [], time.perf_counter() + SECONDS
        found = self._newest()
        self._synced = self._sound[-1] if self._sound else None  # of a process before this one
        if found is not None and self.on_resume is not None:
            self.on_resume(found.epoch)
        return found

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether one should be written now that so many epochs of so many have ended."""
        if epoch == epochs:
            return self._keep_last or self.every is not None or bool(self._sound)
        if self.every is not None:
            return epoch % self.every == 0
        return time.perf_counter() >= self._next

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, and let go of all but it and the one before."""
        began = time.perf_counter()
        path = self.folder / f"epoch-{snapshot.epoch:08}.safetensors"
        durable = began >= self._next_sync
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, self._content(snapshot), durable=durable)
        except OSError as error:
            self._say_failed(snapshot.epoch, error)
        else:
            before = [self._synced] if self._synced is not None else self._sound[-1:]
            self._sound = [*(kept for kept in before if kept != path), path]
            if durable:
                self._synced, self._next_sync = path, time.perf_counter() + SYNC_SECONDS
            self._prune()
        now = time.perf_counter()
        self._next = now + max(SECONDS, (now - began) / WRITING_SHARE)

    def _newest(self) -> Snapshot | None:
        """The newest sound one. A damaged one is told of, and stays until the next is written."""
        damaged, found = [], None
        for path in sorted(self.folder.glob(FILES), reverse=True):
            try:
                snapshot = self._read(path)
            except _Damaged as error:
                damaged.append(f"{path} ({error})")
                continue
            found = found or snapshot
            self._sound.insert(0, path)
        if damaged:
            what = "a checkpoint is damaged" if len(damaged) == 1 else "checkpoints are damaged"
            how = "begins anew" if found is None else f"goes on after epoch {found.epoch}, where there is a sound one"
            logger.warning("%s, %s: the run %s, and ends as it would have", what, " and ".join(damaged), how)
        return found

    def _read(self, path: Path) -> Snapshot:
        try:
            file = read_tensor_file(path)
        except InputError as error:
            raise _Damaged("it is no whole safetensors file") from error
        try:
            text = file.metadata[ENTRY]
            header = json.loads(text)
            facts, version = header["facts"], header["facts"]["format"]
            if header["sha256"] != _hash(facts, file.tensors):
                raise _Damaged("its content is not what was written")
            if version != FORMAT:
                raise InputError(f"{path} is of another version of gpunet: go on with that one, or begin anew")
            epoch, seconds, made_by = int(facts["epoch"]), float(facts["seconds"]), dict(facts["made_by"])
            run = dict(facts["run"])
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise _Damaged("its header cannot be read") from error
        others = differing(self._identity(), run)
        if others:
            names = ", ".join(name.replace("_", " ") for name in others)
            raise InputError(
                f"the checkpoints in {self.folder} are of another run (what differs: {names}): give the same data and "
                "settings, or begin anew in another folder"
            )
        if made_by != self._made_by and not self._sound:
            changed = ", ".join(differing(self._made_by, made_by)).replace("_", " ")
            logger.warning("the run was begun elsewhere (what differs: %s): its last bits may be others", changed)
        return Snapshot(epoch, seconds, file.tensors)

    def _content(self, snapshot: Snapshot) -> bytes:
        from safetensors.numpy import save

        facts = {
            "format": FORMAT,
            "epoch": snapshot.epoch,
            "seconds": snapshot.seconds,
            "run": self._identity(),
            "made_by": self._made_by,
        }
        header = {"facts": facts, "sha256": _hash(facts, snapshot.arrays)}
        arrays = {name: np.ascontiguousarray(array) for name, array in snapshot.arrays.items()}
        return save(arrays, {ENTRY: json.dumps(header)})

    def _prune(self) -> None:
        for path in self.folder.glob(FILES):
            if path not in self._sound:
                with suppress(OSError):  # one more does no harm
                    path.unlink()

    def _say_failed(self, epoch: int, error: OSError) -> None:
        self._failures.append(epoch)
        if len(self._failures) == 1:  # once: those to come fail as well, as long as the disk is full
            kept = f"that of epoch {int(self._sound[-1].stem[6:])} stays" if self._sound else "there is none yet"
            logger.warning(
                "the checkpoint of epoch %d cannot be written (%s): training goes on, and %s",
                epoch,
                error.strerror or error,
                kept,
            )


class _Damaged(Exception):
    """A file that cannot be gone on from."""


def _hash(facts: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Of everything in a checkpoint."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(content_of(array))
    return digest.hexdigest()


def _made_by(ops: Any) -> dict[str, Any]:
    """What the last bits depend on, besides the run: if these change, it may end with others."""
    import gpunet

    by = {"gpunet": gpunet.__version__, "numpy": np.__version__, "backend": ops.name}
    if hasattr(ops, "device_name"):
        return by | {"device": ops.device_name}
    return by | {"processor": processor_name(), "blas_threads": blas_threads()}
