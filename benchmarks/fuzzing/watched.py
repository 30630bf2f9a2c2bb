"""A process that reads damaged files, and another that watches its memory and its clock.

The reader may take a gigabyte beyond what it has before it reads: the operating system refuses it more. The watcher
ends it where a file takes too long, notices if it dies, and starts another at the next file.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

MEMORY = 1 << 30  # bytes beyond what the process has when it begins to read
PREPARATION = 300  # seconds at most until the first file is read
LONGEST_SENTENCE = 1500  # characters
GOOD = ("loaded", "made again", "refused")


class Outcome(NamedTuple):
    """What became of a file: one of `GOOD`, or what went wrong. detail: which file, what was done to it, what was said.
    seconds: to read it. megabytes: the most that the process has held so far, beyond what it began with."""

    kind: str
    number: int
    name: str
    detail: str
    seconds: float
    megabytes: float

    @property
    def good(self) -> bool:
        return self.name in GOOD


def read_files(kind: str, numbers: range, seed: int, limit: float, keep: Path | None = None) -> Iterator[Outcome]:
    """Read these files in a process of its own. limit: seconds a file. keep: a folder for what went wrong."""
    at = numbers.start
    while at < numbers.stop:
        ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=_read_all, args=(theirs, kind, at, numbers.stop, seed, keep), daemon=True
        )
        process.start()
        theirs.close()
        try:
            if not ours.poll(PREPARATION):
                process.kill()
            ours.recv()  # that the sound files are made
        except EOFError:
            raise RuntimeError(f"the sound files of the kind {kind} cannot be made: see above") from None
        try:
            while at < numbers.stop:
                if not ours.poll(limit):
                    yield Outcome(kind, at, "hung", f"nothing for {limit:g} seconds", limit, 0.0)
                    break
                yield Outcome(kind, at, *ours.recv())
                at += 1
        except EOFError:
            process.join()
            yield Outcome(kind, at, "crashed", f"exit code {process.exitcode}", 0.0, 0.0)
        at += 1
        process.kill()
        process.join()


def _read_all(pipe: Connection, kind: str, start: int, stop: int, seed: int, keep: Path | None) -> None:
    os.environ["GPUNET_OFFLINE"] = "1"
    warnings.simplefilter("ignore")  # of NumPy about metadata, of Pillow about tags
    with tempfile.TemporaryDirectory(prefix="gpunet-fuzz-") as scratch:
        folder, marker = Path(scratch, "files"), Path(scratch, "executed")
        made = _kind(kind)(Path(scratch), marker)
        for target in made.targets:  # what is imported on the way is no file's memory
            made.lay(folder)
            outcome = _read(made.read, folder, target)
            if outcome[0] != "loaded":
                raise RuntimeError(f"{target} of the kind {kind} is sound and yet {outcome}")
        pipe.send("ready")
        began_with = _limit_memory()
        for number in range(start, stop):
            rng = Random(f"{seed} {kind} {number}")
            made.lay(folder)
            target, what = made.damage(folder, rng)
            began = time.perf_counter()
            name, said = _read(made.read, folder, target)
            seconds = time.perf_counter() - began
            if marker.exists():
                name, said = "executed", "what was planted has run"
                marker.rmdir() if marker.is_dir() else marker.unlink()
            if name not in GOOD and keep is not None and (folder / target).is_file():
                keep.mkdir(parents=True, exist_ok=True)
                with open(folder / target, "rb") as file:
                    (keep / f"{kind}-{number}-{Path(target).name}").write_bytes(file.read(1 << 24))
            megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began_with) / 1024
            pipe.send((name, f"{target}, {what}: {said}", seconds, megabytes))


def _kind(name: str) -> Any:
    """The maker of a kind: one of those here, or that of another module, "module:function"."""
    module, _, function = name.rpartition(":")
    if module:
        return getattr(import_module(module), function)
    return import_module("fuzzing.kinds").KINDS[name]


def _limit_memory() -> int:
    """Returns what the process has held at most so far, in kilobytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read(read, folder: Path, target: str) -> tuple[str, str]:
    from gpunet.errors import InputError

    try:
        return read(folder, target), ""
    except InputError as error:
        if _ran_out_of_memory(error):
            return "too much memory", str(error)
        return _judged(str(error))
    except MemoryError as error:
        return "too much memory", repr(error)[:200]
    except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding)
        at = error.__traceback__
        while at.tb_next is not None:
            at = at.tb_next
        place = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
        return "raised", f"{type(error).__name__} at {place}: {str(error)[:200]}"


def _judged(sentence: str) -> tuple[str, str]:
    if "\n" in sentence or sentence.endswith(".") or "Traceback" in sentence:
        return "no sentence", sentence[:300]
    if len(sentence) > LONGEST_SENTENCE:
        return "endless sentence", f"{len(sentence):,} characters: {sentence[:200]}"
    return "refused", sentence[:300]


def _ran_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
