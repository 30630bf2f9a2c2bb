"""A dense layer's backward pass, down to the gradient in front of the activation below it:

    out[p, b, i] = (sum_o dz[p, b, o] * weight[p, i, o]) * activation'(a[p, b, i]) * dropped[p, b, i]

dz ``[P, B, O]`` is the gradient in front of this layer's activation, a ``[P, B, I]`` are the activations below before
dropout, in terms of which the derivative is written, out ``[P, B, I]``. dropped is 0 or 1 / (1 - rate), drawn again
from its hash.

Fused: product, derivative and dropout's mask, so that a is read once and out written once. What has to move is dz, the
weights, a and out: 0.1 + 1 + 0.5 + 0.5 MB for 128 rows, 1024 inputs and 256 outputs. Each tile reads its own rows of
both factors.

Both factors are summed along their rows, which lie one after another in memory, and are copied to shared memory alike.
"""

import functools
from typing import Any

from numba import cuda, float32, int32, types, uint32

from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.counter_rng import dropout_hash, dropout_key, dropout_row_key
from gpunet.kernels.launch import CHUNK, SIMULATOR, DropoutArrays, ReportCase, StepCounter, enqueue, jit
from gpunet.kernels.tiles import VECTOR, Tile, make_multiply, make_row_copy, make_totals, widest_that_fills

VARIANTS = {
    # many results: as few reads of shared memory a product as registers allow
    "tiled": Tile(rows=64, columns=64, thread_rows=4, thread_columns=8, slices=1, depth=16),
    # fewer: 128 x 1024 make 128 blocks
    "blocked": Tile(rows=32, columns=32, thread_rows=8, thread_columns=4, slices=4, depth=8),
    # few results, long sums
    "sliced": Tile(rows=16, columns=16, thread_rows=4, thread_columns=4, slices=8, depth=8),
    # sums of one chunk: behind a last layer of few outputs
    "thin": Tile(rows=16, columns=16, thread_rows=2, thread_columns=2, slices=1, depth=16),
}
ENOUGH = {"tiled": 3, "blocked": 1.5, "sliced": 0}  # blocks a multiprocessor, as in the forward pass


