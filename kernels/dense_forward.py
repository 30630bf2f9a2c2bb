"""A dense layer's forward pass: out[p, b, o] = activation(sum_i x[p, b, i] * weight[p, i, o] + bias[p, o]).

x is either rows of the data set, gathered as they are read, or ``[P, B, I]`` activations, of which dropout may take
some. Weights ``[P, I, O]`` and biases ``[P, O]`` lie in the networks' flat parameters. out ``[P, B, O]``.

Fused: gather, scale, dropout of the input, product, bias, activation. What has to move is the input, the parameters and
the result: 100 + 201 + 33 KB for 784-64 at batch 128 from bytes. Each tile of 16 x 16 reads its own rows and columns,
2 MB together, from the L2 cache.

Pixels stay bytes until a thread multiplies them: a quarter of the traffic in shared memory, and one instruction to
convert each. Their scale is applied to the sum instead of to each of them: z = total * scale + bias.
"""

import functools
from typing import Any

from numba import cuda, float32, int32, types, uint32, uint64

from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.counter_rng import dropout_hash, dropout_key, dropout_row_key
from gpunet.kernels.launch import (
    CHUNK,
    SIMULATOR,
    DropoutArrays,
    Gathered,
    ReportCase,
    StepCounter,
    ceil_div,
    enqueue,
    jit,
    registers_for,
)
from gpunet.kernels.tiles import (
    VECTOR,
    WORD,
    Tile,
    make_multiply,
    make_row_copy,
    make_totals,
    slice_barrier,
    widest_that_fills,
)

VARIANTS = {
    # many results: as few reads of shared memory a product as registers allow
    "tiled": Tile(rows=64, columns=64, thread_rows=4, thread_columns=8, slices=1, depth=16),
    # fewer: 128 x 1024 make 128 blocks
    "blocked": Tile(rows=32, columns=32, thread_rows=8, thread_columns=4, slices=4, depth=8),
    # as few as in a small hidden layer: 128 x 64 make 32 blocks of 7 warps, which sum 784 terms in one round. With 28
    # slices two blocks share a T4's 64 KB, and one of them multiplies while the other copies or adds up
    "sliced": Tile(rows=16, columns=16, thread_rows=8, thread_columns=4, slices=28, depth=8, resident=2),
    # the same where 32 slices save a round: from 897 to 1024 terms, say
    "sliced_longer": Tile(rows=16, columns=16, thread_rows=8, thread_columns=4, slices=32, depth=8),
    # the same results in 128 blocks: more is read, but by as many multiprocessors as a large GPU has
    "small": Tile(rows=8, columns=8, thread_rows=2, thread_columns=4, slices=28, depth=8),
    "small_longer": Tile(rows=8, columns=8, thread_rows=2, thread_columns=4, slices=32, depth=8),
    # a last layer
    "narrow": Tile(rows=4, columns=16, thread_rows=2, thread_columns=4, slices=32, depth=8),
    # a single row: a vector times a matrix
    "row": Tile(rows=1, columns=8, thread_rows=1, thread_columns=1, slices=32, depth=32),
}
NARROW = 16  # outputs at most
# Blocks a multiprocessor from which a variant is taken rather than the next one, on an H100 and in a model of a T4.
ENOUGH = {"tiled": 3, "blocked": 1.5, "sliced": 0.5, "small": 0}

# What x may be. A kernel takes it as one tuple, the array first.
BYTES = "bytes"  # Gathered's fields, images in words
IMAGES = "images"  # the same, images in floats
ACTIVATION = "activation"  # (x,)
DROPPED = "dropped"  # (x, seeds, thresholds, scales, layer, epoch, step in the epoch, steps per epoch)


@cuda.jit(device=True)
def gathered_row(source, network, row, rows, inputs):
    """Where a row's first element is."""
    _, pitch, row_numbers, rows_pitch, _ = source
    return uint32(uint32(row_numbers[uint32(network * rows_pitch) + row]) * pitch)


@cuda.jit(device=True)
def activation_row(source, network, row, rows, inputs):
    return uint32(uint32(uint32(network * rows) + row) * inputs)


@cuda.jit(device=True)
def gathered_scale(source):
    return source[4]


@cuda.jit(device=True)
def unit_scale(source):
    return float32(1)


