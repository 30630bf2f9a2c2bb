"""Products of two matrices in tiles: what `dense_forward` and `dense_backward` share.

A block computes a tile of rows x columns of left @ right. Its threads form slices of equal size, and each slice takes
every `slices`-th chunk of the summed dimension, so that even a few results keep many threads busy. Stage by stage the
threads of a slice copy `depth` terms of both factors to shared memory, and each of them multiplies thread_rows x
thread_columns results' worth of them in registers. Meanwhile the next stage's numbers are on their way from global
memory to registers.

With one slice a thread adds its chunks' sums itself; with more, the sums meet in shared memory and are added there in
ascending order. Both are the additions that `launch` prescribes, so the bits do not depend on the tile.

Why registers: a multiply-add needs two numbers, but a T4's shared memory delivers only 16 floats a clock to its 64
multipliers. r x c results in the registers of a thread take (r + c) / (r c) floats each: 1/2 for 4 x 4, 3/8 for 8 x 4,
1/4 for 8 x 8, with which the two keep step.
"""

from typing import Any, NamedTuple

from numba import cuda, float32, uint32

from gpunet.kernels.launch import CHUNK, SIMULATOR, ceil_div, multiprocessors

WARP = 32  # threads that run in step
BANKS = 32  # of shared memory, four bytes wide each
VECTOR = 4  # terms that a thread reads at once: a vector of floats, or a word of bytes
WORD = type(uint32(0))  # for view(), which does not take Numba's own name in the simulator


