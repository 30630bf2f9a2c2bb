"""What backends give out, and how calls are captured."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.ops import NumpyOps, numpy_ops


def test_zeros_and_asarray_take_the_backends_type(ops):
    assert ops.zeros((2, 3)).dtype == ops.asarray([1.5]).dtype == ops.dtype
    assert ops.zeros(3, np.int32).dtype == np.int32 and ops.asarray([1], np.uint32).dtype == np.uint32
    assert not ops.to_host(ops.zeros((2, 3))).any()


def test_asarray_and_to_host_copy(ops):
    source = np.ones(3, ops.dtype)
    array = ops.asarray(source)
    host = ops.to_host(array)
    source[:], host[:] = 2, 3
    assert ops.to_host(array).tolist() == [1, 1, 1]


def test_asarray_is_contiguous(ops):
    array = ops.asarray(np.arange(6.0).reshape(2, 3).T)
    assert array.flags.c_contiguous
    assert ops.to_host(array).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_capture_replays_the_calls_in_order(ops):
    calls = []
    replay = ops.capture([lambda: calls.append(1), lambda: calls.append(2)])
    assert calls == []
    replay()
    replay()
    assert calls == [1, 2, 1, 2]


def test_capture_leaves_numpys_error_state_as_it_was_after_an_exception():
    def broken():
        assert np.geterr()["over"] == "ignore"
        raise KeyboardInterrupt

    with np.errstate(over="raise"):
        with pytest.raises(KeyboardInterrupt):
            NumpyOps().capture([broken])()
        assert np.geterr()["over"] == "raise"


def test_capture_gives_small_products_one_blas_thread():
    threads = []

    def record():
        threads.append([pool["num_threads"] for pool in numpy_ops._threadpools().info()])

    record()
    NumpyOps().capture([record], largest_product=64 * 784 * 10)()
    record()
    before, during, after = threads
    assert all(count == 1 for count in during)
    assert before == after


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.complex128])
def test_numpy_ops_refuses_types_it_cannot_compute_in(dtype):
    with pytest.raises(ValueError, match="float32 or float64"):
        NumpyOps(dtype)
