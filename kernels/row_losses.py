"""The kernels that all losses share: from logits to row losses, hits and the logits' gradient, in one pass.

A loss is a handful of functions of single numbers (`RowLoss`); softmax_cross_entropy.py, binary_cross_entropy.py and
squared_error.py each write down theirs. How a row is read, how its sum is added up and what is written is here, once;
the fused head (dense_head.py) goes over its rows with the same `make_row_pass`.

    logits, dlogits   float32 [P, B, C], contiguous
    labels            int32 [P, B], contiguous, or gathered from a data set by its rows; 0 to C - 1 (0 or 1 for C = 1)
    row_loss, hits    float32 and uint8; network p's row b at p * loss_pitch + b
    shares            float32, where row_loss is: by what share a row counts in its batch's weighted mean; without them
                      all count alike, 1 / B. They enter the gradient alone; a row's loss is as without.

Bytes moved, a row: 4 C read, 4 C written (with the gradient), 4 or 8 for the label, 5 for loss and hit, 4 for a share.
The variant for few classes reads a logit once, the one for many up to three times, of which two are served by the
cache.

Two variants, the same bits:
- few classes (at most a chunk): one thread a logit, whole rows in a block. Each thread adds up the row's terms for
  itself, which takes no longer than if one of them did and the others waited.
- many classes: one block a row. Neighbouring threads compute neighbouring terms into shared memory; there one thread
  sums one chunk.

A hit needs no index of the largest logit: every logit before the label's has to be smaller and none after it larger, so
that the first of equals counts; and where a logit is NaN no comparison holds. The population is on grid axis y.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numba import cuda, float32, int32, types, uint8, uint32

from gpunet.kernels.launch import CHUNK, GatheredLabels, ReportCase, ceil_div, enqueue, jit


class RowLoss(NamedTuple):
    """A loss by device functions. The target of a logit is 1 for the label's logit, else 0; with C = 1 it is the label.

    uses_maximum: whether `term` needs the row's largest logit. term(z, z_max, target): what a logit contributes.
    addend(term, target): what of it joins the row's sum, by total = add(total, addend), to which an addend of zero adds
    nothing. loss(total, z_max, z_target, term_target, classes): of the row; z_target and term_target are the label's.
    factor(total, term_target, share, classes): what the gradients of a row have in common. gradient(term, target,
    total, factor): of one logit. single_hit(z, label): for C = 1.
    """

    name: str
    uses_maximum: bool
    term: Callable
    addend: Callable
    add: Callable
    loss: Callable
    factor: Callable
    gradient: Callable
    single_hit: Callable | None = None


class Few(NamedTuple):
    """threads: of a block, which takes as many whole rows as they can hold a logit each."""

    threads: int


class Many(NamedTuple):
    """threads: of a block, which takes one row. chunks: how many are taken at a time, with one thread to sum each."""

    threads: int
    chunks: int


VARIANTS = {"few_classes": Few(threads=64), "many_classes": Many(threads=128, chunks=16)}


# Device functions


@cuda.jit(device=True)
def plain_label_index(source, network, row, batch):
    return uint32(uint32(network * batch) + row)


@cuda.jit(device=True)
def gathered_label_index(source, network, row, batch):
    _, rows, rows_pitch = source
    return uint32(rows[uint32(uint32(network * rows_pitch) + row)])


def label_index_function(gathered: bool) -> Callable:
    """Where a row's label is in source[0]. If gathered, that is a read, to begin long before the label is needed."""
    return gathered_label_index if gathered else plain_label_index


@cuda.jit(device=True)
def equal_share(shares, network, row, loss_pitch, inverse_rows):
    return inverse_rows


@cuda.jit(device=True)
def own_share(shares, network, row, loss_pitch, inverse_rows):
    return shares[0][uint32(uint32(network * loss_pitch) + row)]


def share_function(weighted: bool) -> Callable:
    """By what share a row counts in its batch's mean. If weighted, that is a read."""
    return own_share if weighted else equal_share


@cuda.jit(device=True)
def is_behind(z, z_target, column, label):
    """Whether a logit leaves the label's the first of the largest. NaN never does."""
    return z < z_target if column < label else z <= z_target


