"""Where `CudaOps` keeps its arrays, and how kernels are given them: on a device through CuPy, or for Numba's
simulator in NumPy. CuPy is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def span(array: Any) -> int:
    """Elements from an array's first to its last, those that a strided view skips included."""
    if array.size == 0:
        return 0
    steps = zip(array.shape, array.strides, strict=True)
    return 1 + sum((count - 1) * (stride // array.itemsize) for count, stride in steps)


class SimulatorMemory:
    """NumPy arrays, for kernels that Numba's simulator runs."""

    device_name = "Numba's CUDA simulator"

    def zeros(self, shape: Sequence[int] | int, dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def asarray(self, values: Any, dtype: Any) -> np.ndarray:
        return np.array(values, dtype=dtype, order="C")

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def flat(self, array: np.ndarray, length: int | None = None) -> Any:
        """The memory from an array's first element to its last, or of that length, as one dimension.

        Wrapped as the simulator's device array, since it would copy a NumPy array in and out at every launch.
        """
        from numba.cuda.cudadrv.devicearray import FakeCUDAArray

        line = np.lib.stride_tricks.as_strided(array, (length or span(array),), (array.itemsize,))
        return FakeCUDAArray(line)


class DeviceMemory:
    """CuPy arrays on one device."""

    def __init__(self, device: int) -> None:
        import cupy
        from numba import cuda

        self._cupy, self._cuda = cupy, cuda
        self._device = cupy.cuda.Device(device)
        self._device.use()
        cuda.select_device(device)
        self.device_name = cupy.cuda.runtime.getDeviceProperties(device)["name"].decode()
        self._wrapped: dict[tuple[int, int, str], Any] = {}

    def zeros(self, shape: Sequence[int] | int, dtype: Any) -> Any:
        return self._cupy.zeros(shape, dtype)

    def asarray(self, values: Any, dtype: Any) -> Any:
        return self._cupy.array(values, dtype=dtype, order="C")

    def to_host(self, array: Any) -> np.ndarray:
        return self._cupy.asnumpy(array)

    def address(self, array: Any) -> int:
        return array.data.ptr

    def flat(self, array: Any, length: int | None = None) -> Any:
        """The memory from an array's first element to its last, or of that length, as a Numba array of one dimension.

        Wrapped once and kept: a CuPy array handed to a kernel as it is would make Numba wait for the array's stream.
        """
        key = (array.data.ptr, length or span(array), array.dtype.char)
        wrapped = self._wrapped.get(key)
        if wrapped is None:
            if len(self._wrapped) >= 4096:  # wrappers keep their memory alive: those of runs long past go
                self._wrapped.clear()
            line = self._cupy.ndarray((key[1],), array.dtype, memptr=array.data)
            wrapped = self._wrapped[key] = self._cuda.as_cuda_array(line, sync=False)
        return wrapped
