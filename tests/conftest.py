"""Where no CUDA device is, kernels run in Numba's simulator; Numba reads its variable when it is first imported."""

import ctypes
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gpunet.ops import NumpyOps


def cuda_devices() -> int:
    """How many devices the driver reports; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


# What is compiled here is kept for the next time, but not among what its user has compiled.
os.environ.setdefault("GPUNET_CACHE", str(Path(tempfile.gettempdir(), "gpunet-tests-compiled")))
if cuda_devices() == 0:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"


def pytest_collection_modifyitems(items):
    """Tests marked gpu are skipped where there is no device."""
    if cuda_devices() == 0:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


# The backends that operations are held on.
BACKENDS = {
    "numpy-float32": lambda: NumpyOps(np.float32),
    "numpy-float64": lambda: NumpyOps(np.float64),
    "jit-float32": lambda: pytest.importorskip("gpunet.ops.jit_ops").JitOps(np.float32),  # skipped without Numba
}


@pytest.fixture(params=BACKENDS)
def ops(request):
    """Each backend in turn. Tests hand it host arrays through `asarray` and read results through `to_host`."""
    return BACKENDS[request.param]()
