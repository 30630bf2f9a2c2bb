"""`gpunet doctor`: what a bug report needs to say about the machine. Whatever cannot be found out says why."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import gpunet
from gpunet.cli.parser import Parser
from gpunet.machine import processor_name

CORE_PACKAGES = (
    "numpy",
    "threadpoolctl",
    "scikit-learn",
    "matplotlib",
    "pillow",
    "rich",
    "safetensors",
    "platformdirs",
    "filelock",
    "gdown",
)
OPTIONAL_PACKAGES = ("cupy", "numba", "numba-cuda", "torch", "mlxtend")
CUPY_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "cupy")  # one module, a distribution for each CUDA
VARIABLES = (  # besides GPUNET_*: what else decides threads and devices
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "NUMBA_ENABLE_CUDASIM",
)
SMI_QUERY = ("--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader")
SMI_SECONDS = 1.5  # a driver that sleeps can take longer, but then that is what to report
DRIVER_FILE = Path("/proc/driver/nvidia/version")
NOT_INSTALLED = "not installed"


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description="Print what a bug report needs. Reads only; nothing is downloaded or changed."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(arguments: argparse.Namespace) -> int:
    findings = {title: _asked(question) for title, question in QUESTIONS.items()}
    print(json.dumps(findings, indent=2) if arguments.json else _as_text(findings))
    return 0


def _asked(question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, or why there is none: a doctor that falls ill helps nobody."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 (whatever it is, it belongs in the report)
        return {"could not be found out": f"{type(error).__name__}: {error}"}


def _as_text(findings: dict[str, dict[str, Any]]) -> str:
    width = max(len(name) for answer in findings.values() for name in answer)
    lines = []
    for title, answer in findings.items():
        lines.append(title)
        for name, value in answer.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"  {'' if index else name:{width}}  {each}" for index, each in enumerate(values)]
    return "\n".join(lines)


def _system() -> dict[str, Any]:
    return {
        "gpunet": gpunet.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": _cores(),
    }


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} of {os.cpu_count()} usable"


def _packages() -> dict[str, Any]:
    return {name: _version(name) for name in CORE_PACKAGES}


def _optional_packages() -> dict[str, Any]:
    return {name: _cupy_version() if name == "cupy" else _version(name) for name in OPTIONAL_PACKAGES}


def _version(distribution: str) -> str:
    """From the metadata, because importing some of these takes seconds and starts devices."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _cupy_version() -> str:
    found = [f"{_version(name)} ({name})" for name in CUPY_PACKAGES if _version(name) != NOT_INSTALLED]
    return " and ".join(found) or NOT_INSTALLED  # two at once break each other: worth seeing


def _blas() -> dict[str, Any]:
    import numpy  # noqa: F401 (loads the libraries that are asked for next)
    import threadpoolctl

    libraries = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    described = [
        f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
        + (f", for {library['architecture']}" if library.get("architecture") else "")
        for library in libraries
    ]
    return {"blas": described or "none that threadpoolctl knows"}


def _devices() -> dict[str, Any]:
    driver = _driver_file()
    try:
        return {"nvidia": _ask_nvidia_smi()}
    except (OSError, RuntimeError) as error:
        reason = "there is no nvidia-smi on the PATH" if isinstance(error, FileNotFoundError) else str(error)
    if driver is None:
        return {"nvidia": f"none found ({reason}, and no driver in {DRIVER_FILE})"}
    return {"nvidia": f"a driver, but no device seen ({reason})", "driver": driver}


def _ask_nvidia_smi() -> list[str]:
    """A line a device. Raises RuntimeError with the reason if there is none, OSError if nvidia-smi cannot be run."""
    # Not subprocess.run: after a timeout it waits for the end of the process, which a broken driver never lets come.
    process = subprocess.Popen(
        ["nvidia-smi", *SMI_QUERY], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        said = process.communicate(timeout=SMI_SECONDS)[0].strip().splitlines()
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"nvidia-smi did not answer within {SMI_SECONDS} s") from None
    if process.returncode != 0 or not said:
        raise RuntimeError(f"nvidia-smi: {said[0] if said else f'exit status {process.returncode}'}")
    return said


def _driver_file() -> str | None:
    try:
        return DRIVER_FILE.read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return None


def _kernels() -> dict[str, Any]:
    """Whether they can run, found out as `--backend cuda` does; this alone loads CuPy, and only where it is."""
    from gpunet.ops.backend import device_facts, why_no_cuda

    reason = why_no_cuda()
    return {"can run": "yes", **device_facts()} if reason is None else {"can run": "no", "why not": reason}


def _data() -> dict[str, Any]:
    from gpunet.data.cache import cache_folder
    from gpunet.data.signs import cached_path

    path = cached_path()
    return {
        "cache": str(cache_folder()),
        "reports' file": f"{path.stat().st_size:,} bytes" if path.is_file() else "not cached",
    }


def _compiled_kernels() -> dict[str, Any]:
    from gpunet.kernels.kernel_cache import cache_folder, cache_size

    kernels, size = cache_size()
    held = f"{kernels:,} kernels, {size / 1e6:.1f} MB" if kernels else "empty"
    return {"cache": f"{cache_folder()} ({held})"}


def _variables() -> dict[str, Any]:
    names = [name for name in sorted(os.environ) if name.startswith("GPUNET_") or name in VARIABLES]
    return {name: os.environ[name] for name in names} or {"none": "of GPUNET_* and those for threads and devices"}


QUESTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "system": _system,
    "packages": _packages,
    "optional packages": _optional_packages,
    "threads": _blas,
    "devices": _devices,
    "kernels": _kernels,
    "data": _data,
    "compiled kernels": _compiled_kernels,
    "environment variables": _variables,
}
