"""The gradients of all dense layers and the optimizer's update with them, in one launch; no gradient is stored.

    dweight[p, i, o] = sum over b of x[p, b, i] * dz[p, b, o]
    dbias[p, o] = sum over b of dz[p, b, o]
    w = keep * w - before * direction            (optimizers.py)

x is the data set for the first layer, its rows gathered and its bytes converted as they are read (their scale is
applied to the finished sum), and the hidden activations for the others, with what dropout took of them drawn again. The
bias is the weight of one more input that is always 1, so it needs no code but an address.

A block makes one tile of the [I + 1, O] sums of one layer and network; a table tells which. Its warps share the rows of
the batch: each sums the whole tile over its own chunk of 32 rows, 4 x 4 sums in each thread's registers, so that
several chunks are under way at once and each is summed in the canonical order. Through shared memory the threads then
change places: each adds up the chunks of a few sums, in ascending order, and updates those weights. It has had them in
registers since the kernel began, so the reading of parameters, m and v hides behind the product. For a batch of one
row there is a kernel of another kind, in dense_update_single_row.py, which takes the same arguments.

Bytes moved: parameters, m and v once each way (24 for a weight under Adam), dz once for each column of tiles and x once
for each row of tiles, both from the L2 cache. The population is on grid axis y.
"""

import math
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from numba import cuda, float32, types, uint32

from gpunet.kernels.counter_rng import dropout_hash, dropout_key, dropout_row_key
from gpunet.kernels.dense_update_single_row import make_single_row_kernel
from gpunet.kernels.launch import (
    CHUNK,
    SIMULATOR,
    DropoutArrays,
    Gathered,
    ReportCase,
    StepCounter,
    enqueue,
    jit,
    multiprocessors,
)
from gpunet.kernels.optimizers import FLOATS, INTEGERS, STEP_TYPES, adam_step, sgd_step, step_arguments, step_factors
from gpunet.kernels.update_table import (
    BIAS,
    COLUMNS,
    DROPPED,
    DZ,
    FIRST_INPUT,
    FIRST_OUTPUT,
    INPUTS,
    LAYER,
    OUTPUTS,
    WEIGHT,
    Run,
    Tile,
    X,
)

UNROLLED = 4  # rows of a chunk in one turn of the innermost loop


# As many chunks of rows at a time as the batch has. The fewer there are, the smaller the tile, so that a thread updates
# 4 weights in each and there are warps enough. 784 x 64 makes 100 blocks of four warps, and 64 x 10 five more.
VARIANTS = {
    "four_chunks": Tile(4, 4, down=4, across=8, chunks=4),
    # for so many networks that these larger tiles fill the device as well: less is read, and copied
    "four_chunks_wide": Tile(8, 4, down=8, across=8, chunks=4),
    "two_chunks": Tile(4, 2, down=4, across=8, chunks=2),
    "one_chunk": Tile(2, 2, down=4, across=8, chunks=1),
    # a batch of one row, and no other: 784-10-1 makes 17 blocks
    "single_row": Run(threads=64, weights=8),
}


ENOUGH_WIDE = 8  # blocks a multiprocessor, on an H100


def variant_for(rows: int, layers: Sequence[tuple[int, int, int, int]] = (), networks: int = 1) -> str:
    """The variant for batches of so many rows, and for so many networks of these layers (see `tile_table`)."""
    if rows == 1:
        return "single_row"
    if rows <= 2 * CHUNK:
        return "one_chunk" if rows <= CHUNK else "two_chunks"
    wide = VARIANTS["four_chunks_wide"]
    blocks = networks * sum(1 for *_, inputs, outputs in layers for _ in wide.places(inputs, outputs))
    return "four_chunks_wide" if blocks >= ENOUGH_WIDE * multiprocessors() else "four_chunks"


def _make_kernel(shape: Tile | Run, method: str, words: bool, dropout: bool) -> Any:
    make = make_single_row_kernel if isinstance(shape, Run) else make_dense_update_kernel
    return make(shape, method, words, dropout)


