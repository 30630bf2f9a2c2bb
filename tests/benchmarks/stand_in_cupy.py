"""NumPy in CuPy's place, and an operations class in CudaOps' place: enough to try what a benchmark asks of a device.

Times taken on it mean nothing.
"""

from __future__ import annotations

import time
from types import ModuleType, SimpleNamespace

import device_clock
import numpy as np

from gpunet.ops import NumpyOps

NAME = "a stand-in, which is no device"


class Stream:
    """Knows whether it is current; work is done as soon as it is enqueued."""

    def __init__(self):
        self.depth = 0

    def __enter__(self):
        self.depth += 1
        return self

    def __exit__(self, *exception):
        self.depth -= 1

    def synchronize(self):
        assert self.depth


class Event:
    """late: how many events to come find the device idle before the host has enqueued everything."""

    late = 0

    def record(self, stream):
        assert stream.depth, "recorded on a stream that is not current"
        self.at = time.perf_counter()

    def synchronize(self):
        assert self.at

    @property
    def done(self):
        Event.late -= 1
        return Event.late >= 0


class Cupy(ModuleType):
    """cupy: NumPy's functions, and the few that are CuPy's own."""

    __version__ = "0"

    def __init__(self):
        super().__init__("cupy")
        # 10^-4 more, since two events may have the same time here
        elapsed = SimpleNamespace(get_elapsed_time=lambda start, stop: 1e3 * (stop.at - start.at) + 1e-4)
        self.cuda = SimpleNamespace(Event=Event, **vars(elapsed))
        self.flushes = 0

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def asnumpy(array):
        return np.array(array)


class DeviceOps(NumpyOps):
    name = "cuda"
    device_name = NAME

    def __init__(self):
        super().__init__(np.float32)
        self.cupy_stream = Stream()


def device(ops=None):
    """What `find_device` returns where there is a device."""
    ops, cupy = ops or DeviceOps(), Cupy()
    facts = {"device": NAME, "CUDA of CuPy": "0.0", "cupy": "0", "numba-cuda": "0"}
    return device_clock.Device(ops, cupy, device_clock.DeviceClock(cupy, ops.cupy_stream, 0), facts)
