"""Other programs, each under a limit of time, of which none takes the caller with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE_SECONDS = 4  # for a program to write down what it has, once its time is up


def run_limited(
    command: Sequence[str], seconds: float, output: Any, *, folder: Path, environment: Mapping[str, str]
) -> int | None:
    """The exit status of a command that is run in a folder, or None if it did not end in time.

    output: a file for what it prints, errors included. At the end of its time it is interrupted as by Ctrl-C, and
    killed `GRACE_SECONDS` later. What it has started ends with it, also if this very call is interrupted.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _send(process, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        return None
    finally:
        _send(process, signal.SIGKILL)
        process.wait()


def _send(process: subprocess.Popen, number: int) -> None:
    """To the program and all that it started: they are a group of processes of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