@functools.cache
def make_dense_forward_kernel(tile: Tile, kind: str, activation: str):
    """The kernel for a tile, a kind of x and an activation."""
    packed, dropped = kind == BYTES, kind == DROPPED
    item_type, item_terms = (uint32, VECTOR) if packed else (float32, 1)
    row_of, scale_of = (gathered_row, gathered_scale) if kind in (BYTES, IMAGES) else (activation_row, unit_scale)
    function = ACTIVATIONS[activation][0]

    # x is copied a stage at a time, but words of bytes a chunk at a time, which is a sector. Their odd pitch keeps rows
    # off each other's banks; vectors of floats are read by eight threads at a time, which share one row or two.
    tile_rows, tile_columns, depth, stages = tile.rows, tile.columns, tile.depth, tile.stages
    slices, slice_threads, threads = tile.slices, tile.slice_threads, tile.threads
    x_terms = CHUNK if packed else depth
    x_items = x_terms // item_terms
    rows_per_thread = ceil_div(tile_rows, threads)
    x_copy = make_row_copy(tile_rows, x_items, x_items + (1 if packed else 0), slice_threads, item_type)
    x_pitch, x_rows, x_columns, x_row_step = x_copy.pitch, x_copy.rows, x_copy.columns, x_copy.row_step
    x_loads, fetch_x, put_x = x_copy.loads, x_copy.fetch, x_copy.put
    x_slice = tile.slice_pitch(tile_rows * x_pitch)
    x_unit = 1 if packed else VECTOR

    w_columns = max(1, tile_columns // slice_threads)
    w_row_step = max(1, slice_threads // tile_columns)
    w_rows = depth // w_row_step
    w_loads = w_rows * w_columns
    w_slice = tile.slice_pitch(depth * tile_columns)
    w_begin = slices * x_slice
    w_unit = min(VECTOR, tile.thread_columns)
    if w_rows * w_row_step != depth:
        raise ValueError(f"{slice_threads} threads are too many to copy {depth} rows of {tile_columns}")

    shared_length = max(w_begin + slices * w_slice, tile.exchange)
    products, column_threads = tile.products, tile.column_threads
    multiply = make_multiply(tile, x_pitch, w_unit * column_threads, tile_columns, w_unit, packed)
    totals_rows, totals_columns, add_to_totals, row_in_tile, column_in_tile = make_totals(tile, w_unit)
    totals_per_thread = totals_rows * totals_columns
    wait_for_slice = slice_barrier(tile)

    @cuda.jit(device=True)
    def fetch_weight(registers, weight, begin, term, column, whole, inputs, outputs):
        """registers = this thread's share of `depth` rows, of which its first is row `term`; zero from row `inputs` on.

        begin: of the network's weight. column: this thread's first. Columns beyond the last repeat it, and their
        results go nowhere. whole: whether there are none.
        """
        at = uint32(begin + uint32(term * outputs))
        step = uint32(uint32(w_row_step) * outputs)
        last = uint32(outputs - uint32(1))
        if whole and uint32(term + uint32(depth)) <= inputs:
            row_at = uint64(uint32(at + column))  # of 64 bits, so that the loads of a row share its address
            for r in range(w_rows):
                for c in range(w_columns):
                    registers[r * w_columns + c] = weight[row_at + uint64(c * slice_threads)]
                row_at += uint64(step)
        elif uint32(term + uint32(depth)) <= inputs:
            for r in range(w_rows):
                for c in range(w_columns):
                    place = uint32(at + min(uint32(column + uint32(c * slice_threads)), last))
                    registers[r * w_columns + c] = weight[place]
                at = uint32(at + step)
        else:
            for r in range(w_rows):
                inside = uint32(term + uint32(r * w_row_step)) < inputs
                for c in range(w_columns):
                    place = uint32(at + min(uint32(column + uint32(c * slice_threads)), last))
                    registers[r * w_columns + c] = weight[place] if inside else float32(0)
                at = uint32(at + step)

    @cuda.jit(device=True)
    def put_weight(shared, at, registers):
        for r in range(w_rows):
            for c in range(w_columns):
                shared[at + uint32(r * w_row_step * tile_columns + c * slice_threads)] = registers[r * w_columns + c]

    @cuda.jit(device=True)
    def drop(registers, row_keys, column, threshold, scale):
        for r in range(x_rows):
            for c in range(x_columns):
                kept = dropout_hash(row_keys[r], uint32(column + uint32(c * slice_threads))) >= threshold
                registers[r * x_columns + c] *= scale if kept else float32(0)

    @functools.partial(jit, **registers_for(threads, tile.resident))
    def dense_forward_kernel(source, weight, bias, out, rows, inputs, outputs, parameter_pitch):
        if SIMULATOR:
            shared = cuda.shared.array(shared_length, float32)
        else:
            shared = cuda.shared.array(shared_length, float32, alignment=16)
        words = shared.view(WORD)
        if packed:
            shared_x = words
        else:
            shared_x = shared
        next_x = cuda.local.array(x_loads, item_type)
        next_w = cuda.local.array(w_loads, float32)
        sums = cuda.local.array(products, float32)
        totals = cuda.local.array(totals_per_thread, float32)
        x_offsets = cuda.local.array(x_rows, uint32)

        thread = uint32(cuda.threadIdx.x)
        part = uint32(thread // slice_threads)  # the thread's slice,
        lane = uint32(thread % slice_threads)  # and its place there
        first_row = uint32(uint32(cuda.blockIdx.x) * uint32(tile_rows))
        first_column = uint32(uint32(cuda.blockIdx.y) * uint32(tile_columns))
        network = uint32(cuda.blockIdx.z)

        # what this thread copies of x and of the weights, and to where; its first weights come while rows are looked up
        x = source[0]
        x_column = uint32(lane % x_items)
        x_row = uint32(lane // x_items)
        x_end = uint32((inputs + uint32(item_terms - 1)) // item_terms)
        w_column = uint32(first_column + lane % tile_columns)
        w_row = uint32(lane // tile_columns)
        whole = w_columns > 1 and uint32(first_column + uint32(tile_columns)) <= outputs
        w_network = uint32(network * parameter_pitch)
        x_to = uint32(part * x_slice + x_row * x_pitch + x_column)
        w_to = uint32(w_begin + part * w_slice + lane)
        k = uint32(part * CHUNK)  # of the terms that this slice multiplies in this stage
        if k < inputs:
            fetch_weight(next_w, weight, w_network, uint32(k + w_row), w_column, whole, inputs, outputs)
        for r in range(rows_per_thread):
            tile_row = uint32(thread + uint32(r * threads))
            if tile_row < tile_rows:
                row = min(uint32(first_row + tile_row), uint32(rows - uint32(1)))
                words[tile_row] = row_of(source, network, row, rows, inputs)
        cuda.syncthreads()
        for r in range(x_rows):
            x_offsets[r] = words[uint32(x_row + uint32(r * x_row_step))] + x_column

        # what it multiplies
        x_from = uint32(part * (x_slice // x_unit) + lane // column_threads * (x_pitch // x_unit))
        w_from = uint32(w_begin // w_unit + part * (w_slice // w_unit) + lane % column_threads)

        if dropped:
            row_keys = cuda.local.array(x_rows, uint32)
            _, seeds, thresholds, scales, layer, epoch, index, per_epoch = source
            key = dropout_key(seeds[network], uint32(uint32(uint32(epoch[0]) * per_epoch) + index), layer)
            threshold = thresholds[network]
            drop_scale = scales[network]
            for r in range(x_rows):
                row_keys[r] = dropout_row_key(key, uint32(first_row + x_row + r * x_row_step))

        for t in range(totals_per_thread):
            totals[t] = float32(0)
        begin = uint32(0)  # of the chunks that the slices sum in this round
        if k < inputs:
            fetch_x(next_x, x, x_offsets, x_column, uint32(k // item_terms), x_end)
        while begin < inputs:
            cuda.syncthreads()  # the last round's sums have been read: their place is free
            for t in range(products):
                sums[t] = float32(0)
            for stage in range(stages):
                wait_for_slice()  # it has read what was there before
                busy = k < inputs
                copied = uint32(k % uint32(x_terms))  # terms of x that were multiplied already since they were copied
                if busy:
                    if copied == 0:
                        if dropped:
                            drop(next_x, row_keys, uint32(k + x_column), threshold, drop_scale)
                        put_x(shared_x, x_to, next_x)
                    put_weight(shared, w_to, next_w)
                if stage < stages - 1:
                    k = uint32(k + depth)
                else:
                    k = uint32(begin + (slices + part) * CHUNK)
                if k < inputs:
                    if k % uint32(x_terms) == 0:
                        fetch_x(next_x, x, x_offsets, x_column, uint32(k // item_terms), x_end)
                    fetch_weight(next_w, weight, w_network, uint32(k + w_row), w_column, whole, inputs, outputs)
                wait_for_slice()
                if busy:
                    multiply(sums, shared_x, uint32(x_from + copied // uint32(VECTOR)), shared, w_from)
            add_to_totals(totals, sums, shared, thread)
            begin = uint32(begin + slices * CHUNK)

        scale = scale_of(source)
        for j in range(totals_columns):
            column = uint32(first_column + column_in_tile(j, thread))
            if column < outputs:
                shift = bias[w_network + column]
                for i in range(totals_rows):
                    tile_row = row_in_tile(i, thread)
                    row = uint32(first_row + tile_row)
                    if tile_row < tile_rows and row < rows:
                        z = cuda.fma(totals[i * totals_columns], scale, shift)
                        out[uint32(uint32(network * rows) + row) * outputs + column] = function(z)
            # The next column comes first: registers cannot be indexed by j, and the loop is too long to unroll.
            for t in range(totals_per_thread - 1):
                totals[t] = totals[t + 1]

    return dense_forward_kernel


def dense_forward(
    x: Any,
    weight: Any,
    bias: Any,
    out: Any,
    *,
    networks: int,
    rows: int,
    inputs: int,
    outputs: int,
    parameter_pitch: int,
    activation: str = "identity",
    dropout: DropoutArrays | None = None,
    step: StepCounter | None = None,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """out[p, b, o] = activation(sum_i x[p, b, i] * weight[p, i, o] + bias[p, o]).

    x: a `Gathered`, or contiguous activations ``[P, B, I]``, of which `dropout` drops elements in training step `step`.
    weight and bias: begin at network 0's, network p's are p * parameter_pitch further on. out: ``[P, B, O]``. All
    float32 and one-dimensional. variant: a key of `VARIANTS` instead of the one that suits the shape and the device.
    """
    tile = VARIANTS[variant or _variant(networks, rows, inputs, outputs)]
    kind, source = _source(x, dropout, step)
    kernel = make_dense_forward_kernel(tile, kind, activation)
    grid = (*tile.blocks(rows, outputs), networks)
    sizes = uint32(rows), uint32(inputs), uint32(outputs), uint32(parameter_pitch)
    enqueue(kernel, grid, tile.threads, (source, weight, bias, out, *sizes), stream)


def _variant(networks: int, rows: int, inputs: int, outputs: int) -> str:
    if rows == 1:
        return "row"
    if outputs <= NARROW:
        return "narrow"
    variant = widest_that_fills(VARIANTS, ENOUGH, rows, outputs, networks)
    longer = f"{variant}_longer"
    fewer_rounds = longer in VARIANTS and VARIANTS[longer].rounds(inputs) < VARIANTS[variant].rounds(inputs)
    return longer if fewer_rounds else variant


def _source(x: Any, dropout: DropoutArrays | None, step: StepCounter | None) -> tuple[str, tuple]:
    if isinstance(x, Gathered):
        if dropout is not None:
            raise ValueError("the data set itself is never dropped of")
        fields = x.images, uint32(x.pitch), x.rows, uint32(x.rows_pitch), float32(x.scale)
        return (BYTES if x.images.dtype == "uint32" else IMAGES), fields
    if dropout is None:
        return ACTIVATION, (x,)
    arrays = x, dropout.seeds, dropout.thresholds, dropout.scales
    return DROPPED, (*arrays, uint32(dropout.layer), step.epoch, uint32(step.index), uint32(step.per_epoch))


def report_cases() -> list[ReportCase]:
    """Every variant with every kind of x, and with every activation once."""
    floats, words, integers = float32[::1], uint32[::1], int32[::1]
    sources = {
        BYTES: (words, uint32, integers, uint32, float32),
        IMAGES: (floats, uint32, integers, uint32, float32),
        ACTIVATION: (floats,),
        DROPPED: (floats, words, words, floats, uint32, integers, uint32, uint32),
    }
    choices = [(variant, kind, "relu") for variant in VARIANTS for kind in sources]
    choices += [(variant, BYTES, name) for variant in VARIANTS for name in ACTIVATIONS if name != "relu"]
    return [
        ReportCase(
            f"dense_forward {variant} {kind} {activation}",
            make_dense_forward_kernel(VARIANTS[variant], kind, activation),
            (types.Tuple(sources[kind]), *(floats,) * 3, *(uint32,) * 4),
            VARIANTS[variant].threads,
        )
        for variant, kind, activation in choices
    ]
