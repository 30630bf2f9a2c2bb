"""The memory that training takes on a data set larger than the memory it is given.

    python benchmarks/bench_memory.py [--images 5350000] [--max-memory 512MB] [--backend numpy jit] [--epochs 1]

A data set of that many made-up images (uint8, 784 pixels: 4.2 GB) is written to a temporary folder, and a run of exp2's
network trains on it, judges itself on its test images and writes all its files, as `gpunet train --max-memory` does:
a process of its own for each backend. Its peak is the system's own figure (VmHWM; elsewhere the largest resident
size), and what it has before, with Python and all libraries loaded by a run on a few images, is taken off. Pages of the
file that the system keeps in its cache are nobody's memory, and are given up when somebody needs them.

First, a run on as many of the images as memory holds must leave the same bits whether it reads them from the file or
has them in memory; otherwise nothing is written and the exit status is 1. It is 1 as well where a peak exceeds what was
given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import about_this_machine, positive, results_path, write_results

from gpunet.data import PIXELS
from gpunet.data.npy_folder import IMAGES_FILE, LABELS_FILE
from gpunet.errors import InputError
from gpunet.memory_limit import byte_count, size_text

PACKAGES = ("numpy", "scikit-learn", "numba")
CLASSES = 10
BLOCK = 20_000  # images that are made; the file repeats them
COMPARED = 20_000  # images on which both ways must leave the same bits
WARM_UP = 2_000
EVERYTHING = "1TB"  # a limit that is none
BATCH_SIZE = 1024
IMAGES = 5_350_000


def write_data(folder: Path, count: int) -> Path:
    """A folder of so many images, in classes that can be told apart."""
    rng = np.random.default_rng(0)
    patterns = rng.random((CLASSES, PIXELS), np.float32) ** 2
    labels = np.arange(count) % CLASSES
    block = 255 * patterns[labels[:BLOCK]] * rng.uniform(0.3, 1, (min(count, BLOCK), PIXELS)).astype(np.float32)
    block = block.astype(np.uint8)
    folder.mkdir(parents=True)
    np.save(folder / LABELS_FILE, labels.astype(np.uint8))
    with open(folder / IMAGES_FILE, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, PIXELS)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, BLOCK):
            file.write(block[: count - start])
    return folder


def resident_bytes(*, peak: bool) -> int:
    """The memory that this process has, or the most that it has had; always the latter where there is no /proc."""
    name = "VmHWM:" if peak else "VmRSS:"
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        import resource  # which Windows has not

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Train on a few images and then on all, in this process. task: the arguments of `ask`."""
    from gpunet.reporting.artifacts import write_artifacts
    from gpunet.runs import RunConfig, run

    def train(data: str, max_memory: str, limit: int | None = None) -> Any:
        options = {"backend": task["backend"], "epochs": task["epochs"], "batch_size": BATCH_SIZE, "limit": limit}
        config = RunConfig.from_experiment("multiclass", "exp2", data=data, **options)
        with tempfile.TemporaryDirectory() as folder:
            result = run(config, max_memory=byte_count(max_memory))
            write_artifacts(result, Path(folder))
        return result

    train(task["warm_up"], EVERYTHING)
    before = resident_bytes(peak=False)
    began = time.perf_counter()
    result = train(task["data"], task["max_memory"])
    return {
        "streamed": result.dataset.is_streamed,
        "before_bytes": before,
        "peak_bytes": resident_bytes(peak=True),
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_by_phase": {name: round(seconds, 1) for name, seconds in result.seconds.items()},
        "test_accuracy": result.test.accuracy,
        "parameters": hashlib.sha256(result.network.ops.to_host(result.network.parameters).tobytes()).hexdigest(),
    }


def ask(**task: Any) -> dict[str, Any]:
    """`measure` in a process of its own. backend, data, warm_up, max_memory, epochs. Raises InputError if it fails."""
    threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, __file__, "--measure", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
    if done.returncode:
        raise InputError(f"{task['backend']}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(backend: str, folder: Path, warm_up: Path, epochs: int) -> None:
    """Raise InputError unless a run that reads its images from a file ends as one that has them in memory."""
    common = {"backend": backend, "data": str(folder), "warm_up": str(warm_up), "epochs": epochs}
    size = COMPARED * PIXELS
    streamed, loaded = (ask(max_memory=f"{limit}B", **common) for limit in (2 * size, 100 * size))
    if not streamed["streamed"] or loaded["streamed"]:
        raise InputError(f"{backend}: the two runs to be compared read their images in the same way")
    if streamed["parameters"] != loaded["parameters"] or streamed["test_accuracy"] != loaded["test_accuracy"]:
        raise InputError(f"{backend}: a run on images in a file ends otherwise than one on images in memory")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.measure is not None:
        print(json.dumps(measure(json.loads(arguments.measure))))
        return 0
    try:
        results = _measure_all(arguments)
    except (InputError, OSError) as error:  # such as no room for the images
        print(error, file=sys.stderr)
        return 1
    complete = arguments.images >= IMAGES
    path = arguments.out or results_path("memory", None, complete=complete)
    write_results(path, results)
    print(f"written: {path}")
    return 0 if all(row["beyond_bytes"] <= results["max_memory_bytes"] for row in results["runs"].values()) else 1


def _measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    limit = byte_count(arguments.max_memory)
    results = about_this_machine(1, PACKAGES) | {
        "images": arguments.images,
        "data_bytes": arguments.images * PIXELS,
        "max_memory_bytes": limit,
        "epochs": arguments.epochs,
        "batch_size": BATCH_SIZE,
        "runs": {},
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        few, some, all_images = (
            str(write_data(Path(folder) / str(count), count)) for count in (WARM_UP, COMPARED, arguments.images)
        )
        print(f"{arguments.images:,} images, {size_text(results['data_bytes'])}; {size_text(limit)} given")
        for backend in arguments.backend:
            compare(backend, Path(some), Path(few), arguments.epochs)
            task = {"data": all_images, "warm_up": few, "max_memory": arguments.max_memory, "epochs": arguments.epochs}
            row = ask(backend=backend, **task)
            row["beyond_bytes"] = row["peak_bytes"] - row["before_bytes"]
            results["runs"][backend] = row
            print(
                f"{backend}: peak {size_text(row['peak_bytes'])}, of which {size_text(row['before_bytes'])} before, so "
                f"{size_text(row['beyond_bytes'])} for the run; {row['seconds']:g} s, "
                f"{'from the file' if row['streamed'] else 'in memory'}"
            )
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=positive, default=IMAGES, metavar="N", help=f"(default {IMAGES:,}: 4.2 GB)")
    parser.add_argument("--max-memory", default="512MB", metavar="SIZE", help="as of gpunet train (default 512MB)")
    parser.add_argument("--backend", nargs="+", default=["numpy", "jit"], help="(default: numpy jit)")
    parser.add_argument("--epochs", type=positive, default=1, metavar="N", help="(default 1)")
    parser.add_argument("--folder", type=Path, help="where the images are written meanwhile (default: the system's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="results file (default: results/memory-cpu.json)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
