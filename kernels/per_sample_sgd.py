"""Per-sample SGD over all rows of an epoch in one launch: networks with one hidden layer and one logit, a block each.

For each sample in turn, x being its row of the data set:

    a = activation(x @ W1 + b1)    z = a . w2 + b2      W1 [I, H], b1 [H], w2 [H], b2 a number
    loss, hit, dz = binary cross-entropy of z           as in binary_cross_entropy.py
    da = dz * w2 * activation'(a)                       all reads of a weight come before its update
    W1 -= rate * x^T da    b1 -= rate * da    w2 -= rate * dz * a    b2 -= rate * dz

A sample of 784-10-1 takes 31,000 operations, a launch's worth of waiting three times over if each layer is a kernel.
Here it is two barriers of one block, and nothing leaves the multiprocessor but a loss and a hit.

A thread owns the weights from `CHUNK` inputs to two hidden units: of each unit's sum one chunk (launch.py), which this
thread alone adds up. Two phases take turns, with a barrier after each:

1. A thread for each hidden unit adds up its chunks' sums and applies the activation. Meanwhile other warps lay down the
   next sample in shared memory, fetch the one after it from global memory, and write the loss of the one before.
2. Every thread works out the logit and its gradient for itself: that takes no longer than if one did, and the others
   waited for it at a third barrier. Then it sweeps over its weights once: each is updated for this sample and at once
   multiplied with the next one.

Two variants, the same bits:
- registers: as many threads as chunks. The weights stay in registers from the first sample to the last.
- memory: for layers too wide for that. The weights stay in global memory, which is to say the L2 cache, and are read
  and written once a sample, always by the thread that owns them.

Bytes moved, a sample: its row (784 as bytes), 12 for row number, label and rate, 5 written; from memory also 8 a
weight. The population is on grid axis x.
"""

from functools import cache, partial
from typing import Any, NamedTuple

from numba import cuda, float32, int32, types, uint8, uint32

from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.binary_cross_entropy import is_hit, logit_gradient, signed_logit, softplus
from gpunet.kernels.launch import (
    CHUNK,
    SIMULATOR,
    Gathered,
    ReportCase,
    StepCounter,
    ceil_div,
    enqueue,
    jit,
    launch_bounds_of,
)

WARP = 32
VECTOR = 4  # floats that a thread reads from shared memory at once, bytes in a word
CHUNK_PITCH = CHUNK + VECTOR  # of x in shared memory: threads at the same place in their chunks meet in no bank
COPIES = 4  # of items of a row by one thread, if there are enough threads

# What a block holds, x twice and the chunks' sums, in 48 KB of shared memory. The contract of gpunet.ops says the same.
LARGEST_INPUTS = 2048
LARGEST_HIDDEN = 256
LARGEST_WEIGHTS = 65536


class Variant(NamedTuple):
    """units: hidden units whose weights a thread owns, a chunk of each. owners: the most threads of a block that own
    weights. in_registers: whether that is all that they own; else each has as many chunks as it takes.
    """

    units: int
    owners: int
    in_registers: bool

    def groups(self, hidden: int) -> int:
        """Into how many groups of `units` the hidden units fall."""
        return ceil_div(hidden, self.units)


# In the order in which they are tried. Two units share what a thread reads of x. Of 384 threads on a multiprocessor, be
# they of one block or of several, each can have 168 registers: 64 weights, 32 inputs, and room for loads under way.
VARIANTS = {"registers": Variant(2, 384, True), "memory": Variant(2, 384, False)}


def fits(inputs: int, hidden: int) -> bool:
    """Whether the kernels serve a network of these sizes."""
    return inputs <= LARGEST_INPUTS and hidden <= LARGEST_HIDDEN and inputs * hidden <= LARGEST_WEIGHTS


# Kernel


