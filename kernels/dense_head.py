"""The head of a network in one kernel: last dense layer, loss, hits, gradients of the logits and of the hidden layer.

    logits = drop(x) @ W + b                                   x [P, B, I], W [P, I, O], b [P, O], O <= 32
    row_loss, hits, dlogits = loss(logits, labels, shares)     as in softmax_cross_entropy.py and its fellows
    dx = (dlogits @ W^T) * activation'(x) * dropout factor     [P, B, I], in front of the hidden layer's activation

As three kernels these are three launches that have next to nothing to do each, and logits, dlogits and W travel to
memory and back between them. Here a block takes a few whole rows, so that a batch of 128 is spread over 16 blocks or
more, and keeps W, x and the logits in shared memory. Bytes moved, a row: 4 I read and 4 I written, 8 O written, 5 for
loss and hit, 4 or 8 for the label, 4 for a share; and W once a block, from the L2 cache.

Inputs beyond what fits are taken a slab at a time. On the way back the slabs come in reverse order: the last one is
still there, and a layer of one slab is read once. Sums have the order that launch.py says, so logits are those of
dense_forward and dx that of dense_backward, bit for bit. The population is on grid axis y.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda, float32, int32, types, uint8, uint32

from gpunet.kernels import binary_cross_entropy as binary
from gpunet.kernels import softmax_cross_entropy as softmax
from gpunet.kernels import squared_error as squared
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.counter_rng import dropout_hash, dropout_key, dropout_row_key
from gpunet.kernels.launch import (
    CHUNK,
    SIMULATOR,
    DropoutArrays,
    GatheredLabels,
    ReportCase,
    StepCounter,
    ceil_div,
    enqueue,
    jit,
)
from gpunet.kernels.row_losses import (
    GATHERED_LABELS,
    label_index_function,
    label_source,
    make_row_pass,
    share_function,
    share_source,
    shares_type,
)

LARGEST_OUTPUTS = CHUNK  # a row of dlogits is one chunk of the sum that makes dx
VECTOR = 4  # floats that a thread reads from shared memory at once
THREAD_ROWS = 4  # rows that a thread multiplies one weight with
PART = CHUNK // 4  # terms that are written out one after another, without a loop

LOSSES = {module.LOSS.name: module.LOSS for module in (softmax, binary, squared)}


class Tile(NamedTuple):
    """The constants of a variant.

    rows: of x that a block takes, a multiple of `THREAD_ROWS`. slab: inputs in shared memory at a time, one to four
    chunks. whole: whether these are all that there are. outputs: the most that it serves. threads: of a block, one for
    each logit at least, and a multiple of slab.
    """

    rows: int
    slab: int
    whole: bool
    outputs: int
    threads: int

    def serves(self, inputs: int, outputs: int) -> bool:
        return outputs <= self.outputs and (inputs <= self.slab or not self.whole)


# In the order in which they are tried.
VARIANTS = {
    "short": Tile(rows=8, slab=64, whole=True, outputs=16, threads=128),
    "medium": Tile(rows=8, slab=128, whole=True, outputs=16, threads=128),
    "long": Tile(rows=4, slab=128, whole=False, outputs=16, threads=128),
    "wide_short": Tile(rows=4, slab=64, whole=True, outputs=32, threads=256),
    "wide_medium": Tile(rows=4, slab=128, whole=True, outputs=32, threads=256),
    "wide_long": Tile(rows=4, slab=128, whole=False, outputs=32, threads=256),
}


class Writes(NamedTuple):
    """Which gradients a kernel writes."""

    dlogits: bool
    dx: bool


# Device functions


@cuda.jit(device=True)
def read_dropout(dropout, network):
    """A network's key for this step, threshold and scale."""
    seeds, thresholds, scales, layer, epoch, per_epoch, index = dropout
    step = uint32(uint32(uint32(epoch[0]) * per_epoch) + index)
    return dropout_key(seeds[network], step, layer), thresholds[network], scales[network]