def tile_table(
    layers: Sequence[tuple[int, int, int, int]],
    x_offsets: Sequence[int],
    dz_offsets: Sequence[int],
    dropped: Collection[int] = (),
    *,
    rows: int,
    variant: str | None = None,
) -> list[int]:
    """int32 ``[tiles, COLUMNS]`` as a flat list: every tile of every layer. The same variant must then be launched.

    layers: (weight, bias, inputs, outputs), the first two being where these begin in a network's parameters. x_offsets
    and dz_offsets: where the layer's input ``[P, B, I]`` begins in `activations` (not looked at for the first layer),
    and its gradient ``[P, B, O]`` in `dz`. dropped: indices of the layers whose input dropout is applied to.
    """
    shape = VARIANTS[variant or variant_for(rows)]
    table: list[int] = []
    for layer, (weight, bias, inputs, outputs) in enumerate(layers):
        offsets = x_offsets[layer], dz_offsets[layer], weight, bias
        for i, o in shape.places(inputs, outputs):
            table += (layer, i, o, inputs, outputs, *offsets, int(layer in dropped))
    return table


def _shares(width: int, lanes: int) -> tuple[int, int, int]:
    """How a warp's lanes share CHUNK rows of an array that is `width` wide, neighbours taking neighbours: into how many
    parts a lane's elements fall, each in one column; how many elements a part has; and how many rows apart they are."""
    parts = width // math.gcd(width, lanes)
    steps = CHUNK * width // (lanes * parts)
    assert steps * parts * lanes == CHUNK * width, (width, lanes)
    return parts, steps, parts * lanes // width


