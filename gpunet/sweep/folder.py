"""A sweep's folder: what was planned, and what has been finished so far. Each file appears whole or not at all, so that
a sweep can be stopped by anything and goes on where it was.

    sweep.json                  the plan, and the data's hash
    finished/cells-00012.json   the records of a group, of which 12 is the first combination
    finished/winner.json        what the winner's test came to
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpunet.atomic import write_whole
from gpunet.errors import InputError
from gpunet.regular_file import read_regular
from gpunet.reporting.artifacts import ensure_writable, metrics_json
from gpunet.sweep.groups import FIGURES, Record
from gpunet.sweep.plan import Plan

FORMAT = 1
MOST_BYTES = 64 * 1024**2  # of a file; the plan of 100,000 combinations takes a third of that
PLAN_FILE, FINISHED, WINNER_FILE = "sweep.json", "finished", "winner.json"

logger = logging.getLogger(__name__)


class SweepFolder:
    """The folder of this plan, new or begun before. blas_threads: how many its first command had, so that a later one
    trains the same bits.

    Raises `InputError` if the folder holds anything else, and if the data has changed since.
    """

    def __init__(self, path: Path, plan: Plan, data_sha256: str, blas_threads: int | None) -> None:
        self.path, self._plan, self.blas_threads = path, plan, blas_threads
        known = refuse_another(path, plan)
        ensure_writable(path)
        if known is None:
            facts = {"format": FORMAT, "sweep": plan.identity(), "data": data_sha256, "blas_threads": blas_threads}
            write_whole(path / PLAN_FILE, metrics_json(facts).encode())
        elif known["data"] != data_sha256:
            raise InputError(
                f"the data has changed since the sweep in {path} was begun, and its figures would not compare: name "
                "another folder with --out"
            )
        else:
            self.blas_threads = known["blas_threads"]
        ensure_writable(path / FINISHED)

    def records(self) -> dict[int, Record]:
        """{cell: record} of what is finished."""
        found: dict[int, Record] = {}
        for path in sorted((self.path / FINISHED).glob("cells-*.json")):
            content = _read(path)
            try:
                found |= dict(self._checked(content))
            except (AttributeError, KeyError, TypeError, ValueError):
                logger.warning("%s is damaged: its combinations are trained again", path)
        return found

    def keep(self, records: dict[int, Record]) -> None:
        """Of one group."""
        self._write(f"cells-{min(records):05}.json", {str(cell): record for cell, record in records.items()})

    def winner(self) -> dict[str, Any] | None:
        """What `keep_winner` wrote, if it did."""
        found = _read(self.path / FINISHED / WINNER_FILE)
        if not isinstance(found, dict) or not {"cell", "seed", "accuracy", "loss"} <= found.keys():
            return None
        plan = self._plan
        sound = (
            _is_whole(found["cell"], range(len(plan.cells)))
            and found["seed"] == list(plan.all_seeds)
            and all(_are_figures(found[name], plan.seeds) for name in ("accuracy", "loss"))
        )
        return found if sound else None

    def keep_winner(self, facts: dict[str, Any]) -> None:
        self._write(WINNER_FILE, facts)

    def _write(self, name: str, facts: dict[str, Any]) -> None:
        write_whole(self.path / FINISHED / name, metrics_json(facts).encode())

    def _checked(self, content: Any) -> Iterator[tuple[int, Record]]:
        seeds = self._plan.seeds
        for cell, record in content.items():
            diverged = record["diverged"]
            sound = isinstance(diverged, list) and len(diverged) == seeds and set(map(type, diverged)) == {bool}
            if not sound or not all(_are_figures(record[name], seeds) for name in FIGURES):
                raise ValueError
            if not 0 <= int(cell) < len(self._plan.cells):
                raise ValueError
            yield int(cell), record


def refuse_another(path: Path, plan: Plan) -> dict[str, Any] | None:
    """What the folder's plan file holds, None if the folder is new or empty. Raises `InputError` if it is not of this
    plan, or there is something else."""
    known = _read(path / PLAN_FILE)
    if known is None:
        # Hidden files may be what is left of a plan that was being written when all was killed.
        if path.is_dir() and any(not name.startswith(".") for name in os.listdir(path)):
            raise InputError(
                f"the folder {path} is not empty and holds no sweep, and nothing in it is overwritten: name another "
                "with --out"
            )
        return None
    expected = {"format", "sweep", "data", "blas_threads"}
    if (
        not isinstance(known, dict)
        or not expected <= known.keys()
        or not (known["blas_threads"] is None or _is_whole(known["blas_threads"], range(1, 2**16)))
    ):
        raise InputError(f"{path / PLAN_FILE} is damaged: name another folder with --out")
    if known["format"] != FORMAT:
        raise InputError(f"the sweep in {path} is of another version of gpunet: name another folder with --out")
    ours, theirs = plan.identity(), known["sweep"]
    if ours != theirs:
        differing = [name for name in ours if not isinstance(theirs, dict) or ours[name] != theirs.get(name)]
        names = " and ".join("combinations" if name == "cells" else name for name in differing) or "settings"
        raise InputError(
            f"the folder {path} holds another sweep (its {names} differ): name another with --out, or give the same "
            "command to continue that one"
        )
    return known


def _is_whole(value: Any, within: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in within


def _are_figures(values: Any, count: int) -> bool:
    """Whether these are so many finite numbers, of which some may be None."""
    if not isinstance(values, list) or len(values) != count:
        return False
    # A whole number is none of ours, and may be too large to be one of NumPy's.
    return all(value is None or (isinstance(value, float) and math.isfinite(value)) for value in values)


def _read(path: Path) -> Any:
    """The JSON in a file, None if there is no file or no JSON in it."""
    try:
        return json.loads(read_regular(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