@cache
def make_per_sample_sgd_kernel(inputs: int, hidden: int, activation: str, packed: bool, variant: Variant) -> Any:
    """The kernel for layers of these sizes and how many threads a block of it has. packed: rows are words of bytes."""
    units, most_owners, in_registers = variant
    chunks = ceil_div(inputs, CHUNK)
    groups = variant.groups(hidden)  # a group's units are this far apart, so that neighbours own neighbouring weights
    owned = chunks * groups
    if in_registers and owned > most_owners:
        raise ValueError(f"the weights of {inputs} inputs and {hidden} hidden units do not go into registers")
    item_type, item_terms = (uint32, VECTOR) if packed else (float32, 1)
    items = ceil_div(inputs, item_terms)
    items_a_chunk = CHUNK // item_terms
    # The last warps see to the hidden units, the others copy; a single warp does both.
    unit_threads = WARP * ceil_div(hidden, WARP)
    copy_threads = WARP * ceil_div(items, WARP * COPIES)
    threads = WARP * ceil_div(min(owned, most_owners), WARP)
    alone = threads == unit_threads == copy_threads == WARP
    if not alone:
        threads = max(threads, unit_threads + copy_threads)
    copiers = threads if alone else threads - unit_threads
    copies = ceil_div(items, copiers)
    x_size = chunks * CHUNK_PITCH
    tiles_size = x_size if in_registers else 2 * x_size
    sums_pitch = groups * units  # from one chunk's sums in shared memory to the next's
    sums_size = ceil_div(max(owned, threads), groups) * sums_pitch
    owned_weights = CHUNK * units
    hidden_terms = min(hidden, CHUNK)  # of a chunk of the logit's sum
    hidden_chunks = ceil_div(hidden, CHUNK)
    hidden_size = ceil_div(hidden_chunks * hidden_terms, VECTOR) * VECTOR
    first_unit = threads - unit_threads  # the thread of hidden unit 0
    function, derivative = ACTIVATIONS[activation]

    @cuda.jit(device=True)
    def fetch(registers, images, row, thread):
        """A copier's share of a row, from global memory. Beyond the end it reads the last item again."""
        for c in range(copies):
            item = min(uint32(thread + uint32(c * copiers)), uint32(items - 1))
            registers[c] = images[uint32(row + item)]

    @cuda.jit(device=True)
    def put(x_tile, begin, registers, thread):
        """The same, into shared memory, as floats."""
        for c in range(copies):
            item = uint32(thread + uint32(c * copiers))
            if item < uint32(items):
                place = uint32(begin + item * uint32(item_terms) + item // uint32(items_a_chunk) * uint32(VECTOR))
                if packed:
                    for v in range(VECTOR):
                        byte = uint32(uint32(registers[c] >> uint32(8 * v)) & uint32(255))
                        x_tile[place + uint32(v)] = float32(byte)
                else:
                    x_tile[place] = registers[c]

    @cuda.jit(device=True)
    def logit(a_tile, w2_tile, bias):
        total = float32(0)
        for chunk in range(hidden_chunks):
            part = float32(0)
            for k in range(hidden_terms):
                at = chunk * CHUNK + k
                part = cuda.fma(a_tile[at], w2_tile[at], part)
            total += part
        return total + bias

    @cuda.jit(device=True)
    def hidden_gradient(dz, a, w2):
        return dz * w2 * derivative(a)

    # A thread's place among the owners says which weights it owns: chunk place // groups of the units place % groups,
    # place % groups + groups ...

    @cuda.jit(device=True)
    def terms_of(place, u):
        """How many weights a thread owns of its unit u: none, where there is no such place or unit."""
        chunk = uint32(place // uint32(groups))
        unit = uint32(place % uint32(groups) + uint32(u * groups))
        terms = min(uint32(CHUNK), uint32(uint32(inputs) - chunk * uint32(CHUNK)))
        return terms if place < uint32(owned) and unit < uint32(hidden) else uint32(0)

    @cuda.jit(device=True)
    def first_weight(parameters, place):
        chunk = uint32(place // uint32(groups))
        return uint32(parameters + chunk * uint32(CHUNK * hidden) + place % uint32(groups))

    @cuda.jit(device=True)
    def load_weights(w, weight, parameters, place):
        """w[k * units + u] = the weight of input k of the chunk for unit u, 0 where there is none."""
        begin = first_weight(parameters, place)
        for u in range(units):
            terms = terms_of(place, u)
            for k in range(CHUNK):
                at = begin + uint32(k * hidden + u * groups)
                w[k * units + u] = weight[at] if uint32(k) < terms else float32(0)

    @cuda.jit(device=True)
    def store_weights(w, weight, parameters, place):
        begin = first_weight(parameters, place)
        for u in range(units):
            terms = terms_of(place, u)
            for k in range(CHUNK):
                if uint32(k) < terms:
                    weight[begin + uint32(k * hidden + u * groups)] = w[k * units + u]

    @cuda.jit(device=True)
    def hidden_steps(steps, place, a_tile, w2_tile, dz, rate):
        """steps[u] = what is added to the weights of unit u, for an input of 1."""
        for u in range(units):
            unit = min(uint32(place % uint32(groups) + uint32(u * groups)), uint32(hidden - 1))
            steps[u] = -rate * hidden_gradient(dz, a_tile[unit], w2_tile[unit])

    @cuda.jit(device=True)
    def sweep(w, x, x_tile, x_from, next_from, steps, sums):
        """w += steps * x, and sums of the new w times the next x, which takes the place of x.

        x is in registers, or in shared memory from `x_from` on.
        """
        for u in range(units):
            sums[u] = float32(0)
        for k in range(CHUNK):
            old = x[k] if in_registers else x_tile[x_from + uint32(k)]
            new = x_tile[next_from + uint32(k)]
            for u in range(units):
                at = k * units + u
                w[at] = cuda.fma(old, steps[u], w[at])
                sums[u] = cuda.fma(new, w[at], sums[u])
            if in_registers:
                x[k] = new

    @cuda.jit(device=True)
    def put_sums(chunk_sums, place, sums):
        """For the hidden units. There is room for the sums of nothing as well: a branch would tear the sweep apart."""
        first = uint32(place // uint32(groups) * uint32(sums_pitch) + place % uint32(groups))
        for u in range(units):
            chunk_sums[first + uint32(u * groups)] = sums[u]

    @cuda.jit(device=True)
    def report(row_loss, hits, place, z, label):
        s = signed_logit(z, z, float32(label))
        row_loss[place] = softplus(float32(0), z, z, s, uint32(1))
        hits[place] = uint8(is_hit(z, label))

    @partial(jit, **launch_bounds_of(threads, max(1, most_owners // threads)))
    def per_sample_sgd_kernel(
        source,
        labels,
        weight1,
        bias1,
        weight2,
        bias2,
        row_loss,
        hits,
        step_table,
        lr_scale,
        epoch,
        index,
        per_epoch,
        steps,
        rows,
        parameter_pitch,
        loss_pitch,
    ):
        if SIMULATOR:
            x_tile = cuda.shared.array(tiles_size, float32)
            a_tile = cuda.shared.array(hidden_size, float32)
            w2_tile = cuda.shared.array(hidden_size, float32)
        else:
            x_tile = cuda.shared.array(tiles_size, float32, alignment=16)
            a_tile = cuda.shared.array(hidden_size, float32, alignment=16)
            w2_tile = cuda.shared.array(hidden_size, float32, alignment=16)
        chunk_sums = cuda.shared.array(sums_size, float32)
        w = cuda.local.array(owned_weights, float32)
        sums = cuda.local.array(units, float32)
        hidden_step = cuda.local.array(units, float32)
        x = cuda.local.array(CHUNK, float32)
        fetched = cuda.local.array(copies, item_type)

        images, pitch, row_numbers, rows_pitch, scale = source
        thread = uint32(cuda.threadIdx.x)
        network = uint32(cuda.blockIdx.x)
        parameters = uint32(network * parameter_pitch)
        first_row = uint32(network * rows_pitch)
        last = uint32(rows - uint32(1))
        first_step = uint32(uint32(network * steps) + uint32(uint32(epoch[0]) * per_epoch) + index)
        results = uint32(network * loss_pitch)
        network_scale = lr_scale[network]

        # What lies beyond the inputs and hidden units stays zero. Zero is also the sample before the first.
        place = thread
        while place < uint32(tiles_size):
            x_tile[place] = float32(0)
            place += uint32(threads)
        place = thread
        while place < uint32(hidden_size):
            a_tile[place] = float32(0)
            w2_tile[place] = float32(0)
            place += uint32(threads)

        # Threads beyond the last place own nothing, and read what the first one reads.
        x_from = uint32(thread // uint32(groups) * uint32(CHUNK_PITCH)) if thread < uint32(owned) else uint32(0)
        if in_registers:
            load_weights(w, weight1, parameters, thread)
            for k in range(CHUNK):
                x[k] = float32(0)

        # The hidden unit whose sum, bias and outgoing weight are this thread's, if it `is_unit`.
        is_copier = thread < uint32(copiers)
        own = uint32(thread - uint32(first_unit))
        is_unit = (thread >= uint32(first_unit)) & (own < uint32(hidden))
        own = own if is_unit else uint32(0)
        b1 = bias1[uint32(parameters + own)]
        w2 = weight2[uint32(parameters + own)]
        b2 = bias2[parameters]
        a = float32(0)
        z = float32(0)

        row = uint32(row_numbers[first_row])
        fetch(fetched, images, uint32(row * pitch), thread)
        next_label = uint32(labels[row])
        row = uint32(row_numbers[uint32(first_row + min(uint32(1), last))])
        next_rate = float32(0)
        label = uint32(0)
        old_label = uint32(0)
        cuda.syncthreads()

        # In turn t the sample t - 1 is learnt from and sample t goes forward. There is none to learn from in the first
        # turn, which happens at a rate of zero, and none to go forward in the last, which repeats one.
        t = uint32(0)
        while t <= rows:
            if t > uint32(0):
                if is_unit:
                    total = float32(0)
                    for c in range(chunks):
                        total += chunk_sums[own + uint32(c * sums_pitch)]
                    a = function(cuda.fma(total, scale, b1))
                    a_tile[own] = a
                    w2_tile[own] = w2
                if t > uint32(1) and thread == uint32(0):
                    report(row_loss, hits, uint32(results + t - uint32(2)), z, old_label)
            if in_registers:
                x_begin = uint32(0)
            else:
                x_begin = uint32(x_size) if uint32(t & uint32(1)) else uint32(0)
            if is_copier:
                put(x_tile, x_begin, fetched, thread)
                fetch(fetched, images, uint32(row * pitch), thread)
            # What the next turns need sets out now. Nothing here may wait for it, not even to convert it.
            old_label = label
            label = next_label
            next_label = uint32(labels[row])
            row = uint32(row_numbers[uint32(first_row + min(uint32(t + uint32(2)), last))])
            rate = next_rate * network_scale
            next_rate = step_table[uint32(uint32(first_step + min(t, last)) * uint32(3))]
            cuda.syncthreads()

            z = logit(a_tile, w2_tile, b2)
            s = signed_logit(z, z, float32(old_label))
            dz = logit_gradient(s, float32(old_label), float32(0), float32(1))
            if in_registers:
                hidden_steps(hidden_step, thread, a_tile, w2_tile, dz, rate * scale)
                sweep(w, x, x_tile, x_from, x_from, hidden_step, sums)
                put_sums(chunk_sums, thread, sums)
            else:
                place = thread
                while place < uint32(owned):
                    hidden_steps(hidden_step, place, a_tile, w2_tile, dz, rate * scale)
                    x_from = uint32(place // uint32(groups) * uint32(CHUNK_PITCH))
                    load_weights(w, weight1, parameters, place)
                    other = uint32(x_from + uint32(x_size) - x_begin)
                    sweep(w, x, x_tile, other, uint32(x_from + x_begin), hidden_step, sums)
                    store_weights(w, weight1, parameters, place)
                    put_sums(chunk_sums, place, sums)
                    place += uint32(threads)
            b1 = cuda.fma(-rate, hidden_gradient(dz, a, w2), b1)
            w2 = cuda.fma(-rate, dz * a, w2)
            b2 = cuda.fma(-rate, dz, b2)
            cuda.syncthreads()
            t += uint32(1)

        if in_registers:
            store_weights(w, weight1, parameters, thread)
        if is_unit:
            bias1[uint32(parameters + own)] = b1
            weight2[uint32(parameters + own)] = w2
        if thread == uint32(0):
            bias2[parameters] = b2
            report(row_loss, hits, uint32(results + last), z, old_label)

    return per_sample_sgd_kernel, threads


# Launcher


def variant_for(inputs: int, hidden: int) -> str:
    """As many threads as there are chunks of weights, if a block can have them."""
    chunks = ceil_div(inputs, CHUNK)
    return next(
        word
        for word, variant in VARIANTS.items()
        if chunks * variant.groups(hidden) <= variant.owners or not variant.in_registers
    )


def per_sample_sgd(
    x: Gathered,
    labels: Any,
    weight1: Any,
    bias1: Any,
    weight2: Any,
    bias2: Any,
    row_loss: Any,
    hits: Any,
    *,
    step_table: Any,
    lr_scale: Any,
    networks: int,
    rows: int,
    inputs: int,
    hidden: int,
    parameter_pitch: int,
    loss_pitch: int,
    steps: int,
    step: StepCounter,
    activation: str,
    variant: str | None = None,
    stream: Any = 0,
) -> None:
    """Learn from x's rows one after another, in steps `step`, `step` + 1, ...

    x, labels (int32): the data set; x.rows has `rows` numbers for each network. weight1, bias1, weight2, bias2:
    float32, flat, updated; each begins at network 0's, network p's are p * parameter_pitch further on. row_loss, hits:
    float32 and uint8, flat, a network's `loss_pitch` apart; each sample's before its update. step_table: float32 ``[P,
    steps, 3]``, of which the first column is the learning rate. lr_scale: float32 ``[P]``. variant: a key of `VARIANTS`
    instead of the one that suits the sizes. Raises ValueError for sizes that do not fit a block.
    """
    if not fits(inputs, hidden):
        raise ValueError(f"per_sample_sgd does not serve {inputs} inputs and {hidden} hidden units")
    packed = x.images.dtype == "uint32"
    constants = VARIANTS[variant or variant_for(inputs, hidden)]
    kernel, threads = make_per_sample_sgd_kernel(inputs, hidden, activation, packed, constants)
    arguments = (
        (x.images, uint32(x.pitch), x.rows, uint32(x.rows_pitch), float32(x.scale)),
        labels,
        weight1,
        bias1,
        weight2,
        bias2,
        row_loss,
        hits,
        step_table,
        lr_scale,
        step.epoch,
        uint32(step.index),
        uint32(step.per_epoch),
        uint32(steps),
        uint32(rows),
        uint32(parameter_pitch),
        uint32(loss_pitch),
    )
    enqueue(kernel, networks, threads, arguments, stream)


def report_cases() -> list[ReportCase]:
    """The report's network, and each variant as narrow and as wide as it serves a row of 784."""
    floats, words, integers = float32[::1], uint32[::1], int32[::1]
    sizes = [(784, 10, "sigmoid", True), (784, 10, "tanh", True), (784, 10, "sigmoid", False)]
    sizes += [(784, hidden, "sigmoid", True) for hidden in (1, 30, 31, 83)] + [(784, 60, "relu", False)]
    cases = []
    for inputs, hidden, activation, packed in sizes:
        word = variant_for(inputs, hidden)
        kernel, threads = make_per_sample_sgd_kernel(inputs, hidden, activation, packed, VARIANTS[word])
        images, kind = (words, "bytes") if packed else (floats, "images")
        source = types.Tuple((images, uint32, integers, uint32, float32))
        signature = (source, integers, *(floats,) * 5, uint8[::1], floats, floats, integers, *(uint32,) * 6)
        name = f"per_sample_sgd {word} {inputs}-{hidden}-1 {kind} {activation}"
        cases.append(ReportCase(name, kernel, signature, threads))
    return cases
