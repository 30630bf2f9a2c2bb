"""Between epochs: the order of rows, the history's sums, the counter. Small kernels that keep a run on the device.

    shuffle       out[p, i] = split_rows[p, place of i in network p's permutation of this epoch]   8 bytes a row
    follow_order  out = row_order[epoch]                                                           8 bytes a row
    batch_sums    loss_sums[epoch, p, s] and hit_counts[epoch, p, s] = sums over batch s           5 bytes a row
    advance       epoch += 1

All read the epoch from the device, so that the same recorded launches serve every epoch. The population is on grid
axis y, batches on x.
"""

from typing import Any

from numba import cuda, float32, int32, types, uint32

from gpunet.kernels.counter_rng import permuted, shuffle_key
from gpunet.kernels.launch import CHUNK, ReportCase, ceil_div, enqueue, jit

THREADS = 128  # one row each
SUM_THREADS = 32  # one chunk of a batch's rows each
CHUNK_PITCH = CHUNK + 1  # in shared memory: threads at the same term of their chunks meet in no bank
STAGED = SUM_THREADS * CHUNK_PITCH


@jit
def shuffle_kernel(split_rows, seeds, epoch, out, n, low_bits, low_mask, high_mask):
    network = uint32(cuda.blockIdx.y)
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        key = shuffle_key(seeds[network], uint32(epoch[0]))
        place = permuted(i, key, n, low_bits, low_mask, high_mask)
        out[uint32(network * n + i)] = split_rows[uint32(network * n + place)]


@jit
def follow_order_kernel(row_order, epoch, out, total):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < total:
        out[i] = row_order[uint32(uint32(epoch[0]) * total + i)]


@jit
def batch_sums_kernel(row_loss, hits, epoch, loss_sums, hit_counts, n, batch_size, batches):
    """A block a batch. Its threads fetch neighbouring rows, each sums a chunk of them, the first adds these sums up."""
    losses = cuda.shared.array(STAGED, float32)
    chunk_losses = cuda.shared.array(SUM_THREADS, float32)
    counts = cuda.shared.array(SUM_THREADS, uint32)
    t = uint32(cuda.threadIdx.x)
    batch = uint32(cuda.blockIdx.x)
    network = uint32(cuda.blockIdx.y)
    start = uint32(batch * batch_size)
    end = uint32(start + batch_size) if n - start > batch_size else n
    loss = float32(0)
    count = uint32(0)
    while start < end:
        for k in range(CHUNK):
            place = uint32(t + uint32(k * SUM_THREADS))
            row = uint32(start + place)
            inside = row < end
            at = uint32(network * n + (row if inside else start))
            losses[place // uint32(CHUNK) * uint32(CHUNK_PITCH) + place % uint32(CHUNK)] = (
                row_loss[at] if inside else float32(0)
            )
            count = uint32(count + (uint32(hits[at]) if inside else uint32(0)))
        cuda.syncthreads()
        chunk_loss = float32(0)
        for k in range(CHUNK):
            chunk_loss += losses[t * uint32(CHUNK_PITCH) + uint32(k)]
        chunk_losses[t] = chunk_loss
        cuda.syncthreads()
        if t == uint32(0):
            for chunk in range(SUM_THREADS):
                loss += chunk_losses[chunk]
        start = uint32(start + uint32(SUM_THREADS * CHUNK))
    counts[t] = count
    cuda.syncthreads()
    if t == uint32(0):
        for other in range(1, SUM_THREADS):
            count = uint32(count + counts[other])
        at = uint32((uint32(epoch[0]) * uint32(cuda.gridDim.y) + network) * batches + batch)
        loss_sums[at] = loss
        hit_counts[at] = int32(count)


@jit
def advance_kernel(epoch):
    epoch[0] = int32(epoch[0] + int32(1))


def shuffle(split_rows: Any, seeds: Any, epoch: Any, out: Any, *, networks: int, length: int, stream: Any = 0) -> None:
    """split_rows and out: int32 ``[P, n]``, n = length. seeds: uint32 ``[P]``. epoch: int32 ``[1]``."""
    bits = (length - 1).bit_length()
    low_bits = (bits + 1) // 2
    arguments = (
        split_rows,
        seeds,
        epoch,
        out,
        uint32(length),
        uint32(low_bits),
        uint32((1 << low_bits) - 1),
        uint32((1 << (bits - low_bits)) - 1),
    )
    enqueue(shuffle_kernel, (ceil_div(length, THREADS), networks), THREADS, arguments, stream)


def follow_order(row_order: Any, epoch: Any, out: Any, *, networks: int, length: int, stream: Any = 0) -> None:
    """row_order: int32 ``[epochs, P, n]``. out: int32 ``[P, n]``."""
    total = networks * length
    arguments = (row_order, epoch, out, uint32(total))
    enqueue(follow_order_kernel, ceil_div(total, THREADS), THREADS, arguments, stream)


def batch_sums(
    row_loss: Any,
    hits: Any,
    batch_size: int,
    epoch: Any,
    loss_sums: Any,
    hit_counts: Any,
    *,
    networks: int,
    length: int,
    stream: Any = 0,
) -> None:
    """row_loss: float32 ``[P, n]``. hits: uint8 ``[P, n]``. loss_sums: float32, hit_counts: int32, both ``[epochs, P,
    S]``, S = ceil(n / batch_size)."""
    batches = ceil_div(length, batch_size)
    arguments = (
        row_loss,
        hits,
        epoch,
        loss_sums,
        hit_counts,
        uint32(length),
        uint32(min(batch_size, length)),
        uint32(batches),
    )
    enqueue(batch_sums_kernel, (batches, networks), SUM_THREADS, arguments, stream)


def advance(epoch: Any, *, stream: Any = 0) -> None:
    enqueue(advance_kernel, 1, 1, (epoch,), stream)


def report_cases() -> list[ReportCase]:
    floats, integers, words, bytes_ = (
        types.Array(element, 1, "C") for element in (types.float32, types.int32, types.uint32, types.uint8)
    )
    return [
        ReportCase("shuffle", shuffle_kernel, (integers, words, integers, integers) + (types.uint32,) * 4, THREADS),
        ReportCase("follow_order", follow_order_kernel, (integers, integers, integers, types.uint32), THREADS),
        ReportCase(
            "batch_sums",
            batch_sums_kernel,
            (floats, bytes_, integers, floats, integers) + (types.uint32,) * 3,
            SUM_THREADS,
        ),
        ReportCase("advance", advance_kernel, (integers,), 1),
    ]
