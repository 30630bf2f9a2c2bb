"""The folder that a command writes its results to. Imports nothing heavy."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpunet.errors import InputError


@contextmanager
def results_folder(out: str | None, root: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """The folder for the results, found fit before anything is trained: `out`, or if None the one that make(root)
    creates. If nothing comes of it, it goes again."""
    from gpunet.reporting.artifacts import discard_if_empty, ensure_writable

    given = root if out is None else Path(os.path.expanduser(out))
    made = [each for each in (given, *given.parents) if not os.path.lexists(each)]
    try:
        if out is None:
            folder = make(root)
            made.insert(0, folder)
        else:
            folder = given
            _refuse_if_used(folder)
        ensure_writable(folder)
        yield folder
    finally:
        for each in made:
            discard_if_empty(each)


def _refuse_if_used(folder: Path) -> None:
    from gpunet.resume_folder import TEMPORARY, is_unfinished

    try:
        # What begins so is left of a run that was killed before it had begun.
        used = any(not name.startswith(TEMPORARY) for name in os.listdir(folder))
    except OSError:
        return  # not there yet, or else ensure_writable says what is wrong with it
    if is_unfinished(folder):
        raise InputError(
            f"the folder {folder} holds an unfinished run: `gpunet train --resume {shlex.quote(str(folder))}` goes on "
            "with it, and --out names another"
        )
    if used:
        raise InputError(f"the folder {folder} is not empty and nothing in it is overwritten: name another with --out")
