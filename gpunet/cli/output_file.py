"""The single file that a command writes. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gpunet.errors import InputError


def output_file(path: str | os.PathLike, ending: str) -> Path:
    """Where the output goes, found fit before anything is done: nothing is there yet, and its name says what it is."""
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() != ending:
        raise InputError(f"the file to write must end in {ending}, not {path.name!r}: name another with --out")
    if os.path.lexists(path):
        raise InputError(f"{path} is there already and is not overwritten: name another with --out")
    return path


def write_output(path: Path, write: Callable[[Path], None]) -> None:
    """Have the file written, in a folder that is made if need be. Raises `InputError` if that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): name another with --out") from error
