"""numba-cuda beside a NumPy that no longer has what it asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMPILED = """
import numpy as np

if hasattr(np, "row_stack"):  # NumPy before 2.5
    del np.row_stack
    np.__all__.remove("row_stack")

import stand_in_device

stand_in_device.install()
from gpunet.kernels.launch import Launch, cuda, jit

@jit
def twice(array):
    array[cuda.threadIdx.x] *= np.float32(2)

Launch(twice, 1, 1, (np.zeros(1, np.float32),)).compile()
assert not hasattr(np, "row_stack")
print("compiled", len(twice.overloads))
"""


def test_kernels_compile_with_a_numpy_that_has_no_row_stack(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment |= {"PYTHONPATH": str(Path(__file__).parent), "GPUNET_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "compiled 1\n", done.stderr
