"""Each operation of a training step by itself: gpunet's kernel beside NumPy, CuPy and the device's limits.

    python benchmarks/bench_kernels.py [--quick] [--only dense_forward ...] [--out benchmarks/results/kernels-cpu.json]

Contenders, all in float32 and of the same operation (operations/cases.py):

    NumPy       NumpyOps on this machine's CPU, its data in the caches, as in training
    kernel      CudaOps: the hand-written kernel, or the kernels, of which the operation consists there
    CuPy        cuBLAS products and array expressions, as a user of CuPy would write them (operations/in_cupy.py)
    cuBLAS      the product alone, where the operation has one
    floor       what the device needs at the least for the bytes and operations that nothing can spare

Before anything is timed, what it computes is compared with float64, within bounds that follow from the lengths of the
sums; what is not equal is not timed, and the exit status is 1.

Times on a device are the device's own, by events: Python's share of a launch is in none of them, and the L2 cache is
flushed before each sample (device_clock.py). Small cases are also timed "again": twenty calls in a row, the data where
the call before left it, as in training; the kernels' are in one CUDA graph. Figures are medians, with the 20th and 80th
percentile. Where no device is, NumPy is timed alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from device_clock import Device, HostTooSlow, find_device
from measuring import about_this_machine, host_times, percentiles, positive, results_path, write_results
from operations.case import Case, Prepared
from operations.cases import CASES
from operations.figure import write_figure
from threadpoolctl import threadpool_info

from gpunet.errors import InputError
from gpunet.ops import NumpyOps

IN_A_ROW = 20  # calls, of which one graph is made
SMALL = 20_000_000  # floating-point operations of a case at most; the reports' shapes have up to 13 million


class NotEqual(Exception):
    """A contender computes something else, so there is nothing to time."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.figure is not None:
            return _redraw(options.figure)
        cases = chosen_cases(options.only, quick=options.quick)
    except InputError as error:
        print(f"bench_kernels: {error}", file=sys.stderr)
        return 2
    device = find_device(options.device)
    if isinstance(device, str):
        print(f"No GPU is used, because {device}: only NumPy is timed, and nothing here was measured on a GPU.")
        device = None
    samples = options.samples or (5 if options.quick else 30)
    results: dict[str, Any] = {
        "what": "single operations, microseconds a call",
        "complete": len(cases) == len(CASES),
        "machine": about_this_machine(_blas_threads(), ("numpy",)),
        "device": device.facts if device else None,
        "ceiling": device.ceiling._asdict() if device and device.ceiling else None,
        "samples": samples,
        "rows": [],
    }
    status = 0
    try:
        for case in cases:
            results["rows"].append(measure(case, device, samples))
            show(results["rows"][-1])
    except NotEqual as error:
        print(f"bench_kernels: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "the cases measured so far are kept" if results["rows"] else "nothing was measured"
        print(f"\nbench_kernels: interrupted; {kept}", file=sys.stderr)
        results["complete"], status = False, 130
        if not results["rows"]:
            return status
    path = options.out or default_path(results)
    write_results(path, results)
    figure = path.with_suffix(".png")
    write_figure(results, figure)
    print(f"\nwritten: {path}\nwritten: {figure}")
    return status


def chosen_cases(only: Sequence[str] | None, *, quick: bool) -> list[Case]:
    """The cases whose title holds one of the words. Raises `InputError` for a word that none of them holds."""
    cases = [case for case in CASES if not quick or case.flops <= SMALL]
    for word in only or ():
        if not any(word in case.title for case in cases):
            kernels = ", ".join(dict.fromkeys(case.kernel for case in cases))
            raise InputError(
                f"--only {word}: no case is called so; give a kernel ({kernels}) or a shape such as 128 x 784"
            )
    return [case for case in cases if not only or any(word in case.title for word in only)]


def measure(case: Case, device: Device | None, samples: int) -> dict[str, Any]:
    """A row of the results file: the case, each contender's error in units of its bound, and microseconds a call.

    Raises `NotEqual` if one of them computes something else.
    """
    inputs = case.draw()
    expected = case.expected(inputs)
    ops = NumpyOps()
    errors: dict[str, float] = {}
    times: dict[str, list[float]] = {}

    def check(name: str, prepared: Prepared, to_host: Callable[[Any], Any]) -> None:
        for launch in prepared.launches:
            launch()
        found = {key: expected[key].error(to_host(result)) for key, result in prepared.results.items()}
        worst = max(found, key=found.get)
        if not found[worst] <= 1:
            raise NotEqual(
                f"{case.title}: {worst} by {name} is off by {found[worst]:.3g} times its bound; nothing of it is timed"
            )
        errors[name] = found[worst]

    prepared = case.on(ops, inputs)
    check("NumPy", prepared, ops.to_host)
    # Limiting BLAS's threads takes as long as a small operation, and is done once an epoch.
    calls = IN_A_ROW if case.flops <= SMALL else 1
    run = ops.capture(prepared.launches * calls, case.largest_product)
    times["NumPy"] = [each / calls for each in host_times(run, samples, patience=1.0)]
    if device is not None:
        times |= _device_times(case, device, inputs, samples, check)
    ceiling = device.ceiling if device else None
    return {
        "kernel": case.kernel,
        "shape": case.shape,
        "detail": case.detail,
        "flops": case.flops,
        "bytes": case.bytes,
        "floor_us": round(ceiling.floor(case.flops, case.bytes), 3) if ceiling else None,
        "errors": {name: round(error, 4) for name, error in errors.items()},
        "us": {name: percentiles(values) for name, values in times.items()},
    }


def _device_times(
    case: Case, device: Device, inputs: dict[str, Any], samples: int, check: Callable[..., None]
) -> dict[str, list[float]]:
    ops, cupy, clock = device.ops, device.cupy, device.clock
    with ops.cupy_stream:
        ours, theirs = case.on(ops, inputs), case.in_cupy(cupy, inputs)
        check("kernel", ours, ops.to_host)
        check("CuPy", theirs, cupy.asnumpy)
        times = {
            "kernel": clock.times(_one_after_another(ours.launches), samples),
            "CuPy": clock.times(_one_after_another(theirs.launches), samples),
        }
        if case.flops <= SMALL:
            again = {
                "kernel, again": ops.capture(ours.launches * IN_A_ROW, calls=samples),
                "CuPy, again": _one_after_another(theirs.launches * IN_A_ROW),
            }
            for name, run in again.items():
                with suppress(HostTooSlow):  # many small launches of CuPy's in a row: their time would be the host's
                    times[name] = clock.times(run, samples, calls=IN_A_ROW, warm=True)
        if theirs.product is not None:
            times["cuBLAS"] = clock.times(theirs.product, samples)
    return times


def _one_after_another(launches: Sequence[Callable[[], Any]]) -> Callable[[], None]:
    def run() -> None:
        for launch in launches:
            launch()

    return run


def default_path(results: dict[str, Any]) -> Path:
    """benchmarks/results/kernels-<cpu or the device's name>.json, with "-part" where cases were left out."""
    device = results["device"]
    return results_path("kernels", device and device["device"], complete=results["complete"])


def show(row: dict[str, Any]) -> None:
    """A row on the console: each contender's time, and what it makes of it."""
    print(f"\n{row['kernel']} {row['shape']}" + (f", {row['detail']}" if row["detail"] else ""))
    numpy = row["us"]["NumPy"]["median"]
    for name, times in row["us"].items():
        rates = (
            f"{row['flops'] / times['median'] / 1e3:>9.1f} GFLOP/s {row['bytes'] / times['median'] / 1e3:>8.1f} GB/s"
        )
        faster = "" if name == "NumPy" else f" {numpy / times['median']:>8.1f} x NumPy"
        spread = f"({times['p20']:.1f} to {times['p80']:.1f})"
        print(f"  {name:<14}{times['median']:>11.1f} us {spread:<24}" + ("" if name == "cuBLAS" else rates + faster))
    if "cuBLAS" in row["us"]:
        print(f"  {'of cuBLAS':<14}{row['us']['cuBLAS']['median'] / row['us']['kernel']['median']:>11.0%}")
    if row["floor_us"] is not None:
        print(f"  {'floor':<14}{row['floor_us']:>11.1f} us")


def _blas_threads() -> int:
    """As many as BLAS may take; NumpyOps gives small products fewer."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def _redraw(path: Path) -> int:
    try:
        results = json.loads(path.read_text())
        write_figure(results, path.with_suffix(".png"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--figure {path}: not a results file of this benchmark ({error})") from error
    print(f"written: {path.with_suffix('.png')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help='kernels or shapes, such as dense_head or "128 x 784"'
    )
    parser.add_argument("--quick", action="store_true", help="the small cases alone, five samples each")
    parser.add_argument("--samples", type=positive, metavar="N", help="of each contender at most (default 30)")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="which GPU, counted from 0 (default 0)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="results file (JSON; the figure goes beside it; default: benchmarks/results/kernels-<cpu or device>.json, "
        "with -part in its name after --quick or --only)",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="measure nothing; draw a results file's figure anew"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