@cache
def make_row_pass(loss: RowLoss, classes: int) -> Callable:
    """The loss of rows that lie in shared memory, for at most CHUNK classes, one thread a logit."""
    uses_maximum, term, addend, add = loss.uses_maximum, loss.term, loss.addend, loss.add
    row_loss_of, factor_of, gradient_of, single_hit = loss.loss, loss.factor, loss.gradient, loss.single_hit
    single = classes == 1

    @cuda.jit(device=True)
    def row_pass(z, terms, start, column, label, active, share, row_loss, hits, place):
        """Write row_loss[place] and hits[place] and return the gradient of logit z[start + column].

        All threads of a block must come here; the `active` ones have a logit. When they return, z may be overwritten.
        A row's threads all write the same loss and hit to the same place: a branch for one of them would take longer.
        """
        target_column = uint32(0) if single else label
        target = float32(label) if single else float32(column == label)
        z_max = float32(0)
        z_target = float32(0)
        if active:
            # The maximum may pass over a NaN: exp(NaN - z_max) brings it into the sum.
            z_max = z[start]
            if uses_maximum:
                for j in range(uint32(1), uint32(classes)):
                    z_max = max(z_max, z[start + j])
            z_target = z[start + target_column]
            terms[start + column] = term(z[start + column], z_max, target)
            if single:
                hit = single_hit(z_target, label)
            else:
                hit = True
                for j in range(uint32(classes)):
                    hit = hit & is_behind(z[start + j], z_target, j, label)
            hits[place] = uint8(hit)
        cuda.syncthreads()
        gradient = float32(0)
        if active:
            total = float32(0)
            for j in range(uint32(classes)):
                other = float32(label) if single else float32(j == label)
                total = add(total, addend(terms[start + j], other))
            term_target = terms[start + target_column]
            factor = factor_of(total, term_target, share, uint32(classes))
            gradient = gradient_of(terms[start + column], target, total, factor)
            row_loss[place] = row_loss_of(total, z_max, z_target, term_target, uint32(classes))
        return gradient

    return row_pass


# Kernels


