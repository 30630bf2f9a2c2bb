"""What the results files of `gpu_check`'s parts say: in one sentence, what is wrong, and a table."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Findings:
    """says: half a sentence. problems: what did not agree or pass, each by its name; none means that all is well.
    results: what to keep. table: rows of cells, the head first."""

    says: str
    problems: list[str]
    results: Any
    table: list[tuple[str, ...]] = field(default_factory=list)


def read_tests(path: Path) -> Findings:
    """Of pytest's JUnit file. A run in which nothing passed is a problem, whatever was skipped."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    problems = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        counts[outcome] += 1
        if outcome == "failed":
            problems.append(f"{case.get('classname')}.{case.get('name')} failed".lstrip("."))
    if counts["passed"] == 0:
        problems.append("no test that needs a device has passed")
    return Findings(", ".join(f"{count} {outcome}" for outcome, count in counts.items()), problems, counts)


def read_equivalence(path: Path) -> Findings:
    """Of the file that `gpunet equivalence` writes; its keys stand in gpunet/equivalence/__init__.py."""
    results = json.loads(path.read_text())
    operations, steps, repeat = (results[key] for key in ("operations", "steps", "repeat"))
    free = results["free_running"]  # null in a run that stopped
    apart = [f"{each['operation']} ({each['where']})" for each in operations if not each["agrees"]]
    wrong = [each["step"] for each in steps if not each["agrees"]]
    apart += [f"{len(wrong)} of {len(steps)} steps, the first of them step {wrong[0]}"] if wrong else []
    apart += [
        f"{name} of the run left to itself" for name in ("losses", "weights") if free and not free[name]["agrees"]
    ]
    problems = [f"outside of the tolerance: {each}" for each in apart]
    if repeat is not None and not repeat["agrees"]:
        problems.append("a second run ended with other bits")
    if results["stopped"] or free is None:
        problems.append(f"the run stopped: {results['stopped']}")
    if results["backend"] != "cuda" or not (operations and steps):
        problems.append("nothing was compared on a device")
    if not results["agrees"] and not problems:
        problems.append("the comparison as a whole does not agree")
    worst = max((each["error"] for each in (*operations, *steps) if each["error"] is not None), default=0)
    says = f"{len(operations)} operations, {len(steps)} steps, the largest finite error {worst:.2g} of its limit"
    if free and free["weights"]["ratio"] is not None:
        says += f"; weights {free['weights']['ratio']:.2g} times as far from float64 as NumPy's in float32"
    return Findings(says, problems, results)


def read_training(path: Path) -> Findings:
    """Of benchmarks/bench_device.py."""
    results = json.loads(path.read_text())
    problems = [check["says"] for check in results["checks"] if not check["agrees"]]
    if not results["rows"]:
        return Findings("nothing was timed", problems or ["nothing was timed"], results)
    ceiling = results.get("ceiling")  # None of a device that is not in the table of ceilings
    head = (
        "training",
        "network",
        "us a step",
        "20th to 80th percentile",
        "us a step and network",
        "GFLOP/s",
        "of peak",
    )
    table = [head]
    for row in results["rows"]:
        us = row["us_per_step"]
        figures = f"{us['median']:.1f}", f"{us['p20']:.1f} to {us['p80']:.1f}", f"{row['us_per_step_and_network']:.2f}"
        share = f"{1e9 * row['gflops'] / ceiling['flops']:.1%}" if ceiling and row["backend"] != "numpy" else ""
        table.append((row["what"], row["network"], *figures, f"{row['gflops']:.0f}", share))
    run = results["run"]
    if run is None:
        return Findings("not all was timed", [*problems, "not all was timed"], results, table)
    says = (
        f"exp2's {run['epochs']} epochs with validation take {run['training_ms']} ms, the whole call {run['call_ms']}"
    )
    return Findings(says, problems, results, table)


def read_kernels(path: Path) -> Findings:
    """Of benchmarks/bench_kernels.py, which times NumPy alone where it finds no device."""
    results = json.loads(path.read_text())
    table = [("kernel", "shape", "kernel, us", "CuPy, us", "of cuBLAS", "floor, us", "NumPy, us")]
    for row in results["rows"]:
        us = {name: times["median"] for name, times in row["us"].items()}
        kernel, cupy, numpy = (f"{us[name]:.1f}" if name in us else "" for name in ("kernel", "CuPy", "NumPy"))
        share = f"{us['cuBLAS'] / us['kernel']:.0%}" if {"cuBLAS", "kernel"} <= us.keys() else ""
        floor = "" if row["floor_us"] is None else f"{row['floor_us']:.1f}"
        shape = f"{row['shape']} {row['detail'] or ''}".strip()
        table.append((row["kernel"], shape, kernel, cupy, share, floor, numpy))
    problems = [] if results["device"] and results["rows"] else ["nothing was measured on a device"]
    return Findings(f"{len(results['rows'])} cases compared with float64 and timed", problems, results, table)