@functools.cache
def make_dense_backward_kernel(tile: Tile, activation: str, dropped: bool):
    """The kernel for a tile, the activation below and whether dropout drops of it."""
    derivative = ACTIVATIONS[activation][1]
    tile_rows, tile_columns, depth, stages = tile.rows, tile.columns, tile.depth, tile.stages
    slices, slice_threads, column_threads = tile.slices, tile.slice_threads, tile.column_threads

    pitch = depth + VECTOR  # a vector's padding keeps rows off each other's banks
    dz_copy = make_row_copy(tile_rows, depth, pitch, slice_threads, float32)
    dz_rows, dz_row_step, dz_loads, fetch_dz, put_dz = (
        dz_copy.rows,
        dz_copy.row_step,
        dz_copy.loads,
        dz_copy.fetch,
        dz_copy.put,
    )
    w_copy = make_row_copy(tile_columns, depth, pitch, slice_threads, float32)
    w_rows, w_row_step, w_loads, fetch_w, put_w = w_copy.rows, w_copy.row_step, w_copy.loads, w_copy.fetch, w_copy.put
    dz_slice = tile.slice_pitch(tile_rows * pitch)
    w_slice = tile.slice_pitch(tile_columns * pitch)
    w_begin = slices * dz_slice
    shared_length = max(w_begin + slices * w_slice, tile.exchange)

    products = tile.products
    multiply = make_multiply(tile, pitch, column_threads * pitch, 1, neighbours=1)
    totals_rows, totals_columns, add_to_totals, row_in_tile, column_in_tile = make_totals(tile, 1)
    totals_per_thread = totals_rows * totals_columns

    @jit
    def dense_backward_kernel(source, weight, a, out, rows, inputs, outputs, parameter_pitch):
        if SIMULATOR:
            shared = cuda.shared.array(shared_length, float32)
        else:
            shared = cuda.shared.array(shared_length, float32, alignment=16)
        next_dz = cuda.local.array(dz_loads, float32)
        next_w = cuda.local.array(w_loads, float32)
        sums = cuda.local.array(products, float32)
        totals = cuda.local.array(totals_per_thread, float32)
        dz_offsets = cuda.local.array(dz_rows, uint32)
        w_offsets = cuda.local.array(w_rows, uint32)

        thread = uint32(cuda.threadIdx.x)
        part = uint32(thread // slice_threads)  # the thread's slice,
        lane = uint32(thread % slice_threads)  # and its place there
        first_row = uint32(uint32(cuda.blockIdx.x) * uint32(tile_rows))
        first_column = uint32(uint32(cuda.blockIdx.y) * uint32(tile_columns))
        network = uint32(cuda.blockIdx.z)
        network_row = uint32(network * rows)

        # what this thread copies of dz and of the weights, and to where
        dz = source[0]
        term = uint32(lane % depth)
        copy_row = uint32(lane // depth)
        for r in range(dz_rows):
            row = min(uint32(first_row + copy_row + r * dz_row_step), uint32(rows - uint32(1)))
            dz_offsets[r] = uint32(uint32(network_row + row) * outputs) + term
        for r in range(w_rows):
            column = min(uint32(first_column + copy_row + r * w_row_step), uint32(inputs - uint32(1)))
            w_offsets[r] = uint32(network * parameter_pitch) + uint32(column * outputs) + term
        dz_to = uint32(part * dz_slice + copy_row * pitch + term)
        w_to = uint32(w_begin + part * w_slice + copy_row * pitch + term)

        # what it multiplies, counted in vectors
        dz_from = uint32((part * dz_slice + lane // column_threads * pitch) // VECTOR)
        w_from = uint32((w_begin + part * w_slice + lane % column_threads * pitch) // VECTOR)

        for t in range(totals_per_thread):
            totals[t] = float32(0)
        begin = uint32(0)  # of the chunks that the slices sum in this round
        k = uint32(part * CHUNK)  # of the terms that this slice multiplies in this stage
        fetch_dz(next_dz, dz, dz_offsets, term, k, outputs)
        fetch_w(next_w, weight, w_offsets, term, k, outputs)
        while begin < outputs:
            for t in range(products):
                sums[t] = float32(0)
            for stage in range(stages):
                cuda.syncthreads()  # everybody has read what was there before
                put_dz(shared, dz_to, next_dz)
                put_w(shared, w_to, next_w)
                busy = k < outputs
                if stage < stages - 1:
                    k = uint32(k + depth)
                else:
                    k = uint32(begin + (slices + part) * CHUNK)
                fetch_dz(next_dz, dz, dz_offsets, term, k, outputs)
                fetch_w(next_w, weight, w_offsets, term, k, outputs)
                cuda.syncthreads()
                if busy:
                    multiply(sums, shared, dz_from, shared, w_from)
            add_to_totals(totals, sums, shared, thread)
            begin = uint32(begin + slices * CHUNK)

        if dropped:
            row_keys = cuda.local.array(totals_rows, uint32)
            _, seeds, thresholds, scales, layer, epoch, index, per_epoch = source
            key = dropout_key(seeds[network], uint32(uint32(uint32(epoch[0]) * per_epoch) + index), layer)
            threshold = thresholds[network]
            scale = scales[network]
            for i in range(totals_rows):
                row_keys[i] = dropout_row_key(key, uint32(first_row + row_in_tile(i, thread)))

        for j in range(totals_columns):
            column = uint32(first_column + column_in_tile(j, thread))
            if column < inputs:
                for i in range(totals_rows):
                    tile_row = row_in_tile(i, thread)
                    row = uint32(first_row + tile_row)
                    if tile_row < tile_rows and row < rows:
                        place = uint32(uint32(network_row + row) * inputs + column)
                        gradient = totals[i * totals_columns] * derivative(a[place])
                        if dropped:
                            gradient *= scale if dropout_hash(row_keys[i], column) >= threshold else float32(0)
                        out[place] = gradient
            # The next column comes first: registers cannot be indexed by j, and the loop is too long to unroll.
            for t in range(totals_per_thread - 1):
                totals[t] = totals[t + 1]

    return dense_backward_kernel


def dense_backward(
    dz: Any,
    weight: Any,
    a: Any,
    out: Any,
    *,
    networks: int,
    rows: int,
    inputs: int,
    outputs: int,
    parameter_pitch: int,
    activation: str,
    dropout: DropoutArrays | None = None,
    step: StepCounter | None = None,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """out[p, b, i] = (sum_o dz[p, b, o] * weight[p, i, o]) * activation'(a[p, b, i]), times dropout's factor.

    dz: ``[P, B, O]``. weight: begins at network 0's, network p's is p * parameter_pitch further on. a, out: ``[P, B,
    I]``; a before `dropout` dropped of it in training step `step`. All float32 and one-dimensional. variant: a key of
    `VARIANTS` instead of the one that suits the shape and the device.
    """
    tile = VARIANTS[variant or _variant(networks, rows, inputs, outputs)]
    source = (dz,)
    if dropout is not None:
        arrays = dz, dropout.seeds, dropout.thresholds, dropout.scales
        source = (*arrays, uint32(dropout.layer), step.epoch, uint32(step.index), uint32(step.per_epoch))
    kernel = make_dense_backward_kernel(tile, activation, dropout is not None)
    grid = (*tile.blocks(rows, inputs), networks)
    sizes = uint32(rows), uint32(inputs), uint32(outputs), uint32(parameter_pitch)
    enqueue(kernel, grid, tile.threads, (source, weight, a, out, *sizes), stream)


def _variant(networks: int, rows: int, inputs: int, outputs: int) -> str:
    return "thin" if outputs <= CHUNK else widest_that_fills(VARIANTS, ENOUGH, rows, inputs, networks)


def report_cases() -> list[ReportCase]:
    """Every variant with every activation, and with dropout."""
    floats, words, integers = float32[::1], uint32[::1], int32[::1]
    plain = types.Tuple((floats,))
    drawn = types.Tuple((floats, words, words, floats, uint32, integers, uint32, uint32))
    choices = [(variant, name, False) for variant in VARIANTS for name in ACTIVATIONS]
    choices += [(variant, "relu", True) for variant in VARIANTS]
    return [
        ReportCase(
            f"dense_backward {variant} {activation}{' dropped' if dropped else ''}",
            make_dense_backward_kernel(VARIANTS[variant], activation, dropped),
            (drawn if dropped else plain, *(floats,) * 3, *(uint32,) * 4),
            VARIANTS[variant].threads,
        )
        for variant, activation, dropped in choices
    ]