class Tile(NamedTuple):
    """The constants of a kernel variant, powers of two but for the number of slices.

    depth is at least `VECTOR` and at most `CHUNK`. resident: how many blocks a multiprocessor must have registers for,
    0 to leave that to the assembler.
    """

    rows: int
    columns: int
    thread_rows: int
    thread_columns: int
    slices: int
    depth: int
    resident: int = 0

    @property
    def row_threads(self) -> int:
        return self.rows // self.thread_rows

    @property
    def column_threads(self) -> int:
        return self.columns // self.thread_columns

    @property
    def slice_threads(self) -> int:
        return self.row_threads * self.column_threads

    @property
    def threads(self) -> int:
        return self.slice_threads * self.slices

    @property
    def products(self) -> int:
        """Results of which a thread sums its slice's chunks."""
        return self.thread_rows * self.thread_columns

    @property
    def exchange(self) -> int:
        """Floats of shared memory in which the slices' sums meet."""
        return self.slices * self.slice_pitch(self.rows * self.columns) if self.slices > 1 else 0

    @property
    def stages(self) -> int:
        return CHUNK // self.depth

    def rounds(self, terms: int) -> int:
        """In how many rounds the slices take the chunks of a sum."""
        return ceil_div(terms, self.slices * CHUNK)

    def blocks(self, rows: int, columns: int) -> tuple[int, int]:
        """How many tiles cover a result."""
        return ceil_div(rows, self.rows), ceil_div(columns, self.columns)

    def slice_pitch(self, length: int) -> int:
        """From one slice's data in shared memory to the next's, so that the slices of a warp share out the banks."""
        if self.slice_threads >= WARP:
            return length + -length % VECTOR
        offset = max(VECTOR, BANKS * self.slice_threads // WARP)
        return length + (offset - length) % (2 * offset)  # an odd multiple of the offset


def widest_that_fills(tiles: dict[str, Tile], enough: dict[str, float], rows: int, columns: int, networks: int) -> str:
    """Of tiles from the largest to the smallest, the name of the first that makes enough blocks for each of the
    device's multiprocessors; the last one if none does."""
    for name, blocks in enough.items():
        down, across = tiles[name].blocks(rows, columns)
        if down * across * networks >= blocks * multiprocessors():
            return name
    return name


class RowCopy(NamedTuple):
    """How a slice copies rows of a matrix: from global memory to registers (`fetch`), later to shared memory (`put`).

    A thread begins with item lane % items of row lane // items and copies `columns` items of each `row_step`-th row.
    """

    items: int
    pitch: int
    rows: int
    columns: int
    row_step: int
    fetch: Any
    put: Any

    @property
    def loads(self) -> int:
        return self.rows * self.columns


def make_row_copy(tile_rows: int, items: int, pitch: int, threads: int, dtype: Any) -> RowCopy:
    """Copies tile_rows x items of float32 or uint32 to rows in shared memory that are `pitch` apart."""
    columns = max(1, items // threads)
    row_step = max(1, threads // items)
    rows = tile_rows // row_step
    if rows * row_step != tile_rows:
        raise ValueError(f"{threads} threads are too many to copy {tile_rows} rows of {items}")

    @cuda.jit(device=True)
    def fetch(registers, array, offsets, column, first, end):
        """registers = items `first` and on of the rows that begin at offsets, zero from item `end` on.

        offsets: this thread's first item in each of its rows, where `column` is that item's number.
        """
        for c in range(columns):
            item = uint32(first + uint32(c * threads))
            if uint32(item + column) < end:
                for r in range(rows):
                    registers[r * columns + c] = array[uint32(offsets[r] + item)]
            else:
                for r in range(rows):
                    registers[r * columns + c] = dtype(0)

    @cuda.jit(device=True)
    def put(shared, at, registers):
        for r in range(rows):
            for c in range(columns):
                shared[at + uint32(r * row_step * pitch + c * threads)] = registers[r * columns + c]

    return RowCopy(items, pitch, rows, columns, row_step, fetch, put)


@cuda.jit(device=True)
def byte_of(word, number):
    return float32(uint32(uint32(word >> uint32(8 * number)) & uint32(255)))


def make_multiply(
    tile: Tile, left_pitch: int, right_column: int, right_term: int, neighbours: int, packed: bool = False
):
    """multiply(sums, left, left_at, right, right_at): sums[i, j] += left[i, k] * right[k, j] over `depth` terms k.

    sums: float32 ``[thread_rows * thread_columns]`` in registers. left: rows of floats or, if `packed`, of words of
    four bytes. right: terms are right_term apart; columns come in groups of neighbours, which are right_column apart.
    left_at and right_at, where this thread's share begins, count in vectors (words of bytes), or in neighbours where
    right's terms are not neighbours themselves. This is what tells the compiler that vectors are aligned.
    """
    steps, thread_rows, thread_columns = tile.depth // VECTOR, tile.thread_rows, tile.thread_columns
    row_step = tile.row_threads * left_pitch
    right_unit = VECTOR if right_term == 1 else neighbours

    @cuda.jit(device=True)
    def multiply(sums, left, left_at, right, right_at):
        a = cuda.local.array((thread_rows, VECTOR), float32)
        b = cuda.local.array((thread_columns, VECTOR), float32)
        for _ in range(steps):
            for i in range(thread_rows):
                if packed:
                    word = left[left_at + uint32(i * row_step)]
                    for v in range(VECTOR):
                        a[i, v] = byte_of(word, v)
                else:
                    for v in range(VECTOR):
                        a[i, v] = left[uint32(left_at * uint32(VECTOR)) + uint32(i * row_step + v)]
            for v in range(VECTOR):
                for j in range(thread_columns):
                    place = j // neighbours * right_column + j % neighbours + v * right_term
                    b[j, v] = right[uint32(right_at * uint32(right_unit)) + uint32(place)]
                for i in range(thread_rows):
                    for j in range(thread_columns):
                        t = i * thread_columns + j
                        sums[t] = cuda.fma(a[i, v], b[j, v], sums[t])
            left_at = uint32(left_at + uint32(1))
            right_at = uint32(right_at + uint32(VECTOR * right_term // right_unit))

    return multiply


def slice_barrier(tile: Tile) -> Any:
    """What the threads of a slice wait with for each other's numbers in shared memory, all slices at the same place.

    Slices that lie within a warp each need no more than that: the other warps go on, some of them copying while others
    multiply. The simulator knows the block's barrier only.
    """

    @cuda.jit(device=True)
    def wait_for_block():
        cuda.syncthreads()

    @cuda.jit(device=True)
    def wait_for_warp():
        cuda.syncwarp()

    return wait_for_block if SIMULATOR or tile.slice_threads > WARP else wait_for_warp


class Totals(NamedTuple):
    """The results that a thread finishes, rows x columns of them.

    add(totals, sums, shared, thread) adds the chunks' sums of all slices to them. row_of(i, thread) and column_of(j,
    thread) are the places in the tile of totals[i * columns + j]; where a thread has no result, the row is beyond the
    tile.
    """

    rows: int
    columns: int
    add: Any
    row_of: Any
    column_of: Any


def make_totals(tile: Tile, neighbours: int) -> Totals:
    """With one slice they are the results of the thread's own products, else an even share of the tile.

    neighbours: columns of a thread's products that lie side by side. Its rows are `row_threads` apart, its groups of
    neighbours `column_threads` groups.
    """
    slices, threads, slice_threads, products = tile.slices, tile.threads, tile.slice_threads, tile.products
    thread_columns, row_threads, column_threads = tile.thread_columns, tile.row_threads, tile.column_threads
    rows, results, pitch = tile.rows, tile.rows * tile.columns, tile.exchange // slices
    shares = 1
    while results // shares > threads:
        shares *= 2
    finishers = results // shares  # threads that finish a share each
    share_step = finishers // slice_threads  # from a product of a share to the next
    if slices > 1 and shares > 1 and share_step % thread_columns:
        raise ValueError(f"{threads} threads would share out {thread_columns} columns unevenly")

    @cuda.jit(device=True)
    def row_of_product(t, lane):
        return uint32(lane // column_threads + t // thread_columns * row_threads)

    @cuda.jit(device=True)
    def column_of_product(t, lane):
        j = t % thread_columns
        return uint32((lane % column_threads + j // neighbours * column_threads) * neighbours + j % neighbours)

    @cuda.jit(device=True)
    def add_own(totals, sums, shared, thread):
        for t in range(products):
            totals[t] += sums[t]

    @cuda.jit(device=True)
    def own_row(i, thread):
        return row_of_product(i * thread_columns, thread)

    @cuda.jit(device=True)
    def own_column(j, thread):
        return column_of_product(j, thread)

    # Slices lay down their sums in the order of products and lanes, and thread n finishes results n, n + finishers ...
    @cuda.jit(device=True)
    def add_slices(totals, sums, shared, thread):
        at = uint32(thread // slice_threads * pitch + thread % slice_threads)
        cuda.syncthreads()  # the factors have been read: their place is free
        for t in range(products):
            shared[at + uint32(t * slice_threads)] = sums[t]
        cuda.syncthreads()
        if thread < finishers:
            for s in range(slices):  # a slice without a chunk has left zeros, which change nothing
                for i in range(shares):
                    totals[i] += shared[thread + uint32(s * pitch + i * finishers)]

    @cuda.jit(device=True)
    def share_row(i, thread):
        t = uint32(thread // slice_threads + uint32(i * share_step))
        return row_of_product(t, thread % slice_threads) if thread < finishers else uint32(rows)

    @cuda.jit(device=True)
    def share_column(j, thread):
        return column_of_product(thread // slice_threads, thread % slice_threads)

    if slices == 1:
        return Totals(tile.thread_rows, thread_columns, add_own, own_row, own_column)
    return Totals(shares, 1, add_slices, share_row, share_column)
