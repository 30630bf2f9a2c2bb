"""Where `CudaOps` keeps its arrays, and how kernels are given them: on a device through CuPy, or for Numba's
simulator in NumPy. CuPy is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from gpunet.kernels.launch import Launch
from gpunet.ops import host_memory


def span(array: Any) -> int:
    """Elements from an array's first to its last, those that a strided view skips included."""
    if array.size == 0:
        return 0
    steps = zip(array.shape, array.strides, strict=True)
    return 1 + sum((count - 1) * (stride // array.itemsize) for count, stride in steps)


class SimulatorMemory:
    """NumPy arrays, for kernels that Numba's simulator runs."""

    device_name = "Numba's CUDA simulator"
    stream = 0

    def __init__(self) -> None:
        self.have_run: set[Any] = set()  # kernels

    def zeros(self, shape: Sequence[int] | int, dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def asarray(self, values: Any, dtype: Any) -> np.ndarray:
        return np.array(values, dtype=dtype, order="C")

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def available_bytes(self) -> int:
        return host_memory.available_bytes()

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def flat(self, array: np.ndarray, length: int | None = None) -> Any:
        """The memory from an array's first element to its last, or of that length, as one dimension.

        Wrapped as the simulator's device array, since it would copy a NumPy array in and out at every launch.
        """
        from numba.cuda.cudadrv.devicearray import FakeCUDAArray

        line = np.lib.stride_tricks.as_strided(array, (length or span(array),), (array.itemsize,))
        return FakeCUDAArray(line)

    def forget_wrappers(self) -> None:
        """Nothing is kept here."""

    def prepared(self, launches: Sequence[Launch]) -> list[Callable[[], None]]:
        """What makes each of these launches when it is called."""
        return [partial(launch, self.stream) for launch in launches]

    def graph(self, calls: Sequence[Callable[[], None]]) -> None:
        """None: the simulator has no graphs."""


class DeviceMemory:
    """CuPy arrays on one device, and the stream on which everything is done with them."""

    def __init__(self, device: int) -> None:
        import cupy
        from numba import cuda

        self._cupy, self._cuda = cupy, cuda
        self._device = device
        cupy.cuda.Device(device).use()
        cuda.select_device(device)
        self.device_name = cupy.cuda.runtime.getDeviceProperties(device)["name"].decode()
        # Not the default stream, which cannot be captured; but one that waits for it, and that it waits for, so that
        # people may use arrays of this memory in CuPy as they are.
        self.cupy_stream = cupy.cuda.Stream(non_blocking=False)
        self.stream = cuda.external_stream(self.cupy_stream.ptr)
        self.have_run: set[Any] = set()  # kernels
        self._wrapped: dict[tuple[int, int, str], Any] = {}  # by address, length and type
        self._known: dict[tuple[int, int | None], tuple[Any, Any]] = {}  # by identity: the array, kept, and its wrapper

    def zeros(self, shape: Sequence[int] | int, dtype: Any) -> Any:
        with self.cupy_stream, self._enough_memory():
            return self._cupy.zeros(shape, dtype)

    def asarray(self, values: Any, dtype: Any) -> Any:
        with self.cupy_stream, self._enough_memory():
            return self._cupy.array(values, dtype=dtype, order="C")

    def to_host(self, array: Any) -> np.ndarray:
        with self.cupy_stream:
            return array.get()

    def available_bytes(self) -> int:
        """What the device has free, and what CuPy's pool holds ready for the next arrays."""
        return self._cupy.cuda.runtime.memGetInfo()[0] + self._cupy.get_default_memory_pool().free_bytes()

    def address(self, array: Any) -> int:
        return array.data.ptr

    def flat(self, array: Any, length: int | None = None) -> Any:
        """The memory from an array's first element to its last, or of that length, as a Numba array of one dimension.

        Wrapped once and kept until `forget_wrappers`. Numba is told not to wait for the array's stream, which is
        the kernel's own.
        """
        known = self._known.get((id(array), length))
        if known is not None:
            return known[1]
        key = (array.data.ptr, length or span(array), array.dtype.char)
        wrapped = self._wrapped.get(key)
        if wrapped is None:
            line = self._cupy.ndarray((key[1],), array.dtype, memptr=array.data)
            wrapped = self._wrapped[key] = self._cuda.as_cuda_array(line, sync=False)
        self._known[id(array), length] = array, wrapped
        return wrapped

    def forget_wrappers(self) -> None:
        """Let go of arrays that nothing but their wrappers keeps alive."""
        self._wrapped.clear()
        self._known.clear()

    def prepared(self, launches: Sequence[Launch]) -> list[Callable[[], None]]:
        """What makes each of these launches when it is called. Compiles their kernels and loads them."""
        from gpunet.kernels.packed_launch import Packer

        packer = Packer(self.cupy_stream.ptr)
        return [packer.packed(launch) for launch in launches]

    def graph(self, calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """Capture prepared launches, all of kernels that have run before, in a CUDA graph. Returns what replays it."""
        stream = self.cupy_stream
        with self._cuda.defer_cleanup():  # freeing memory is not allowed while a stream captures
            stream.begin_capture()
            try:
                for call in calls:
                    call()
            finally:
                graph = stream.end_capture()
        return partial(graph.launch, stream)

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise MemoryError(
                f"device {self._device}, {self.device_name}, has {free / 2**30:.1f} GB of {total / 2**30:.1f} GB left"
            ) from error