@cuda.jit(device=True)
def no_dropout(dropout, network):
    return uint32(0), uint32(0), float32(1)


@cuda.jit(device=True)
def dropout_factor(drop, row, column):
    key, threshold, scale = drop
    return float32(0) if dropout_hash(dropout_row_key(key, row), column) < threshold else scale


# Kernels


@cache
def make_dense_head_kernel(
    loss: str,
    outputs: int,
    activation: str,
    gathered: bool,
    weighted: bool,
    dropped: bool,
    writes: Writes,
    tile: Tile,
) -> Any:
    tile_rows, slab, whole, most_outputs, threads = tile
    chunks = slab // CHUNK
    # How x, W and the logits lie in shared memory. Of x a thread reads four floats at once: each chunk begins four
    # banks after the one before. Of W threads read rows and columns: hence an odd pitch, and chunks `outputs` banks
    # apart.
    x_chunk = CHUNK + VECTOR
    x_row = chunks * x_chunk
    w_row = outputs | 1
    w_chunk = CHUNK * w_row + outputs
    z_row = ceil_div(outputs, VECTOR) * VECTOR
    read_as_four = outputs % VECTOR == VECTOR - 1  # the last three logits of a row, with a number beyond it
    # Turns that the threads take to copy x and W; what the last turn over W copies beyond the slab has room of its own.
    x_turns = tile_rows * slab // threads
    w_turns = ceil_div(slab * outputs, threads)
    w_chunks = ceil_div(w_turns * threads, CHUNK * outputs)
    x_size, w_size, z_size = tile_rows * x_row, w_chunks * w_chunk, tile_rows * z_row
    # Logits: a thread takes one chunk of one column, for one group of rows. dx: one input, for a share of the rows.
    columns = chunks * outputs
    products = tile_rows // THREAD_ROWS * columns
    sums_size = tile_rows * columns
    dx_rows = x_turns
    assert (
        outputs <= most_outputs
        and tile_rows * outputs <= threads
        and products <= threads
        and threads % slab == 0
        and x_turns > 0
    )

    label_index, row_pass = label_index_function(gathered), make_row_pass(LOSSES[loss], outputs)
    share_of = share_function(weighted)
    dropout_of = read_dropout if dropped else no_dropout
    derivative = ACTIVATIONS[activation][1]
    write_dlogits, write_dx = writes

    @cuda.jit(device=True)
    def stage(x_tile, w_tile, x, weight, thread, slab_start, first_row, rows, inputs, x_at, w_at, drop):
        """Copy a slab of x, dropped, and of W to shared memory, with zeros for inputs that there are not.

        It reads what is surely there, needed or not: a branch would keep one read from starting before another ends.
        """
        w_start = uint32(slab_start * uint32(outputs))
        w_length = uint32(inputs * uint32(outputs))
        for turn in range(uint32(w_turns)):
            element = uint32(thread + turn * uint32(threads))
            index = uint32(w_start + element)
            value = weight[uint32(w_at + min(index, uint32(w_length - uint32(1))))]
            i = uint32(element // uint32(outputs))
            place = uint32(element + i * uint32(w_row - outputs) + uint32(i // uint32(CHUNK)) * uint32(outputs))
            w_tile[place] = value if index < w_length else float32(0)
        for turn in range(uint32(x_turns)):
            element = uint32(thread + turn * uint32(threads))
            r = uint32(element // uint32(slab))
            i = uint32(element % uint32(slab))
            row = min(uint32(first_row + r), uint32(rows - uint32(1)))
            column = uint32(slab_start + i)
            value = x[uint32(x_at + uint32(row * inputs) + min(column, uint32(inputs - uint32(1))))]
            if dropped:
                value *= dropout_factor(drop, row, column)
            place = uint32(r * uint32(x_row) + i + uint32(i // uint32(CHUNK)) * uint32(VECTOR))
            x_tile[place] = value if column < inputs else float32(0)

    @cuda.jit(device=True)
    def add_products(acc, x_tile, x_place, w_tile, w_place):
        """The next PART terms of one column's sums."""
        for k in range(uint32(PART)):
            w = w_tile[w_place + k * uint32(w_row)]
            for n in range(uint32(THREAD_ROWS)):
                acc[n] = cuda.fma(x_tile[x_place + (n * uint32(x_row) + k)], w, acc[n])

    @jit
    def dense_head_kernel(
        x,
        weight,
        bias,
        labels,
        shares,
        logits,
        row_loss,
        hits,
        dlogits,
        dx,
        dropout,
        rows,
        inputs,
        parameter_pitch,
        loss_pitch,
        inverse_rows,
    ):
        if SIMULATOR:
            x_tile = cuda.shared.array(x_size, float32)
            z_tile = cuda.shared.array(z_size, float32)
            terms = cuda.shared.array(z_size, float32)
        else:
            x_tile = cuda.shared.array(x_size, float32, alignment=16)
            z_tile = cuda.shared.array(z_size, float32, alignment=16)
            terms = cuda.shared.array(z_size, float32, alignment=16)
        w_tile = cuda.shared.array(w_size, float32)
        chunk_sums = cuda.shared.array(sums_size, float32)
        acc = cuda.local.array(THREAD_ROWS, float32)
        w_own = cuda.local.array(outputs, float32)

        network = uint32(cuda.blockIdx.y)
        thread = uint32(cuda.threadIdx.x)
        first_row = uint32(uint32(cuda.blockIdx.x) * uint32(tile_rows))
        x_at = uint32(uint32(network * rows) * inputs)
        w_at = uint32(network * parameter_pitch)
        drop = dropout_of(dropout, network)

        # The logit that is this thread's, if `active`; if not, it goes along with another one's.
        r = uint32(thread // uint32(outputs))
        o = uint32(thread - r * uint32(outputs))
        row = uint32(first_row + r)
        active = (r < uint32(tile_rows)) & (row < rows)
        row = min(row, uint32(rows - uint32(1)))
        index = label_index(labels, network, row, rows)
        bias_o = bias[uint32(w_at + o)]
        if read_as_four and thread < uint32(z_size):
            z_tile[thread] = float32(0)
            terms[thread] = float32(0)
        slab_start = uint32(0)
        stage(x_tile, w_tile, x, weight, thread, slab_start, first_row, rows, inputs, x_at, w_at, drop)
        cuda.syncthreads()
        label = uint32(labels[0][index])  # on its way while the logits are computed, as is the share
        share = share_of(shares, network, row, loss_pitch, inverse_rows)

        # Logits.
        group = uint32(thread // uint32(columns))
        column = uint32(thread - group * uint32(columns))
        chunk = uint32(column // uint32(outputs))
        x_place = uint32(group * uint32(THREAD_ROWS * x_row) + chunk * uint32(x_chunk))
        w_place = uint32(column + chunk * uint32(w_chunk - outputs))
        sums_place = uint32(group * uint32(THREAD_ROWS * columns) + column)
        z = float32(0)
        while True:
            if thread < uint32(products):
                for n in range(uint32(THREAD_ROWS)):
                    acc[n] = float32(0)
                add_products(acc, x_tile, x_place, w_tile, w_place)
                add_products(acc, x_tile, x_place + uint32(PART), w_tile, w_place + uint32(PART * w_row))
                add_products(acc, x_tile, x_place + uint32(2 * PART), w_tile, w_place + uint32(2 * PART * w_row))
                add_products(acc, x_tile, x_place + uint32(3 * PART), w_tile, w_place + uint32(3 * PART * w_row))
                for n in range(uint32(THREAD_ROWS)):
                    chunk_sums[sums_place + n * uint32(columns)] = acc[n]
            cuda.syncthreads()
            if active:
                for chunk in range(uint32(chunks)):
                    z += chunk_sums[uint32(r * uint32(columns) + o) + chunk * uint32(outputs)]
            if whole or uint32(slab_start + uint32(slab)) >= inputs:
                break
            slab_start += uint32(slab)
            stage(x_tile, w_tile, x, weight, thread, slab_start, first_row, rows, inputs, x_at, w_at, drop)
            cuda.syncthreads()

        # Loss.
        element = uint32(uint32(uint32(network * rows) + row) * uint32(outputs) + o)
        z_start = uint32(r * uint32(z_row))
        if active:
            z += bias_o
            z_tile[z_start + o] = z
            logits[element] = z
        cuda.syncthreads()
        place = uint32(uint32(network * loss_pitch) + row)
        dlogit = row_pass(z_tile, terms, z_start, o, label, active, share, row_loss, hits, place)
        if write_dlogits and active:
            dlogits[element] = dlogit
        if not write_dx:
            return

        # dx. Where the tile is longer than the batch, its last row is written again, and again the same.
        if active:
            z_tile[z_start + o] = dlogit
        cuda.syncthreads()
        i = uint32(thread % uint32(slab))
        chunk = uint32(i // uint32(CHUNK))
        w_place = uint32(chunk * uint32(w_chunk) + uint32(i % uint32(CHUNK)) * uint32(w_row))
        x_place = uint32(i + chunk * uint32(VECTOR))
        first = uint32(uint32(thread // uint32(slab)) * uint32(dx_rows))
        last = uint32(rows - uint32(1) - first_row)
        while True:
            column = uint32(slab_start + i)
            if column < inputs:
                for k in range(uint32(outputs)):
                    w_own[k] = w_tile[w_place + k]
                for n in range(uint32(dx_rows)):
                    r = min(uint32(first + n), last)
                    total = float32(0)
                    for k in range(uint32(outputs)):
                        total = cuda.fma(z_tile[r * uint32(z_row) + k], w_own[k], total)
                    row = uint32(first_row + r)
                    place = uint32(x_at + uint32(row * inputs) + column)
                    a = x_tile[r * uint32(x_row) + x_place]
                    if dropped:
                        a = x[place]  # the tile holds only what dropout left of it
                    total *= derivative(a)
                    if dropped:
                        total *= dropout_factor(drop, row, column)
                    dx[place] = total
            if whole or slab_start == uint32(0):
                break
            cuda.syncthreads()
            slab_start -= uint32(slab)
            stage(x_tile, w_tile, x, weight, thread, slab_start, first_row, rows, inputs, x_at, w_at, drop)
            cuda.syncthreads()

    return dense_head_kernel


# Launcher


def fits(outputs: int) -> bool:
    """Whether the fused head serves a last layer of so many outputs."""
    return 1 <= outputs <= LARGEST_OUTPUTS


def variant_for(inputs: int, outputs: int) -> str:
    return next(word for word, tile in VARIANTS.items() if tile.serves(inputs, outputs))


def dense_head(
    x: Any,
    weight: Any,
    bias: Any,
    labels: Any | GatheredLabels,
    *,
    loss: str,
    logits: Any,
    row_loss: Any,
    hits: Any,
    dlogits: Any | None = None,
    dx: Any | None = None,
    networks: int,
    rows: int,
    inputs: int,
    outputs: int,
    parameter_pitch: int,
    loss_pitch: int,
    shares: Any | None = None,
    activation: str = "identity",
    dropout: DropoutArrays | None = None,
    step: StepCounter | None = None,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """Logits, row losses, hits, and, where dlogits and dx are given, the gradients of logits and of the hidden layer.

    x: the hidden activations before dropout, float32 ``[P, B, I]``, flat, as is dx. weight, bias: float32, flat,
    network p's at p * parameter_pitch. labels: int32 ``[P, B]``, flat, or `GatheredLabels`. loss: a key of `LOSSES`.
    logits, dlogits: float32 ``[P, B, O]``, flat. row_loss: float32, hits: uint8, flat, network p's row b at p *
    loss_pitch + b. networks, rows, inputs, outputs: P, B, I, O. shares: float32, in the places of row_loss, for the
    gradients of a weighted mean instead. activation: of the hidden layer; dx is the gradient in front of it. dropout,
    step: what is dropped of x as it is read. variant: a key of `VARIANTS`, by default chosen by I and O.
    """
    if not fits(outputs):
        raise ValueError(f"the fused head serves 1 to {LARGEST_OUTPUTS} outputs, not {outputs}")
    tile = VARIANTS[variant or variant_for(inputs, outputs)]
    if not tile.serves(inputs, outputs):
        raise ValueError(f"the variant {variant} serves no layer of {inputs} inputs and {outputs} outputs")
    writes = Writes(dlogits is not None, dx is not None)
    weighted = share_source(shares, writes.dlogits)
    kernel = make_dense_head_kernel(
        loss,
        outputs,
        activation if dx is not None else "identity",
        isinstance(labels, GatheredLabels),
        bool(weighted),
        dropout is not None,
        writes,
        tile,
    )
    arguments = (
        x,
        weight,
        bias,
        label_source(labels),
        weighted,
        logits,
        row_loss,
        hits,
        x if dlogits is None else dlogits,  # what is not written may be anything that is not either
        x if dx is None else dx,
        dropout_source(dropout, step),
        uint32(rows),
        uint32(inputs),
        uint32(parameter_pitch),
        uint32(loss_pitch),
        float32(1 / rows),
    )
    enqueue(kernel, (ceil_div(rows, tile.rows), networks), tile.threads, arguments, stream)


def dropout_source(dropout: DropoutArrays | None, step: StepCounter | None) -> tuple:
    """Dropout and the step's number as a kernel takes them; nothing where nothing is dropped."""
    if dropout is None:
        return ()
    seeds, thresholds, scales, layer = dropout
    return seeds, thresholds, scales, uint32(layer), step.epoch, uint32(step.per_epoch), uint32(step.index)


def report_cases() -> list[ReportCase]:
    """Every variant, then what else changes the code."""
    train, evaluate = Writes(True, True), Writes(False, False)
    softmax_name, binary_name, squared_name = LOSSES
    cases = [(word, softmax_name, 32 if "wide" in word else 10, "relu", False, train) for word in VARIANTS]
    cases += [
        ("short", softmax_name, 10, "sigmoid", False, train),
        ("short", softmax_name, 10, "tanh", False, train),
        ("short", softmax_name, 10, "relu", True, train),
        ("wide_long", softmax_name, 32, "relu", True, train),
        ("short", softmax_name, 10, "identity", False, evaluate),
        ("short", binary_name, 1, "sigmoid", False, train),
        ("long", binary_name, 1, "sigmoid", False, train),
        ("short", squared_name, 10, "tanh", False, train),
    ]
    of_variants, binary_case = cases[: len(VARIANTS)], ("short", binary_name, 1, "sigmoid", False, train)
    cases = [(*case, False) for case in cases] + [(*case, True) for case in (*of_variants, binary_case)]
    floats = float32[::1]
    dropout = types.Tuple((uint32[::1], uint32[::1], floats, uint32, int32[::1], uint32, uint32))
    result = []
    for word, loss, outputs, activation, dropped, writes, weighted in cases:
        kernel = make_dense_head_kernel(loss, outputs, activation, True, weighted, dropped, writes, VARIANTS[word])
        signature = (floats, floats, floats, GATHERED_LABELS, shares_type(weighted))
        signature += (floats, floats, uint8[::1], floats, floats)
        signature += (dropout if dropped else types.Tuple(()), uint32, uint32, uint32, uint32, float32)
        extras = " dropout" * dropped + " loss only" * (not writes.dlogits) + " weighted" * weighted
        name = f"dense_head {word} O={outputs} {loss} {activation}{extras}"
        result.append(ReportCase(name, kernel, signature, VARIANTS[word].threads))
    return result
