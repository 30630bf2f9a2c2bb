"""Device memory on a stand-in for CuPy and Numba: what is asked of them, on which stream, and what is said when memory
ends. How CuPy itself answers, tests/gpu sees.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba.cuda")

from gpunet.ops.device_memory import DeviceMemory, span


class OutOfMemoryError(MemoryError):
    """Stands for cupy.cuda.memory.OutOfMemoryError."""


class Stream:
    """A stream that knows whether it is current, and what was captured on it."""

    ptr = 7
    current = None

    def __init__(self, non_blocking=False):
        self.non_blocking, self.capturing, self.events = non_blocking, False, []

    def __enter__(self):
        Stream.current, self._outer = self, Stream.current
        return self

    def __exit__(self, *exception):
        Stream.current = self._outer

    def begin_capture(self):
        self.capturing = True

    def end_capture(self):
        self.capturing = False
        return SimpleNamespace(launch=lambda stream: self.events.append(("replayed on", stream)))


class Array:
    """A NumPy array with what CuPy's have besides, made on a stream."""

    def __init__(self, values):
        self.values, self.stream = values, Stream.current
        self.shape, self.strides, self.dtype, self.itemsize = (
            values.shape,
            values.strides,
            values.dtype,
            values.itemsize,
        )
        self.size, self.data = values.size, SimpleNamespace(ptr=values.ctypes.data)

    def __getitem__(self, index):
        return Array(self.values[index])

    def get(self):
        assert Stream.current is not None
        return self.values.copy()


@pytest.fixture
def cupy(monkeypatch):
    module, cuda = ModuleType("cupy"), ModuleType("numba.cuda")
    device = SimpleNamespace(use=lambda: None)
    module.cuda = SimpleNamespace(
        Device=lambda number: device,
        Stream=Stream,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            getDeviceProperties=lambda number: {"name": b"Tesla T4"}, memGetInfo=lambda: (3 << 29, 15 << 30)
        ),
    )
    module.zeros = lambda shape, dtype: Array(np.zeros(shape, dtype))
    module.array = lambda values, dtype, order: Array(np.array(values, dtype=dtype, order=order))
    module.ndarray = lambda shape, dtype, memptr: SimpleNamespace(shape=shape, dtype=dtype, ptr=memptr.ptr)
    module.wrapped = []

    def as_cuda_array(line, sync):
        assert sync is False
        module.wrapped.append(line)
        return line

    @contextmanager
    def defer_cleanup():
        module.deferred = True
        yield
        module.deferred = False

    cuda.select_device = lambda number: None
    cuda.external_stream = lambda pointer: ("stream", pointer)
    cuda.as_cuda_array, cuda.defer_cleanup = as_cuda_array, defer_cleanup
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "numba.cuda", cuda)
    monkeypatch.setattr(sys.modules["numba"], "cuda", cuda)
    return module


def test_device_memory_does_everything_on_one_stream_of_its_own(cupy):
    memory = DeviceMemory(0)
    zeros, array = memory.zeros((2, 3), np.float32), memory.asarray([[1, 2]], np.int32)
    assert zeros.stream is array.stream is not None and not zeros.stream.non_blocking
    assert memory.stream == ("stream", Stream.ptr) and memory.device_name == "Tesla T4"
    np.testing.assert_array_equal(memory.to_host(array), [[1, 2]])


def test_device_memory_wraps_each_buffer_once_until_it_forgets(cupy):
    memory = DeviceMemory(0)
    array = memory.zeros((3, 8), np.float32)
    columns = array[:, 2:5]
    first = memory.flat(columns)
    assert first.shape == (2 * 8 + 3,) == (span(columns),) and first.ptr == columns.data.ptr
    assert memory.flat(array[:, 2:5]) is first and len(cupy.wrapped) == 1
    assert memory.flat(array) is not first and memory.flat(columns, 4).shape == (4,)
    memory.forget_wrappers()
    assert memory.flat(columns) is not first


@pytest.mark.parametrize("make", ["zeros", "array"])
def test_device_memory_says_how_much_is_left_when_it_ends(cupy, make):
    def fail(*arguments, **options):
        raise OutOfMemoryError("Out of memory allocating 1,024 bytes (allocated so far: 0 bytes).")

    setattr(cupy, make, fail)
    memory = DeviceMemory(1)
    with pytest.raises(MemoryError, match=r"^device 1, Tesla T4, has 1.5 GB of 15.0 GB left$"):
        memory.zeros(256, np.float32) if make == "zeros" else memory.asarray([1.0], np.float32)


def test_device_memory_captures_launches_on_its_stream(cupy):
    memory, made = DeviceMemory(0), []
    replay = memory.graph([lambda: made.append((memory.cupy_stream.capturing, cupy.deferred))] * 2)
    assert made == [(True, True)] * 2
    assert not memory.cupy_stream.capturing and not cupy.deferred
    replay()
    assert memory.cupy_stream.events == [("replayed on", memory.cupy_stream)]


def test_device_memory_ends_a_capture_that_fails(cupy):
    def fails():
        raise RuntimeError("not permitted")

    memory = DeviceMemory(0)
    with pytest.raises(RuntimeError, match="not permitted"):
        memory.graph([fails])
    assert not memory.cupy_stream.capturing
