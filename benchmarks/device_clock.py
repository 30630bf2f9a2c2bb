"""The device: what it is, what it can do at most, and how long its work takes there."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from measuring import version_of

from gpunet.errors import InputError
from gpunet.ops.backend import device_facts, make_backend, why_no_cuda

SMALLEST_FLUSH = 2**26  # bytes
MOST_FLUSHES = 4096  # in a row, to gain time for the host


class Ceiling(NamedTuple):
    """What a device can do at most: float32 operations a second outside of tensor cores, bytes of memory a second."""

    flops: float
    bandwidth: float

    def floor(self, flops: int, bytes_: int) -> float:
        """Microseconds that so many operations and bytes take at the least, both at once."""
        return 1e6 * max(flops / self.flops, bytes_ / self.bandwidth)


# From NVIDIA's data sheets, under the names that drivers report. An H100 PCIe or NVL is another one.
CEILINGS = {
    "Tesla T4": Ceiling(8.1e12, 320e9),
    "NVIDIA H100 80GB HBM3": Ceiling(67e12, 3.35e12),
    "NVIDIA H200": Ceiling(67e12, 4.8e12),
}


class Device(NamedTuple):
    """A device to measure on. ops: `CudaOps`. cupy: the module. facts: `device_facts` and the versions of both."""

    ops: Any
    cupy: Any
    clock: DeviceClock
    facts: dict[str, Any]

    @property
    def ceiling(self) -> Ceiling | None:
        """None for a device that `CEILINGS` does not list."""
        return CEILINGS.get(self.facts["device"])


def find_device(number: int = 0) -> Device | str:
    """The device of that number, or in words why there is none."""
    reason = why_no_cuda(number)
    if reason is not None:
        return reason
    try:
        ops = make_backend("cuda", number).ops
    except InputError as error:
        return str(error)
    os.environ["CUPY_TF32"] = "0"  # products in float32, as everybody else's
    import cupy

    l2_bytes = cupy.cuda.runtime.getDeviceProperties(number)["l2CacheSize"]
    versions = {"cupy": cupy.__version__, "numba-cuda": version_of("numba-cuda")}
    return Device(ops, cupy, DeviceClock(cupy, ops.cupy_stream, l2_bytes), device_facts(number) | versions)


class HostTooSlow(Exception):
    """The device is through with everything before the host has enqueued what is timed."""


class DeviceClock:
    """Times work by events on the stream on which it is enqueued.

    Before each measurement a buffer of several times the L2 cache is written over, so that the work finds the cache
    cold. While that goes on the host enqueues everything else; so what is measured is the device's time, in which it
    never waits for Python. Should the device be through with the flushing first, the measurement does not count, and
    the next one begins with twice as much of it.
    """

    def __init__(self, cupy: Any, stream: Any, l2_bytes: int) -> None:
        self._cupy, self._stream = cupy, stream
        with stream:
            self._flushed = cupy.zeros(max(4 * l2_bytes, SMALLEST_FLUSH), "uint8")

    def times(self, run: Callable[[], Any], samples: int, *, calls: int = 1, warm: bool = False) -> list[float]:
        """Microseconds a call, one figure a sample. run: enqueues so many calls of what is timed.

        warm: the work is done once more, uncounted, between the flushing and the measurement. Raises `HostTooSlow`
        where no amount of flushing gains the host enough time.
        """
        cuda, stream = self._cupy.cuda, self._stream
        times: list[float] = []
        flushes = 1
        with stream:
            for _ in range(3):  # compile, capture, fill CuPy's memory pool
                run()
            stream.synchronize()
            while len(times) < samples:
                start, stop = cuda.Event(), cuda.Event()
                for _ in range(flushes):
                    self._flushed.fill(0)
                if warm:
                    run()
                start.record(stream)
                run()
                stop.record(stream)
                host_was_late = start.done
                stop.synchronize()
                if not host_was_late:
                    times.append(1e3 * cuda.get_elapsed_time(start, stop) / calls)
                elif flushes < MOST_FLUSHES:
                    flushes *= 2
                else:
                    raise HostTooSlow("the host enqueues too slowly for the device's time to be told from its own")
        return times
