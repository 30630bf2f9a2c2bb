"""One-line messages on stderr. Imports nothing heavy."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def fail(prog: str, message: object, status: int = 2) -> int:
    """Print what went wrong, and return the exit status."""
    _print(f"{prog}: {message}")
    return status


def note(prog: str, message: object) -> None:
    """Print what a person should know although nothing went wrong."""
    _print(f"{prog}: note: {message}")


@contextmanager
def warnings_as_notes(prog: str, *, quiet: bool) -> Iterator[None]:
    """Print what the package logs as warnings in the form of `note`, or nowhere."""
    handler = logging.NullHandler() if quiet else _NoteHandler(prog)
    logger = logging.getLogger("gpunet")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _NoteHandler(logging.Handler):
    def __init__(self, prog: str) -> None:
        super().__init__(logging.WARNING)
        self.prog = prog

    def emit(self, record: logging.LogRecord) -> None:
        note(self.prog, record.getMessage())


def _print(line: str) -> None:
    # Names of files may hold line breaks and worse; a message is one line of text all the same.
    text = "".join(letter if letter.isprintable() else " " for letter in line)
    print(text, file=sys.stderr)
