"""Files from outside, read whole: only what is a file, and only as much as was agreed to."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# A pipe must not be waited for. Windows has neither flag, or needs one more.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_regular(path: str | os.PathLike, most: int) -> bytes:
    """The content of a file of at most so many bytes.

    A device may have no end, a pipe may never begin, and a sparse file takes no place on the disk for what would take
    all memory: these raise OSError, as whatever cannot be opened does, before anything is read.
    """
    path = Path(path)
    with open(path, "rb", opener=lambda name, _: os.open(name, _FLAGS)) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if facts.st_size > most:
            raise OSError(errno.EFBIG, f"File too large, more than {most:,} bytes", str(path))
        return file.read(facts.st_size)
