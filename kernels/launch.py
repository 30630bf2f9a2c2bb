"""What all kernels share: the order of sums, the sizes of blocks, and how arrays are handed over.

Arrays. A kernel takes one-dimensional C-contiguous arrays, each beginning at the first element of what the operation
was given, and finds network p at ``p * pitch``. Grid axis z (or y, where a file says so) is the population. Sizes and
indices are uint32: signed or 64-bit ones cost several instructions an access.

Sums. The summed dimension is cut into chunks of `CHUNK` terms. A chunk is summed in ascending order from zero, by fused
multiply-adds of one thread; the chunks' sums are then added in ascending order. Whatever variant of a kernel computes
a sum, and however many threads and blocks it takes, these are the additions, so the bits are the same.
"""

import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numba import cuda

from gpunet.kernels.kernel_cache import KernelCache

CHUNK = 32  # terms of a sum that one thread adds up before they join the total

MULTIPROCESSOR_REGISTERS = 65536
MAX_REGISTERS = 255  # of a thread
REGISTER_STEP = 8  # a thread's registers are handed out by as many

# Numba reads the same variable; it decides whether kernels are compiled or run by the simulator, one thread after
# another.
SIMULATOR = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"
if SIMULATOR:
    from gpunet.kernels.simulator import hasten

    hasten()
else:
    from gpunet.kernels.newer_numpy import load_array_functions

    load_array_functions()


T4_MULTIPROCESSORS = 40


def multiprocessors() -> int:
    """Of the device that kernels are launched on; as many as a T4 has where there is none."""
    if SIMULATOR:
        return T4_MULTIPROCESSORS
    try:
        return getattr(cuda.get_current_device(), "MULTIPROCESSOR_COUNT", T4_MULTIPROCESSORS)
    except cuda.CudaSupportError:
        return T4_MULTIPROCESSORS


def ceil_div(a: int, b: int) -> int:
    """The smallest whole number that is at least a / b."""
    return -(-a // b)


def jit(kernel: Callable[..., None], **options: Any) -> Any:
    """A kernel, compiled at its first launch with arguments of new types, or loaded if an earlier process did that.

    options: `launch_bounds_of`, `registers_for`, or none.
    """
    dispatcher = cuda.jit(**options)(kernel) if options else cuda.jit(kernel)
    if not SIMULATOR:
        dispatcher._cache = KernelCache(dispatcher)  # as enable_caching() does with Numba's own
    return dispatcher


def launch_bounds_of(threads: int, blocks: int) -> dict[str, Any]:
    """An option of `jit`: use no more registers than let a multiprocessor run so many blocks of so many threads.

    The compiler, left alone, takes as many as may save a cycle, up to 255 a thread, with which a large block cannot
    start. The simulator does not know the option.
    """
    return {} if SIMULATOR else {"launch_bounds": (threads, blocks)}


def registers_for(threads: int, blocks: int) -> dict[str, Any]:
    """An option of `jit`: use no more registers than let a multiprocessor run so many blocks, 0 for no such limit.

    It binds the assembler alone, while `launch_bounds_of` binds the compiler before it, which refuses some kernels then
    ("Symbol name with unsupported characters").
    """
    if SIMULATOR or not blocks:
        return {}
    each = MULTIPROCESSOR_REGISTERS // (threads * blocks) // REGISTER_STEP * REGISTER_STEP
    return {"max_registers": min(MAX_REGISTERS, each)}


@cache
def _configured(kernel: Any, grid: Any, threads: int, stream: Any) -> Callable[..., None]:
    """The kernel as launched with that grid. Numba warns of grids below 128 blocks; small networks have no larger."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kernel[grid, threads, stream]


class Launch(NamedTuple):
    """A kernel and everything that it is launched with."""

    kernel: Any
    grid: Any
    threads: int
    arguments: tuple

    def __call__(self, stream: Any = 0) -> None:
        configured = self.kernel[self.grid, self.threads, stream] if SIMULATOR else _configured(*self[:3], stream)
        configured(*self.arguments)

    def compile(self) -> Any:
        """Compile the kernel for these arguments, or find it on disk, and load it onto the device. Nothing is run, and
        nothing done in the simulator. Returns Numba's compiled kernel."""
        if SIMULATOR:
            return None
        types = tuple(self.kernel.typeof_pyval(argument) for argument in self.arguments)
        compiled = self.kernel.compile(types)
        compiled.bind()
        return compiled


class Recording(list):
    """Given to a launcher as its stream, keeps the launches instead of making them: a list of `Launch`."""


def enqueue(kernel: Any, grid: Any, threads: int, arguments: tuple, stream: Any) -> None:
    """Launch a kernel on a stream (0: the default one), or add the launch to a `Recording`."""
    launch = Launch(kernel, grid, threads, arguments)
    if isinstance(stream, Recording):
        stream.append(launch)
    else:
        launch(stream)


class Gathered(NamedTuple):
    """Rows of a data set, as a first layer reads them: x[p, b, i] = images[rows[p * rows_pitch + b] * pitch + i] *
    scale.

    images: one-dimensional, float32 with `pitch` values a row, or uint32 words that each hold four bytes (the first
    in the lowest bits) with `pitch` words a row, zero beyond the inputs. rows: int32.
    """

    images: Any
    pitch: int
    rows: Any
    rows_pitch: int
    scale: float


class GatheredLabels(NamedTuple):
    """Labels of rows of a data set, as a loss reads them: labels[rows[p * rows_pitch + b]]. Both int32."""

    labels: Any
    rows: Any
    rows_pitch: int


class DropoutArrays(NamedTuple):
    """seeds and thresholds: uint32 ``[P]``. scales: float32 ``[P]``. layer: index of the dense layer that reads."""

    seeds: Any
    thresholds: Any
    scales: Any
    layer: int


class StepCounter(NamedTuple):
    """Step number = epoch[0] * per_epoch + index; epoch: int32 ``[1]`` on the device."""

    epoch: Any
    index: int
    per_epoch: int


class ReportCase(NamedTuple):
    """A kernel variant to compile without a device: its name, dispatcher, argument types and threads a block."""

    name: str
    kernel: Any
    signature: tuple
    threads: int
