"""Versions and device, as artifacts record them and as a bug report needs them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gpunet
from gpunet.machine import processor_name

_PACKAGES = ("numpy", "scikit-learn", "matplotlib", "pillow", "safetensors")


def versions() -> dict[str, str | None]:
    """Versions of gpunet, Python, the system, what results depend on, and NumPy's BLAS; None for what is missing."""
    found: dict[str, str | None] = {"gpunet": gpunet.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    blas = _blas()
    found["blas"] = f"{blas['internal_api']} {blas['version'] or '(version unknown)'}" if blas else None
    found["system"] = platform.platform()
    return found


def device(ops: Any) -> dict[str, Any]:
    """What computed: the backend, and its device or the processor with the threads that BLAS may use at most."""
    from gpunet.ops import NumpyOps

    if not isinstance(ops, NumpyOps):
        return {"backend": ops.name, "device": ops.device_name}
    blas = _blas()
    found = {
        "backend": ops.name,
        "processor": processor_name(),
        "blas_threads": blas["num_threads"] if blas else None,
    }
    if ops.name == "jit":
        found["numba"] = version("numba")
    return found


def _blas() -> dict[str, Any] | None:
    """threadpoolctl's entry for the BLAS that NumPy calls; SciPy's wheels bring another."""
    import numpy  # noqa: F401  (threadpoolctl sees only what is loaded)
    from threadpoolctl import threadpool_info

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in libraries if "numpy" in library["filepath"]]
    return next(iter(own or libraries), None)