@cache
def make_dense_update_kernel(tile: Tile, method: str, words: bool, dropout: bool) -> Any:
    """method: "adam", "sgd", "momentum" (SGD with it) or "gradient" (the sums are written where the parameters would
    be). words: the data set is bytes, four to a word. dropout: some layer's input is dropped of."""
    lane_inputs, lane_outputs, down, across, chunks = tile
    tile_inputs, tile_outputs, threads = tile.inputs, tile.outputs, tile.threads
    lanes = down * across
    x_size = CHUNK * tile_inputs  # of one chunk
    dz_size = CHUNK * tile_outputs
    sums_size = tile_inputs * tile_outputs
    shared_size = chunks * max(x_size + dz_size, sums_size)
    dz_begin = chunks * x_size
    row_words = tile_inputs // 4
    words_parts, words_steps, words_apart = _shares(row_words, lanes)
    x_parts, x_steps, x_apart = _shares(tile_inputs, lanes)
    dz_parts, dz_steps, dz_apart = _shares(tile_outputs, lanes)
    words_each = words_parts * words_steps
    dz_each = dz_parts * dz_steps
    products_each = lane_inputs * lane_outputs
    weights_each = sums_size // threads
    rows_apart = threads // tile_outputs  # between a thread's weights
    assert tile_inputs % 4 == 0 and sums_size % threads == 0 and threads % tile_outputs == 0, tile
    is_update, is_adam, has_momentum = method != "gradient", method == "adam", method == "momentum"

    @jit
    def dense_update_kernel(
        images,
        image_pitch,
        image_rows,
        rows_pitch,
        image_scale,
        activations,
        dz,
        table,
        batch,
        seeds,
        thresholds,
        scales,
        parameters,
        m,
        v,
        step_table,
        lr_scale,
        l2,
        epoch,
        index,
        per_epoch,
        steps,
        length,
        has_l2,
        decoupled,
        momentum,
        beta1,
        one_minus_beta1,
        beta2,
        one_minus_beta2,
        eps,
    ):
        if SIMULATOR:
            shared = cuda.shared.array(shared_size, float32)
        else:
            shared = cuda.shared.array(shared_size, float32, alignment=16)
        t = uint32(cuda.threadIdx.x)
        network = uint32(cuda.blockIdx.y)
        chunk = uint32(t // uint32(lanes))
        lane = uint32(t % uint32(lanes))
        last_row = uint32(batch - uint32(1))

        entry = uint32(cuda.blockIdx.x * uint32(COLUMNS))
        layer = uint32(table[entry + uint32(LAYER)])
        i0 = uint32(table[entry + uint32(FIRST_INPUT)])
        o0 = uint32(table[entry + uint32(FIRST_OUTPUT)])
        inputs = uint32(table[entry + uint32(INPUTS)])
        outputs = uint32(table[entry + uint32(OUTPUTS)])
        x_start = uint32(table[entry + uint32(X)])
        dz_start = uint32(table[entry + uint32(DZ)])
        weight = uint32(network * length + uint32(table[entry + uint32(WEIGHT)]))
        bias = uint32(network * length + uint32(table[entry + uint32(BIAS)]))
        is_dropped = table[entry + uint32(DROPPED)] != 0

        # This thread's weights: one column of the tile, from row t // tile_outputs on. Where they lie beyond the layer
        # it reads the tile's first row or column instead: another block's may have been updated by now.
        my_o = uint32(o0 + t % uint32(tile_outputs))
        my_i = uint32(i0 + t // uint32(tile_outputs))
        column = my_o if my_o < outputs else o0
        sums = cuda.local.array(weights_each, float32)
        ws = cuda.local.array(weights_each, float32)
        ms = cuda.local.array(weights_each, float32)
        vs = cuda.local.array(weights_each, float32)
        for k in range(weights_each):
            i = uint32(my_i + uint32(k * rows_apart))
            i = i if i <= inputs else i0
            at = uint32((bias if i == inputs else uint32(weight + i * outputs)) + column)
            sums[k] = float32(0)
            if is_update:
                ws[k] = parameters[at]
            if is_adam or has_momentum:
                ms[k] = m[at]
            if is_adam:
                vs[k] = v[at]
        if is_update:
            before, root_factor, keep, decay = step_factors(
                network, step_table, lr_scale, l2, epoch, index, per_epoch, steps, has_l2, decoupled
            )

        scale = image_scale if layer == uint32(0) else float32(1)
        if dropout:
            step = uint32(uint32(epoch[0]) * per_epoch + index)
            mask_key = dropout_key(uint32(seeds[network]), step, layer)
            threshold = uint32(thresholds[network]) if is_dropped else uint32(0)
            kept = scales[network] if is_dropped else float32(1)

        # Where this thread's chunk lies in shared memory, its operands in it, and later its sums. The last addition of
        # an index is left in 64 bits: where it could wrap, the compiler would not see that elements are neighbours, and
        # would not move four at once.
        x_chunk = uint32(chunk * uint32(x_size))
        dz_chunk = uint32(uint32(dz_begin) + chunk * uint32(dz_size))
        lane_i = uint32(lane // uint32(across) * uint32(lane_inputs))
        lane_o = uint32(lane % uint32(across) * uint32(lane_outputs))
        x_lane = uint32(x_chunk + lane_i)
        dz_lane = uint32(dz_chunk + lane_o)
        sums_lane = uint32(chunk * uint32(sums_size) + lane_i * uint32(tile_outputs) + lane_o)
        word_values = cuda.local.array(words_each, uint32)
        x_values = cuda.local.array(x_steps, float32)
        dz_values = cuda.local.array(dz_each, float32)
        products = cuda.local.array(products_each, float32)
        xs = cuda.local.array(lane_inputs, float32)
        dzs = cuda.local.array(lane_outputs, float32)
        start = uint32(0)
        while start < batch:
            # Each warp fetches its chunk: first all loads, then what depends on them, so that they are under way
            # together. Reads beyond an edge fall on the last row or the first column; what they find is multiplied by
            # a zero of dz or x, or makes sums that nobody takes.
            first = uint32(start + chunk * uint32(CHUNK))
            for part in range(dz_parts):
                e = uint32(lane + uint32(part * lanes))
                o = uint32(o0 + e % uint32(tile_outputs))
                column = uint32(dz_start + (o if o < outputs else uint32(0)))
                for k in range(dz_steps):
                    row = uint32(first + e // uint32(tile_outputs) + uint32(k * dz_apart))
                    row = row if row < batch else last_row
                    dz_values[part * dz_steps + k] = dz[uint32((network * batch + row) * outputs + column)]
            if words and layer == uint32(0):
                for part in range(words_parts):
                    e = uint32(lane + uint32(part * lanes))
                    column = uint32(i0 // uint32(4) + e % uint32(row_words))
                    one = uint32(0)
                    if column == inputs // uint32(4):
                        one = uint32(uint32(1) << uint32(inputs % uint32(4) * uint32(8)))
                    mask = uint32(0xFFFFFFFF)
                    if column >= image_pitch:
                        mask = column = uint32(0)
                    for k in range(words_steps):
                        row = uint32(first + e // uint32(row_words) + uint32(k * words_apart))
                        image = uint32(image_rows[uint32(network * rows_pitch + (row if row < batch else last_row))])
                        word = uint32(images[uint32(image * image_pitch + column)])
                        word_values[part * words_steps + k] = uint32(uint32(word & mask) | one)
                for part in range(words_parts):
                    for k in range(words_steps):
                        word = word_values[part * words_steps + k]
                        place = x_chunk + uint32(4) * lane + uint32(4 * part * lanes + k * words_apart * tile_inputs)
                        shared[place] = float32(uint32(word & uint32(255)))
                        shared[place + uint32(1)] = float32(uint32(uint32(word >> uint32(8)) & uint32(255)))
                        shared[place + uint32(2)] = float32(uint32(uint32(word >> uint32(16)) & uint32(255)))
                        shared[place + uint32(3)] = float32(uint32(word >> uint32(24)))
            else:
                for part in range(x_parts):
                    e = uint32(lane + uint32(part * lanes))
                    i = uint32(i0 + e % uint32(tile_inputs))
                    column = i if i < inputs else uint32(0)
                    for k in range(x_steps):
                        row = uint32(first + e // uint32(tile_inputs) + uint32(k * x_apart))
                        row = row if row < batch else last_row
                        if layer == uint32(0):
                            image = uint32(image_rows[uint32(network * rows_pitch + row)])
                            x_values[k] = float32(images[uint32(image * image_pitch + column)])
                        else:
                            x_values[k] = activations[uint32(x_start + (network * batch + row) * inputs + column)]
                    for k in range(x_steps):
                        row = uint32(first + e // uint32(tile_inputs) + uint32(k * x_apart))
                        value = x_values[k]
                        if dropout:
                            is_kept = dropout_hash(dropout_row_key(mask_key, row), column) >= threshold
                            value = value * (kept if is_kept else float32(0))
                        value = float32(1) if i == inputs else value
                        shared[x_chunk + e + uint32(k * x_apart * tile_inputs)] = value if row < batch else float32(0)
            for part in range(dz_parts):
                e = uint32(lane + uint32(part * lanes))
                o = uint32(o0 + e % uint32(tile_outputs))
                for k in range(dz_steps):
                    row = uint32(first + e // uint32(tile_outputs) + uint32(k * dz_apart))
                    inside = o < outputs and row < batch
                    value = dz_values[part * dz_steps + k] if inside else float32(0)
                    shared[dz_chunk + e + uint32(k * dz_apart * tile_outputs)] = value
            cuda.syncthreads()

            for k in range(products_each):
                products[k] = float32(0)
            x_at = x_lane
            dz_at = dz_lane
            # Rows of a short chunk beyond the batch are zero and left out, except in its last turn.
            count = uint32(batch - first) if first < batch else uint32(0)
            count = count if count < uint32(CHUNK) else uint32(CHUNK)
            for _ in range(uint32(count + uint32(UNROLLED - 1)) // uint32(UNROLLED)):
                for row in range(UNROLLED):
                    for a in range(lane_inputs):
                        xs[a] = shared[x_at + uint32(row * tile_inputs + a)]
                    for b in range(lane_outputs):
                        dzs[b] = shared[dz_at + uint32(row * tile_outputs + b)]
                    for a in range(lane_inputs):
                        for b in range(lane_outputs):
                            products[a * lane_outputs + b] = cuda.fma(xs[a], dzs[b], products[a * lane_outputs + b])
                x_at = x_at + uint32(UNROLLED * tile_inputs)
                dz_at = dz_at + uint32(UNROLLED * tile_outputs)
            cuda.syncthreads()

            # The sums take the place of what they were made of.
            for a in range(lane_inputs):
                for b in range(lane_outputs):
                    shared[sums_lane + uint32(a * tile_outputs + b)] = products[a * lane_outputs + b]
            cuda.syncthreads()
            for k in range(weights_each):
                for other in range(chunks):
                    sums[k] += shared[t + uint32(other * sums_size + k * threads)]
            cuda.syncthreads()
            start = uint32(start + uint32(chunks * CHUNK))

        # All updates first, then all stores: no store waits for another weight's division.
        for k in range(weights_each):
            is_weight = uint32(my_i + uint32(k * rows_apart)) < inputs
            sums[k] = sums[k] * (scale if is_weight else float32(1))
            if is_adam:
                ws[k], ms[k], vs[k] = adam_step(
                    ws[k],
                    sums[k],
                    ms[k],
                    vs[k],
                    before,
                    root_factor,
                    keep,
                    decay,
                    beta1,
                    one_minus_beta1,
                    beta2,
                    one_minus_beta2,
                    eps,
                )
            elif is_update:
                velocity = ms[k] if has_momentum else float32(0)
                ws[k], ms[k] = sgd_step(ws[k], sums[k], velocity, before, keep, decay, momentum)
        for k in range(weights_each):
            i = uint32(my_i + uint32(k * rows_apart))
            at = uint32((bias if i == inputs else uint32(weight + i * outputs)) + my_o)
            if i <= inputs and my_o < outputs:
                parameters[at] = ws[k] if is_update else sums[k]
                if is_adam or has_momentum:
                    m[at] = ms[k]
                if is_adam:
                    v[at] = vs[k]

    return dense_update_kernel


def dense_update(
    x: Gathered,
    activations: Any,
    dz: Any,
    table: Any,
    parameters: Any,
    m: Any | None,
    v: Any | None,
    step_table: Any,
    lr_scale: Any,
    l2: Any | None,
    *,
    networks: int,
    rows: int,
    tiles: int,
    length: int,
    steps: int,
    step: StepCounter,
    method: str,
    dropout: DropoutArrays | None = None,
    momentum: float = 0.0,
    beta1: float = 0.0,
    one_minus_beta1: float = 0.0,
    beta2: float = 0.0,
    one_minus_beta2: float = 0.0,
    eps: float = 0.0,
    decoupled: bool = False,
    words: bool = True,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """The gradients of all layers and the optimizer's update, in one launch.

    activations and dz: flat float32 buffers of all layers' hidden activations and gradients. table: `tile_table`'s,
    int32 on the device, of `tiles` tiles, for these rows and this variant. method: "adam" or "sgd"; the optimizer's
    arguments are those of `optimizers.adam` and `sgd`, SGD's velocity being m. dropout: that of any layer; which layers
    it applies to, and under which number, stands in the table. words: x.images are uint32 words of bytes, not float32.
    """
    rule = "momentum" if method == "sgd" and momentum else method
    _launch(
        rule,
        x,
        activations,
        dz,
        table,
        (parameters, dz if m is None else m, dz if v is None else v, step_table, lr_scale),
        step_arguments(l2, lr_scale, step, steps, length, decoupled),
        (momentum, beta1, one_minus_beta1, beta2, one_minus_beta2, eps),
        (networks, rows, tiles),
        dropout,
        words,
        variant,
        stream,
    )


def dense_gradient(
    x: Gathered,
    activations: Any,
    dz: Any,
    table: Any,
    gradient: Any,
    *,
    networks: int,
    rows: int,
    tiles: int,
    length: int,
    step: StepCounter,
    dropout: DropoutArrays | None = None,
    words: bool = True,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """The same sums, written into gradient ``[P, length]``, whose padding is not touched. `step` is for dropout."""
    _launch(
        "gradient",
        x,
        activations,
        dz,
        table,
        (gradient, dz, dz, dz, dz),
        step_arguments(None, dz, step, 1, length, False),
        (0.0,) * 6,
        (networks, rows, tiles),
        dropout,
        words,
        variant,
        stream,
    )


def _launch(rule, x, activations, dz, table, buffers, step, constants, counts, dropout, words, variant, stream) -> None:
    networks, rows, tiles = counts
    shape = VARIANTS[variant or variant_for(rows)]
    if isinstance(shape, Run) and rows != 1:
        raise ValueError(f"the variant {variant} serves a batch of one row, not of {rows}")
    kernel = _make_kernel(shape, rule, words, dropout is not None)
    # Where an array is not looked at, any will do that is not written to (the simulator copies each argument back).
    seeds, thresholds, scales = (table, table, dz) if dropout is None else dropout[:3]
    arguments = (
        x.images,
        uint32(x.pitch),
        x.rows,
        uint32(x.rows_pitch),
        float32(x.scale),
        activations,
        dz,
        table,
        uint32(rows),
        seeds,
        thresholds,
        scales,
        *buffers,
        *step,
        *map(float32, constants),
    )
    enqueue(kernel, (tiles, networks), shape.threads, arguments, stream)


def report_cases() -> list[ReportCase]:
    words, u32, f32 = types.Array(types.uint32, 1, "C"), types.uint32, types.float32

    def case(name: str, variant: str, method: str = "adam", bytes_: bool = True, dropout: bool = False) -> ReportCase:
        shape = VARIANTS[variant]
        masks = (words, words, FLOATS) if dropout else (INTEGERS, INTEGERS, FLOATS)
        signature = (words if bytes_ else FLOATS, u32, INTEGERS, u32, f32, FLOATS, FLOATS, INTEGERS, u32, *masks)
        signature += (FLOATS,) * 5 + STEP_TYPES + (f32,) * 6
        kernel = _make_kernel(shape, method, bytes_, dropout)
        return ReportCase(f"dense_update {variant} {name}", kernel, signature, shape.threads)

    return [
        *(case("adam", variant) for variant in VARIANTS),
        *(case("adam, float32 data", variant, bytes_=False) for variant in ("four_chunks", "single_row")),
        *(case("adam, dropout", variant, dropout=True) for variant in ("four_chunks", "single_row")),
        *(
            case(method, variant, method)
            for variant in ("four_chunks", "single_row")
            for method in ("sgd", "momentum", "gradient")
        ),
    ]
