"""Between epochs: the order of rows, the history's sums, the counter. Small kernels that keep a run on the device.

    shuffle       out[p, i] = split_rows[p, place of i in network p's permutation of this epoch]   8 bytes a row
    follow_order  out = row_order[epoch]                                                           8 bytes a row
    row_shares    out[p, i] = w / the sum of w over the row's batch, w = weights[rows[p, i]]       16 bytes a row
    batch_sums    loss_sums[epoch, p, s] and hit_counts[epoch, p, s] = sums over batch s           5 bytes a row
                  or, of rows with weights, of w * loss, and weight_sums[epoch, p, s] of w         13 bytes a row
    advance       epoch += 1

All read the epoch from the device, so that the same recorded launches serve every epoch. The population is on grid
axis y, batches on x.
"""

from functools import cache
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


@cuda.jit(device=True)
def place_in_stage(place):
    return place // uint32(CHUNK) * uint32(CHUNK_PITCH) + place % uint32(CHUNK)


@cuda.jit(device=True)
def sum_of_chunk(stage, thread):
    """The sum of the thread's own chunk of what lies in shared memory."""
    total = float32(0)
    for k in range(CHUNK):
        total += stage[thread * uint32(CHUNK_PITCH) + uint32(k)]
    return total


@cuda.jit(device=True)
def with_chunks(total, chunk_sums):
    for chunk in range(SUM_THREADS):
        total += chunk_sums[chunk]
    return total


@cuda.jit(device=True)
def stage_weights(stage, weights, rows, thread, first, start, end):
    """The weights of rows[first + start] and on, up to rows[first + end], then zeros."""
    for k in range(CHUNK):
        place = uint32(thread + uint32(k * SUM_THREADS))
        inside = uint32(start + place) < end
        at = uint32(first + start + (place if inside else uint32(0)))
        stage[place_in_stage(place)] = weights[rows[at]] if inside else float32(0)


@jit
def row_shares_kernel(weights, rows, out, n, batch_size):
    """A block a batch: the sum of its weights as in batch_sums, then each weight's share of it."""
    stage = cuda.shared.array(STAGED, float32)
    chunk_sums = cuda.shared.array(SUM_THREADS, float32)
    t = uint32(cuda.threadIdx.x)
    start = uint32(uint32(cuda.blockIdx.x) * batch_size)
    first = uint32(uint32(cuda.blockIdx.y) * n)
    end = uint32(start + batch_size) if n - start > batch_size else n
    row = uint32(start + t)
    total = float32(0)
    while start < end:
        stage_weights(stage, weights, rows, t, first, start, end)
        cuda.syncthreads()
        chunk_sums[t] = sum_of_chunk(stage, t)
        cuda.syncthreads()
        total = with_chunks(total, chunk_sums)
        start = uint32(start + uint32(SUM_THREADS * CHUNK))
    while row < end:
        at = uint32(first + row)
        out[at] = weights[rows[at]] / total if total > float32(0) else float32(0)
        row = uint32(row + uint32(SUM_THREADS))


@cuda.jit(device=True)
def no_weight(weights, at):
    return float32(1)


@cuda.jit(device=True)
def weight_at(weights, at):
    of_images, rows, _ = weights
    return of_images[rows[at]]


