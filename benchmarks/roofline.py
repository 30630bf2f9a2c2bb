"""A model of the T4 and the H100: what a training step of exp2 takes at the least, beside what was measured.

    python benchmarks/roofline.py [--out benchmarks/results/roofline.json]

The model counts operations, bytes and launches from the shapes and divides them by what each device can do at most
(model/step.py): its figures are modelled, not measured. Measured ones are taken from the results files of
bench_device.py, bench_population.py and gpu_check.py that lie in benchmarks/results; where there is none for a device,
that is what is said. Runs anywhere; no device is looked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from measuring import RESULTS, write_results
from model.figure import write_figure
from model.step import LIMITS, SHORT_NAMES, Limits, StepModel, largest_in_l2

from gpunet import __version__
from gpunet.errors import InputError

EXP2 = StepModel((784, 64, 10), rows=128, training_rows=3200)
POPULATIONS = (1, 16, 64, 256, 1024)
MODELLED = ("Tesla T4", "NVIDIA H100 80GB HBM3")  # and whatever else has been measured


class Measured(NamedTuple):
    """us: a step of all networks. file: in which it stands."""

    us: float
    file: str


def model_results(model: StepModel, measured: dict[tuple[str, int], Measured]) -> dict[str, Any]:
    """The results file. measured: by device and number of networks."""
    devices = [name for name in LIMITS if name in MODELLED or any(device == name for device, _ in measured)]
    return {
        "what": "the least time of a training step: modelled, not measured, except where it says measured",
        "date": date.today().isoformat(),
        "gpunet": __version__,
        "sizes": model.sizes,
        "batch_size": model.rows,
        "training_rows": model.training_rows,
        "kernels": [
            {**vars(kernel), "intensity": round(kernel.intensity, 2)} for kernel in (*model.kernels, model.whole)
        ],
        "devices": [device_results(model, name, LIMITS[name], measured) for name in devices],
    }


def device_results(
    model: StepModel, name: str, limits: Limits, measured: dict[tuple[str, int], Measured]
) -> dict[str, Any]:
    """What one device cannot beat, for each size of population."""
    rows = []
    for networks in POPULATIONS:
        floor = model.floor(networks, limits)
        found = measured.get((name, networks))
        copy = model.copy_us(networks, limits)
        rows.append(
            {
                "networks": networks,
                "modelled_us": {what: round(us, 3) for what, us in floor._asdict().items()},
                "modelled_kernels_us": {
                    kernel.name: round(model.kernel_floor(kernel, networks, limits).together, 3)
                    for kernel in model.kernels
                },
                "memory_at_a_copys_speed_us": None if copy is None else round(copy, 3),
                "flops": networks * model.whole.flops,
                "memory_bytes": model.memory_bytes(model.whole, networks, limits),
                "measured_us": None if found is None else found.us,
                "measured_in": None if found is None else found.file,
            }
        )
    return {
        "device": name,
        "name": SHORT_NAMES[name],
        "limits": {**limits.ceiling._asdict(), **{k: v for k, v in limits._asdict().items() if k != "ceiling"}},
        "most_networks_in_l2": largest_in_l2(model, limits),
        "rows": rows,
    }


def measured_steps(folder: Path, model: StepModel) -> dict[tuple[str, int], Measured]:
    """What results files say of steps of this network on a device, the fastest of each number of networks."""
    found: dict[tuple[str, int], Measured] = {}
    for path in sorted(folder.glob("*.json")):
        for device, networks, us in _device_steps(json.loads(path.read_text()), model):
            key = device, networks
            if key not in found or us < found[key].us:
                found[key] = Measured(us, path.name)
    return found


def _device_steps(results: Any, model: StepModel) -> Iterator[tuple[str, int, float]]:
    """(device, networks, microseconds) in one results file, whichever of the three it is; of others nothing."""
    if not isinstance(results, dict):
        return
    for part in results.get("parts", ()):  # gpu_check.py keeps the files of others
        yield from _device_steps(part.get("results"), model)
    facts = results.get("device")
    if not isinstance(facts, dict):
        return
    ours = "-".join(map(str, model.sizes)), model.rows
    for row in results.get("rows", ()):
        if "rate" in row:  # bench_population.py, by contender
            same = ("-".join(map(str, results["sizes"])), results["batch_size"]) == ours
            us = row["us_per_step"].get("gpunet (CUDA graph)")
        else:  # bench_device.py
            same = (row.get("network"), row.get("batch_size")) == ours and row["backend"] == "cuda"
            us = row.get("us_per_step")
        if same and us is not None:
            yield facts["device"], row["networks"], us["median"]


def show(results: dict[str, Any]) -> None:
    print(f"A step of {'-'.join(map(str, results['sizes']))}, batch {results['batch_size']}; modelled, in us:")
    for device in results["devices"]:
        heads = "".join(f"{head:>12}" for head in ("operations", "memory", "L2", "launches", "together"))
        print(f"\n{device['name']:<8}{heads}")
        for row in device["rows"]:
            figures = "".join(f"{us:>12.1f}" for us in row["modelled_us"].values())
            print(f"P = {row['networks']:<4}{figures}   {_measured(row)}")
        print(f"networks of which a step stays in the L2 cache: {device['most_networks_in_l2']} at most")


def _measured(row: dict[str, Any]) -> str:
    us, floor = row["measured_us"], row["modelled_us"]["together"]
    if us is None:
        return "not measured"
    return f"{us:.1f} measured" + (", less than modelled: the model is wrong" if us < floor else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / "roofline.json",
        metavar="FILE",
        help="results file (JSON; the figure goes beside it; default: benchmarks/results/roofline.json)",
    )
    parser.add_argument(
        "--measured",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="of results files (default: benchmarks/results)",
    )
    options = parser.parse_args(arguments)
    try:
        measured = read_measured(options.measured)
    except InputError as error:
        print(f"roofline: {error}", file=sys.stderr)
        return 2
    results = model_results(EXP2, measured)
    show(results)
    write_results(options.out, results)
    write_figure(results, options.out.with_suffix(".png"))
    print(f"\nwritten: {options.out}\nwritten: {options.out.with_suffix('.png')}")
    return 0


def read_measured(folder: Path) -> dict[tuple[str, int], Measured]:
    """`measured_steps` of exp2. Raises `InputError` for a folder that is none, or files that cannot be read."""
    if not folder.is_dir():
        raise InputError(f"--measured {folder}: there is no such folder")
    try:
        return measured_steps(folder, EXP2)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--measured {folder}: a file in it is no results file of the benchmarks ({error})") from error


if __name__ == "__main__":
    raise SystemExit(main())
