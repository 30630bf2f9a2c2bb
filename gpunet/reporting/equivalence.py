"""What `gpunet equivalence` shows and leaves behind: equivalence.json, and from it a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.atomic import write_whole
from gpunet.data import SOURCES, Dataset
from gpunet.equivalence.comparison import Comparison
from gpunet.equivalence.plan import Plan
from gpunet.machine import processor_name
from gpunet.ops import NumpyOps
from gpunet.reporting.environment import versions
from gpunet.reporting.facts import clean, duration, loss_text
from gpunet.runs import RunConfig, network_sizes

if TYPE_CHECKING:
    from rich.console import Console

JSON_FILE, FIGURE_FILE = "equivalence.json", "equivalence.png"
WHAT = "errors of each operation and each training step against NumPy in float64, in units of their tolerances"
KERNEL_PACKAGES = {"numba-cuda": ("numba-cuda",), "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy")}
MOST_STEPS = 8  # listed one by one; of more, the first ones and the worst

Line = tuple[str, str]  # text, and its style for rich


def document(comparison: Comparison, config: RunConfig, dataset: Dataset, plan: Plan, ops: Any) -> dict[str, Any]:
    """What equivalence.json holds; its keys are explained in `gpunet.equivalence`. No key names a path."""
    on_cpu = isinstance(ops, NumpyOps)
    names = ("activation", "loss", "optimizer", "learning_rate", "batch_size", "dropout", "seed", "epochs")
    return {
        "what": WHAT,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "backend": ops.name,
        "device": processor_name() if on_cpu else ops.device_name,
        "versions": _versions(kernels=not on_cpu),
        "experiment": {
            "task": config.task,
            "exp": config.exp,
            "sizes": list(network_sizes(config, dataset)),
            **{name: getattr(config, name) for name in names},
            "data": dataset.source if dataset.source in SOURCES else Path(dataset.source).name,
            "images": len(plan.train_rows),
            "steps": plan.steps(config.batch_size),
        },
        **comparison.as_json(),
    }


def _versions(*, kernels: bool) -> dict[str, str | None]:
    """Of what the arithmetic depends on."""
    all_versions = versions()
    found = {name: all_versions[name] for name in ("gpunet", "python", "numpy", "blas")}
    if kernels:
        for name, packages in KERNEL_PACKAGES.items():
            found[name] = next(filter(None, map(_version, packages)), None)
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_comparison(results: dict[str, Any], folder: Path) -> None:
    """Write equivalence.json and equivalence.png, each whole or not at all."""
    from gpunet.reporting.equivalence_figure import equivalence_figure
    from gpunet.reporting.figures import png

    write_whole(folder / JSON_FILE, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    write_whole(folder / FIGURE_FILE, png(equivalence_figure(results)))


def print_comparison(console: Console, results: dict[str, Any], disagreements: Sequence[str], folder: Path) -> None:
    for text, style in comparison_lines(results, disagreements, folder):
        console.print(text, style=style or None, markup=False, highlight=False, soft_wrap=True, emoji=False)


def comparison_lines(results: dict[str, Any], disagreements: Sequence[str], folder: Path) -> list[Line]:
    """The table of operations, the steps, the run left to itself, and the verdict, about 90 columns wide."""
    lines: list[Line] = [("", ""), ("Errors in units of their tolerances: 1 is the most that is allowed.", "")]
    lines += [("", ""), *_operation_lines(results["operations"])]
    lines += [("", ""), *_step_lines(results["steps"])]
    lines += [("", ""), *_free_running_lines(results), ("", "")]
    if results["agrees"]:
        lines.append((f"AGREES: {results['backend']} computes what NumPy in float64 computes.", "bold green"))
    else:
        lines.append((f"DISAGREES: {results['backend']} does not compute what NumPy in float64 computes:", "bold red"))
        lines += [(f"  {clean(each)}", "red") for each in disagreements]
    lines.append((f"Saved in {clean(str(folder))}: {JSON_FILE} and {FIGURE_FILE} ({duration(results['seconds'])})", ""))
    return lines


def _operation_lines(operations: Sequence[dict[str, Any]]) -> list[Line]:
    lines: list[Line] = [
        ("Each operation, given what it was given, once more by NumPy in float64:", "bold"),
        (f"{'operation':22}{'where':12}{'arrays':26}{'calls':>6}{'error':>10}  in", "dim"),
    ]
    for row in operations:
        shapes = row["shapes"][0] + (", ..." if len(row["shapes"]) > 1 else "")
        worst = max(row["errors"], key=lambda name: _size(row["errors"][name]))
        text = f"{row['operation']:22}{row['where']:12}{shapes:26}{row['calls']:>6,}{error_text(row['error']):>10}"
        lines.append(_judged(f"{text}  {worst if row['error'] != 0 else ''}", row["agrees"]))
    return lines


def _step_lines(steps: Sequence[dict[str, Any]]) -> list[Line]:
    lines: list[Line] = [
        ("Each whole step, begun by NumPy in float64 from the same state:", "bold"),
        (f"{'step':>6}{'loss':>12}{'error':>12}  in", "dim"),
    ]
    listed = list(steps)
    if len(steps) > MOST_STEPS:
        worst = sorted(steps, key=lambda step: -_size(step["error"]))[: MOST_STEPS // 2]
        listed = [step for step in steps if step["step"] <= MOST_STEPS // 2 or step in worst]
    for step in listed:
        name = max(step["errors"], key=lambda name: _size(step["errors"][name]))
        loss = "no number" if step["loss"] is None else loss_text(step["loss"])
        text = f"{step['step']:>6}{loss:>12}{error_text(step['error']):>12}  {name}"
        lines.append(_judged(text, step["agrees"]))
    if len(listed) < len(steps):
        lines.append((f"... {len(steps)} steps in all, listed: the first and those with the largest errors", "dim"))
    return lines


def _free_running_lines(results: dict[str, Any]) -> list[Line]:
    free = results["free_running"]
    lines: list[Line] = [
        ("The whole run left to itself, and how far from float64 it ends:", "bold"),
        (
            f"{'':10}{'this backend':>14}{'NumPy float32':>16}{'one rounding':>14}{'ratio to the larger':>21}"
            f"  (allowed: {free['allowed']})",
            "dim",
        ),
    ]
    for name in ("losses", "weights"):
        row = free[name]
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2g}"
        distances = (row[key] for key in ("distance", "numpy_float32", "least"))
        here, numpy, least = ("-" if distance is None else f"{distance:.1e}" for distance in distances)
        lines.append(_judged(f"{name:10}{here:>14}{numpy:>16}{least:>14}{ratio:>21}", row["agrees"]))
    if results["repeat"] is not None:
        said = "ends with the same bits" if results["repeat"]["same_bits"] else "ends with other bits"
        lines.append(_judged(f"A second run, unobserved, {said}.", results["repeat"]["agrees"]))
    if results["stopped"] is not None:
        lines.append((f"It stopped: {clean(results['stopped'])}", "red"))
    return lines


def _judged(text: str, agrees: bool) -> Line:
    return (text.rstrip(), "") if agrees else (f"{text.rstrip()}  <- DISAGREES", "bold red")


def error_text(error: float | None) -> str:
    return "infinite" if error is None else "exact" if error == 0 else f"{error:.2g}"


def _size(error: float | None) -> float:
    return float("inf") if error is None else error