@cache
def make_batch_sums_kernel(weighted: bool) -> Any:
    weight_of = weight_at if weighted else no_weight

    @jit
    def batch_sums_kernel(row_loss, hits, weights, epoch, loss_sums, hit_counts, n, batch_size, batches):
        """A block a batch. Its threads fetch neighbouring rows, each sums a chunk, the first adds these sums up."""
        stage = cuda.shared.array(STAGED, float32)
        chunk_losses = cuda.shared.array(SUM_THREADS, float32)
        counts = cuda.shared.array(SUM_THREADS, uint32)
        if weighted:
            chunk_weights = cuda.shared.array(SUM_THREADS, float32)
        t = uint32(cuda.threadIdx.x)
        batch = uint32(cuda.blockIdx.x)
        network = uint32(cuda.blockIdx.y)
        start = uint32(batch * batch_size)
        end = uint32(start + batch_size) if n - start > batch_size else n
        loss = float32(0)
        weight_sum = float32(0)
        count = uint32(0)
        while start < end:
            for k in range(CHUNK):
                place = uint32(t + uint32(k * SUM_THREADS))
                row = uint32(start + place)
                inside = row < end
                at = uint32(network * n + (row if inside else start))
                stage[place_in_stage(place)] = weight_of(weights, at) * row_loss[at] if inside else float32(0)
                count = uint32(count + (uint32(hits[at]) if inside else uint32(0)))
            cuda.syncthreads()
            chunk_losses[t] = sum_of_chunk(stage, t)
            if weighted:
                cuda.syncthreads()
                stage_weights(stage, weights[0], weights[1], t, uint32(network * n), start, end)
                cuda.syncthreads()
                chunk_weights[t] = sum_of_chunk(stage, t)
            cuda.syncthreads()
            if t == uint32(0):
                loss = with_chunks(loss, chunk_losses)
                if weighted:
                    weight_sum = with_chunks(weight_sum, chunk_weights)
            start = uint32(start + uint32(SUM_THREADS * CHUNK))
        counts[t] = count
        cuda.syncthreads()
        if t == uint32(0):
            for other in range(1, SUM_THREADS):
                count = uint32(count + counts[other])
            at = uint32((uint32(epoch[0]) * uint32(cuda.gridDim.y) + network) * batches + batch)
            loss_sums[at] = loss
            hit_counts[at] = int32(count)
            if weighted:
                weights[2][at] = weight_sum

    return batch_sums_kernel


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


def row_shares(
    weights: Any, rows: Any, batch_size: int, out: Any, *, networks: int, length: int, stream: Any = 0
) -> None:
    """weights: float32 ``[N]``. rows: int32 ``[P, n]``. out: float32 ``[P, n]``, zero where a batch has no weight."""
    arguments = weights, rows, out, uint32(length), uint32(min(batch_size, length))
    enqueue(row_shares_kernel, (ceil_div(length, batch_size), networks), SUM_THREADS, arguments, stream)


def batch_sums(
    row_loss: Any,
    hits: Any,
    batch_size: int,
    epoch: Any,
    loss_sums: Any,
    hit_counts: Any,
    weights: tuple[Any, Any, Any] | None = None,
    *,
    networks: int,
    length: int,
    stream: Any = 0,
) -> None:
    """row_loss: float32 ``[P, n]``. hits: uint8 ``[P, n]``. loss_sums: float32, hit_counts: int32, both ``[epochs, P,
    S]``, S = ceil(n / batch_size). weights: None, or those of the images, float32 ``[N]``, the rows' images, int32
    ``[P, n]``, and where the sums of their weights go, float32 ``[epochs, P, S]``."""
    batches = ceil_div(length, batch_size)
    arguments = (
        row_loss,
        hits,
        weights or (),
        epoch,
        loss_sums,
        hit_counts,
        uint32(length),
        uint32(min(batch_size, length)),
        uint32(batches),
    )
    kernel = make_batch_sums_kernel(weights is not None)
    enqueue(kernel, (batches, networks), SUM_THREADS, arguments, stream)


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
            "row_shares", row_shares_kernel, (floats, integers, floats, types.uint32, types.uint32), SUM_THREADS
        ),
        *(
            ReportCase(
                "batch_sums" + " weighted" * weighted,
                make_batch_sums_kernel(weighted),
                (floats, bytes_, types.Tuple((floats, integers, floats) * weighted), integers, floats, integers)
                + (types.uint32,) * 3,
                SUM_THREADS,
            )
            for weighted in (False, True)
        ),
        ReportCase("advance", advance_kernel, (integers,), 1),
    ]
