"""What every benchmark needs: percentiles, the machine in words, a results file, and the time of a call on the CPU."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from gpunet import __version__
from gpunet.atomic import write_whole
from gpunet.machine import processor_name

RESULTS = Path(__file__).resolve().parent / "results"

# Before a contender is timed. Threads of the one before may spin for some hundredths of a second in wait of more work,
# OpenBLAS's at the cost of half a core or more for whoever comes next.
SECONDS_TO_REST = 0.2


def rest() -> None:
    time.sleep(SECONDS_TO_REST)


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """{"p20", "median", "p80"} of these times, in their unit."""
    ordered = np.quantile(times, (0.2, 0.5, 0.8))
    return {"p20": round(ordered[0], 2), "median": round(ordered[1], 2), "p80": round(ordered[2], 2)}


def about_this_machine(threads: Any, packages: Iterable[str]) -> dict[str, Any]:
    """Today's date, the processor, the thread counts in use, and the versions of Python, gpunet and these packages."""
    return {
        "date": date.today().isoformat(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "gpunet": __version__,
        **{name: version_of(name) for name in packages},
    }


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def write_results(path: Path, results: dict[str, Any]) -> None:
    """A results file (JSON), its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(results, indent=1) + "\n").encode())


def results_path(benchmark: str, device: str | None, *, complete: bool) -> Path:
    """benchmarks/results/<benchmark>-<cpu or the device's name>.json, with "-part" where something was left out."""
    words = re.sub(r"[^a-z0-9]+", "-", (device or "cpu").lower()).strip("-")
    return RESULTS / f"{benchmark}-{words}{'' if complete else '-part'}.json"


def positive(text: str) -> int:
    """A positive whole number on the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, not {text}")
    return int(text)


def host_times(run: Callable[[], Any], samples: int, patience: float, at_least: float = 0.002) -> list[float]:
    """Microseconds a call, one figure a sample, after a call that warms up.

    A sample takes so many calls that it lasts `at_least` seconds. Sampling ends early, but not before three samples,
    once it has taken `patience` seconds.
    """
    calls = 1
    run()
    while (seconds := _seconds(run, calls)) < at_least:
        calls = max(2 * calls, round(calls * at_least / max(seconds, 1e-9)))
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < samples and (len(times) < 3 or time.perf_counter() - began < patience):
        times.append(_seconds(run, calls) / calls * 1e6)
    return times


def _seconds(run: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - began