@cache
def make_few_classes_kernel(
    loss: RowLoss, classes: int, gathered: bool, weighted: bool, gradient: bool, threads: int
) -> Any:
    """One thread a logit."""
    tile_rows = threads // classes
    tile = tile_rows * classes
    label_index, row_pass = label_index_function(gathered), make_row_pass(loss, classes)
    share_of = share_function(weighted)

    @jit
    def few_classes_kernel(logits, labels, shares, row_loss, hits, dlogits, batch, classes_, loss_pitch, inverse_rows):
        z = cuda.shared.array(tile, float32)
        terms = cuda.shared.array(tile, float32)
        network = uint32(cuda.blockIdx.y)
        thread = uint32(cuda.threadIdx.x)
        tile_row = uint32(thread // uint32(classes))
        start = uint32(tile_row * uint32(classes))
        row = uint32(uint32(cuda.blockIdx.x) * uint32(tile_rows) + tile_row)
        active = (tile_row < uint32(tile_rows)) & (row < batch)
        element = uint32(uint32(uint32(network * batch) + row) * uint32(classes) + (thread - start))

        label = uint32(0)
        share = inverse_rows
        if active:
            index = label_index(labels, network, row, batch)
            z[thread] = logits[element]
            share = share_of(shares, network, row, loss_pitch, inverse_rows)
            label = uint32(labels[0][index])
        cuda.syncthreads()
        place = uint32(uint32(network * loss_pitch) + row)
        dlogit = row_pass(z, terms, start, uint32(thread - start), label, active, share, row_loss, hits, place)
        if gradient and active:
            dlogits[element] = dlogit

    return few_classes_kernel


@cache
def make_many_classes_kernel(
    loss: RowLoss, gathered: bool, weighted: bool, gradient: bool, threads: int, chunks: int
) -> Any:
    """One block a row, of at least two classes."""
    slab = chunks * CHUNK  # classes that are taken at a time
    turns = slab // threads
    pitch = CHUNK + 1  # so that threads that sum neighbouring chunks read from different banks
    tile = chunks * pitch
    groups = math.isqrt(threads)
    assert turns * threads == slab and chunks <= threads
    label_index, share_of = label_index_function(gathered), share_function(weighted)
    uses_maximum, term, addend, add = loss.uses_maximum, loss.term, loss.addend, loss.add
    row_loss_of, factor_of, gradient_of = loss.loss, loss.factor, loss.gradient

    @jit
    def many_classes_kernel(logits, labels, shares, row_loss, hits, dlogits, batch, classes, loss_pitch, inverse_rows):
        terms = cuda.shared.array(tile, float32)
        sums = cuda.shared.array(chunks, float32)
        largest = cuda.shared.array(threads, float32)
        group_largest = cuda.shared.array(groups, float32)
        network = uint32(cuda.blockIdx.y)
        row = uint32(cuda.blockIdx.x)
        thread = uint32(cuda.threadIdx.x)
        first = uint32(uint32(uint32(network * batch) + row) * classes)
        label = uint32(labels[0][label_index(labels, network, row, batch)])
        z_target = logits[first + label]

        # Where a slab is longer than the row, the last logit is read again, so that no branch holds up the next read.
        last = uint32(classes - uint32(1))

        # The row's maximum, in two steps; it may pass over a NaN, which exp(NaN - z_max) brings into the sum.
        z_max = z_target
        if uses_maximum:
            slab_start = uint32(0)
            while slab_start < classes:
                for turn in range(uint32(turns)):
                    column = min(uint32(slab_start + thread + turn * uint32(threads)), last)
                    z_max = max(z_max, logits[first + column])
                slab_start += uint32(slab)
            largest[thread] = z_max
            cuda.syncthreads()
            if thread < uint32(groups):
                other = thread
                while other < uint32(threads):
                    z_max = max(z_max, largest[other])
                    other += uint32(groups)
                group_largest[thread] = z_max
            cuda.syncthreads()
            for group in range(uint32(groups)):
                z_max = max(z_max, group_largest[group])

        # The row's sum.
        hit = True
        total = float32(0)
        slab_start = uint32(0)
        while slab_start < classes:
            for turn in range(uint32(turns)):
                place = uint32(thread + turn * uint32(threads))
                column = min(uint32(slab_start + place), last)
                z = logits[first + column]
                hit = hit & is_behind(z, z_target, column, label)
                target = float32(column == label)
                value = addend(term(z, z_max, target), target)
                place += uint32(place // uint32(CHUNK)) * uint32(pitch - CHUNK)
                terms[place] = value if uint32(slab_start + thread + turn * uint32(threads)) < classes else float32(0)
            cuda.syncthreads()
            if thread < uint32(chunks):
                chunk_sum = float32(0)
                for k in range(uint32(CHUNK)):
                    chunk_sum = add(chunk_sum, terms[uint32(thread * uint32(pitch)) + k])
                sums[thread] = chunk_sum
            cuda.syncthreads()
            for chunk in range(uint32(chunks)):
                total += sums[chunk]
            slab_start += uint32(slab)

        hit = cuda.syncthreads_and(int32(hit))
        term_target = term(z_target, z_max, float32(1))
        if thread == uint32(0):
            place = uint32(uint32(network * loss_pitch) + row)
            row_loss[place] = row_loss_of(total, z_max, z_target, term_target, classes)
            hits[place] = uint8(hit != 0)
        if gradient:
            share = share_of(shares, network, row, loss_pitch, inverse_rows)
            factor = factor_of(total, term_target, share, classes)
            slab_start = uint32(0)
            while slab_start < classes:
                for turn in range(uint32(turns)):
                    column = uint32(slab_start + thread + turn * uint32(threads))
                    target = float32(column == label)
                    own = term(logits[first + min(column, last)], z_max, target)
                    if column < classes:
                        dlogits[first + column] = gradient_of(own, target, total, factor)
                slab_start += uint32(slab)

    return many_classes_kernel


# Launcher


def variant_for(classes: int) -> str:
    return "few_classes" if classes <= CHUNK else "many_classes"


def make_kernel(
    loss: RowLoss, classes: int, gathered: bool, weighted: bool, gradient: bool, constants: Few | Many
) -> tuple[Any, int]:
    """The kernel of a variant and how many rows a block of it takes. weighted: whether with shares; only a gradient
    has a use for them."""
    if isinstance(constants, Few):
        kernel = make_few_classes_kernel(loss, classes, gathered, weighted, gradient, constants.threads)
        return kernel, constants.threads // classes
    return make_many_classes_kernel(loss, gathered, weighted, gradient, *constants), 1


def label_source(labels: Any | GatheredLabels) -> tuple:
    """Labels as a kernel takes them: (labels,), or (labels, rows, pitch of rows)."""
    if isinstance(labels, GatheredLabels):
        return labels.labels, labels.rows, uint32(labels.rows_pitch)
    return (labels,)


def share_source(shares: Any | None, gradient: bool) -> tuple:
    """Shares as a kernel takes them: nothing where there are none, or no gradient that they would enter."""
    return (shares,) if gradient and shares is not None else ()


def launch(
    loss: RowLoss,
    logits,
    labels,
    row_loss,
    hits,
    dlogits,
    *,
    networks,
    rows,
    classes,
    loss_pitch,
    shares,
    variant,
    stream,
) -> None:
    """Launch a loss's kernel; the launcher of each loss says what the arguments are."""
    constants = VARIANTS[variant or variant_for(classes)]
    gathered, gradient = isinstance(labels, GatheredLabels), dlogits is not None
    source = share_source(shares, gradient)
    kernel, tile_rows = make_kernel(loss, classes, gathered, bool(source), gradient, constants)
    arguments = (
        logits,
        label_source(labels),
        source,
        row_loss,
        hits,
        logits if dlogits is None else dlogits,
        uint32(rows),
        uint32(classes),
        uint32(loss_pitch),
        float32(1 / rows),
    )
    enqueue(kernel, (ceil_div(rows, tile_rows), networks), constants.threads, arguments, stream)


GATHERED_LABELS = types.Tuple((int32[::1], int32[::1], uint32))


def shares_type(weighted: bool) -> types.Type:
    """Of what `share_source` makes."""
    return types.Tuple((float32[::1],) * weighted)


def report_cases_of(loss: RowLoss, classes: tuple[int, ...]) -> list[ReportCase]:
    """The kernels of a loss for these numbers of classes, as they train, with labels gathered, with losses only, and
    with rows that have weights."""
    floats = float32[::1]
    cases = []
    for count in classes:
        word = variant_for(count)
        for gradient, weighted in ((True, False), (False, False), (True, True)):
            kernel, _ = make_kernel(loss, count, True, weighted, gradient, VARIANTS[word])
            signature = (floats, GATHERED_LABELS, shares_type(weighted), floats, uint8[::1], floats)
            signature += (uint32, uint32, uint32, float32)
            name = f"{loss.name} {word} C={count}" + " loss only" * (not gradient) + " weighted" * weighted
            cases.append(ReportCase(name, kernel, signature, VARIANTS[word].threads))
    return cases
