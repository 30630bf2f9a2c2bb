"""Processes that write the same files again and again until they are killed.

    python killed.py KIND FOLDER KILLS SEED      one writer, killed so often with -9
    python killed.py KIND FOLDER writers WRITES  two at once, which read what they find

After each kill the files are read: half a file, or a mixture of two, ends this program with a traceback. It is started
afresh, so that it has no threads when it forks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

from writers import WRITERS, Writer


def kill_again_and_again(writer: Writer, folder: Path, kills: int, seed: int) -> int:
    """How many different versions the kills have left behind."""
    rng, seen = Random(seed), set()
    writer.write(folder, 0)  # what is imported on the way takes time
    began = time.perf_counter()
    writer.write(folder, 0)
    duration = time.perf_counter() - began
    for number in range(kills):
        begun, begins = os.pipe()
        child = os.fork()
        if child == 0:
            for version in range(1, 10**9):
                writer.write(folder, (number * 17 + version) % 250)
                os.write(begins, b"1") if version == 1 else None
        os.read(begun, 1)
        time.sleep(rng.uniform(0, 6) * duration)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begun)
        os.close(begins)
        seen.add(writer.read(folder))
    return len(seen)


def write_at_once(writer: Writer, folder: Path, writes: int) -> None:
    children = []
    for start in (1, 101):
        child = os.fork()
        if child == 0:
            try:
                for version in range(start, start + writes):
                    writer.write(folder, version)
                    assert writer.read(folder) in (None, *range(1, 101 + writes))
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert statuses == [0, 0], statuses


if __name__ == "__main__":
    kind, folder, first, second = sys.argv[1:]
    if first == "writers":
        write_at_once(WRITERS[kind], Path(folder), int(second))
    else:
        print(kill_again_and_again(WRITERS[kind], Path(folder), int(first), int(second)))
