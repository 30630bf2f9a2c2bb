"""Clipping by the global norm, as torch.nn.utils.clip_grad_norm_ does it: all of a network's gradient is one vector.

    norm = sqrt(sum of gradient^2)        gradient *= min(1, max_norm / (norm + 1e-6))

Two kernels, because the factor of an element depends on all others. In `square_sums` each block sums the squares of a
stretch of the gradient: 4 bytes read an element. In `clip_gradient` each block adds the stretches' sums up, all blocks
in the same order, and multiplies its own stretch: 4 bytes read and 4 written an element where the norm exceeds
max_norm, and nothing where it does not. Padding is zero and stays zero. The population is on grid axis y.

No atomics: a thread adds its elements in ascending order by fused multiply-adds, the threads' sums are added in a fixed
order, and then the stretches'. So the bits are the same in every run, and a network's are those it has alone.
"""

import math
from functools import cache
from typing import Any, NamedTuple

from numba import cuda, float32, types, uint32

from gpunet.kernels.launch import ReportCase, ceil_div, enqueue, jit

THREADS = 128
ITEMS = 16  # elements of a thread: as many loads under way at once
GROUPS = 16  # of threads whose sums are added first; a power of two, so that a group's places fall into many banks
EPS = 1e-6  # PyTorch's: the factor of a gradient that is zero is a number


class Tile(NamedTuple):
    """How a block is cut: its threads, in groups, and how many elements each takes."""

    threads: int = THREADS
    items: int = ITEMS
    groups: int = GROUPS

    @property
    def stretch(self) -> int:
        """Elements of a block."""
        return self.threads * self.items


PRODUCTION = Tile()


@cache
def make_kernels(tile: Tile) -> tuple[Any, Any]:
    """(square_sums_kernel, clip_gradient_kernel)."""
    threads, items, groups = tile

    @cuda.jit(device=True)
    def block_sum(value, stage, t):
        """The sum of the values of all of a block's threads, for each of them."""
        stage[t] = value
        cuda.syncthreads()
        total = float32(0)
        if t < uint32(groups):
            for k in range(threads // groups):
                total += stage[t + uint32(k * groups)]
            stage[t] = total  # where nobody else reads
        cuda.syncthreads()
        total = float32(0)
        for group in range(groups):
            total += stage[group]
        return total

    @jit
    def square_sums_kernel(gradient, sums, length, stretches):
        stage = cuda.shared.array(threads, float32)
        t = uint32(cuda.threadIdx.x)
        stretch = uint32(cuda.blockIdx.x)
        network = uint32(cuda.blockIdx.y)
        first = uint32(stretch * uint32(threads * items) + t)
        total = float32(0)
        for k in range(items):
            i = uint32(first + uint32(k * threads))
            g = gradient[uint32(network * length + i)] if i < length else float32(0)
            total = cuda.fma(g, g, total)
        total = block_sum(total, stage, t)
        if t == uint32(0):
            sums[uint32(network * stretches + stretch)] = total

    @jit
    def clip_gradient_kernel(gradient, sums, norms, max_norm, length, stretches):
        stage = cuda.shared.array(threads, float32)
        t = uint32(cuda.threadIdx.x)
        stretch = uint32(cuda.blockIdx.x)
        network = uint32(cuda.blockIdx.y)
        total = float32(0)
        other = t
        while other < stretches:
            total += sums[uint32(network * stretches + other)]
            other = uint32(other + uint32(threads))
        norm = float32(math.sqrt(block_sum(total, stage, t)))
        if stretch == uint32(0) and t == uint32(0):
            norms[network] = norm
        factor = max_norm / (norm + float32(EPS))
        if factor >= float32(1):  # which NaN is not: it goes on to the gradient, and somebody will see it
            return
        first = uint32(stretch * uint32(threads * items) + t)
        for k in range(items):
            i = uint32(first + uint32(k * threads))
            if i < length:
                at = uint32(network * length + i)
                gradient[at] = gradient[at] * factor

    return square_sums_kernel, clip_gradient_kernel


def stretches_of(length: int, tile: Tile = PRODUCTION) -> int:
    """How many blocks a gradient takes, and so how many sums `clip_gradient` keeps of each network."""
    return ceil_div(length, tile.stretch)


def clip_gradient(
    gradient: Any,
    max_norm: float,
    norms: Any,
    sums: Any,
    *,
    networks: int,
    length: int,
    tile: Tile = PRODUCTION,
    stream: Any = 0,
) -> None:
    """gradient: float32 ``[P, length]``. norms: float32 ``[P]``, where the norms before the clipping go. sums: float32
    ``[P, stretches_of(length)]``, work memory."""
    square_sums, clip = make_kernels(tile)
    stretches = stretches_of(length, tile)
    grid, sizes = (stretches, networks), (uint32(length), uint32(stretches))
    enqueue(square_sums, grid, tile.threads, (gradient, sums, *sizes), stream)
    enqueue(clip, grid, tile.threads, (gradient, sums, norms, float32(max_norm), *sizes), stream)


def report_cases() -> list[ReportCase]:
    floats, sizes = types.Array(types.float32, 1, "C"), (types.uint32, types.uint32)
    square_sums, clip = make_kernels(PRODUCTION)
    return [
        ReportCase("clip_gradient, sums of squares", square_sums, (floats, floats, *sizes), THREADS),
        ReportCase("clip_gradient", clip, (floats, floats, floats, types.float32, *sizes), THREADS),
    ]
