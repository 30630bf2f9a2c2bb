"""The simulator's threads in turn: barriers hold, faults come out, nothing stays behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numba import cuda, float32, int32, types, uint8, uint32

from gpunet.kernels.launch import SIMULATOR, jit

pytestmark = pytest.mark.skipif(not SIMULATOR, reason="kernels are compiled here")

THREADS = 5


@cuda.jit(device=True)
def meet():
    cuda.syncthreads()


@jit
def turn_round_kernel(values, turns):
    """Each block's values in reverse order, several times. The first thread leaves before the last turn."""
    shared = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    first = cuda.blockIdx.x * THREADS
    for turn in range(turns):
        if t == 0 and turn == turns - 1:
            return
        shared[t] = values[first + t]
        meet()
        values[first + t] = shared[THREADS - 1 - t]
        cuda.syncthreads()


@jit
def number_kernel(out, names):
    i = cuda.grid(1)
    out[i] = i
    names[i] = threading.get_ident()


@jit
def failing_kernel(values):
    t = cuda.threadIdx.x
    if t == 3:
        values[100] = 1
    meet()
    values[t] = t


def test_barriers_hold_between_threads_in_turn():
    values = np.arange(2 * THREADS, dtype=np.float32)
    turn_round_kernel[2, THREADS](values, 3)
    # Two turns and one in which thread 0 has gone: its value has stayed in shared memory from the turn before.
    np.testing.assert_array_equal(values, [0, 3, 2, 1, 4, 5, 8, 7, 6, 9])


def test_threads_without_barriers_share_a_thread_of_python():
    out, names = np.full(12, -1, np.int32), np.zeros(12, np.int64)
    number_kernel[3, 4](out, names)
    assert out.tolist() == list(range(12))
    assert all(len(set(block)) == 1 for block in names.reshape(3, 4).tolist())


def test_threads_of_a_block_have_their_places_in_three_dimensions():
    @jit
    def places_kernel(seen):
        t, b = cuda.threadIdx, cuda.blockIdx
        seen[b.x, t.x, t.y, t.z] += 1

    seen = np.zeros((2, 2, 3, 4), np.int32)
    places_kernel[2, (2, 3, 4)](seen)
    assert (seen == 1).all()


def test_a_fault_comes_out_with_its_thread_and_leaves_no_thread_behind():
    before, values = threading.active_count(), np.zeros(THREADS, np.float32)
    with pytest.raises(IndexError, match=r"out of bounds.*CUDA thread \(3, 0, 0\) of block \(0, 0, 0\)"):
        failing_kernel[2, THREADS](np.zeros(THREADS, np.float32))
    assert threading.active_count() == before
    number_kernel[1, THREADS](values, np.zeros(THREADS, np.int64))  # the next kernel finds its barriers again
    assert values.tolist() == [0, 1, 2, 3, 4]


def test_types_of_numba_still_make_numbers_and_signatures():
    assert type(uint32(7)) is np.uint32 and type(float32(uint32(7))) is np.float32
    with pytest.raises(OverflowError):
        uint8(300)
    assert int32(uint32, float32) == types.int32(types.uint32, types.float32)
    assert int32(float32).args == (float32,) and int32().return_type is int32
