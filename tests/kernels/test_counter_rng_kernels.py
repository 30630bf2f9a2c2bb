"""The device's random integers are NumPy's, bit for bit: in the simulator, and as a compiler sees the same functions.

The simulator calculates in NumPy's types, compiled code in Numba's, where a product of two uint32 has 64 bits. So the
functions are compiled for the CPU as well, under the typing rules that hold for a device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import cuda, uint32
from tolerances import assert_same_bits

from gpunet import counter_rng as reference
from gpunet.kernels import counter_rng as device

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator

SEEDS = (0, 1, 12345, 2**31, 2**32 - 1)
STEP, LAYER, ROWS, COLUMNS = 2**32 - 3, 2, 5, 7
EPOCH = 9
SIZES = (1, 2, 3, 4, 5, 33, 64, 65)  # of permutations: even and odd numbers of bits, powers of two and one more


def expected_dropout():
    return reference.dropout_hash(np.array(SEEDS, np.uint32), STEP, LAYER, ROWS, COLUMNS)


def expected_permutation(n):
    return reference.permutation(np.array(SEEDS, np.uint32), EPOCH, n)


def feistel_arguments(n):
    bits = (n - 1).bit_length()
    low_bits = (bits + 1) // 2
    return n, low_bits, (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1


@cuda.jit
def dropout_hash_kernel(seeds, step, layer, out):
    network = uint32(cuda.blockIdx.x)
    row = uint32(cuda.threadIdx.x)
    column = uint32(cuda.threadIdx.y)
    key = device.dropout_key(seeds[network], step, layer)
    out[network, row, column] = device.dropout_hash(device.dropout_row_key(key, row), column)


@cuda.jit
def permuted_kernel(seeds, epoch, n, low_bits, low_mask, high_mask, out):
    network = uint32(cuda.blockIdx.x)
    place = uint32(cuda.threadIdx.x)
    key = device.shuffle_key(seeds[network], epoch)
    out[network, place] = device.permuted(place, key, n, low_bits, low_mask, high_mask)


def test_dropout_hashes_equal_numpy_s():
    out = np.zeros((len(SEEDS), ROWS, COLUMNS), np.uint32)
    dropout_hash_kernel[len(SEEDS), (ROWS, COLUMNS)](np.array(SEEDS, np.uint32), uint32(STEP), uint32(LAYER), out)
    assert_same_bits(out, expected_dropout())


@pytest.mark.parametrize("n", SIZES)
def test_permutations_equal_numpy_s(n):
    out = np.full((len(SEEDS), n), -1, np.int32)
    arguments = map(uint32, feistel_arguments(n))
    permuted_kernel[len(SEEDS), n](np.array(SEEDS, np.uint32), uint32(EPOCH), *arguments, out)
    assert_same_bits(out, expected_permutation(n))


# Runs where Numba is no simulator. While the module is imported, cuda.jit compiles for the CPU, so that its functions
# call each other as compiled code.
COMPILED = """
import json, sys
from unittest import mock
import numba
import numpy as np
from numba import cuda, njit, uint32

with mock.patch.object(cuda, "jit", lambda device: njit):
    from gpunet.kernels import counter_rng as device
assert isinstance(device.permuted, type(njit(lambda: None)))

@njit
def dropout(seeds, step, layer, out):
    for network in range(out.shape[0]):
        key = device.dropout_key(seeds[network], uint32(step), uint32(layer))
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                row_key = device.dropout_row_key(key, uint32(row))
                out[network, row, column] = device.dropout_hash(row_key, uint32(column))

@njit
def permutation(seeds, epoch, n, low_bits, low_mask, high_mask, out):
    for network in range(out.shape[0]):
        key = device.shuffle_key(seeds[network], uint32(epoch))
        for place in range(n):
            out[network, place] = device.permuted(
                uint32(place), key, uint32(n), uint32(low_bits), uint32(low_mask), uint32(high_mask)
            )

task = json.load(sys.stdin)
seeds = np.array(task["seeds"], np.uint32)
hashes = np.zeros([len(seeds), *task["shape"]], np.uint32)
dropout(seeds, task["step"], task["layer"], hashes)
orders = []
for arguments in task["permutations"]:
    order = np.zeros((len(seeds), arguments[0]), np.int32)
    permutation(seeds, task["epoch"], *arguments, order)
    orders.append(order.tolist())
json.dump([hashes.tolist(), orders], sys.stdout)
"""


def test_compiled_functions_equal_numpy_s():
    task = {
        "seeds": SEEDS,
        "shape": (ROWS, COLUMNS),
        "step": STEP,
        "layer": LAYER,
        "epoch": EPOCH,
        "permutations": [feistel_arguments(n) for n in SIZES],
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILED],
        input=json.dumps(task),
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hashes, orders = json.loads(done.stdout)
    assert hashes == expected_dropout().tolist()
    assert orders == [expected_permutation(n).tolist() for n in SIZES]
