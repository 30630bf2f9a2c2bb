"""Launches packed once: every argument in the driver's order, and what launches share packed only once."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba.cuda")

from numba import types

from gpunet.kernels import launch as launching
from gpunet.kernels import packed_launch
from gpunet.kernels.launch import Launch
from gpunet.kernels.packed_launch import Packer

FLOATS = types.Array(types.float32, 1, "C")


class Compiled:
    """Stands for Numba's compiled kernel: arrays become five values, numbers one."""

    def __init__(self, *argument_types):
        self.argument_types, self.prepared = argument_types, []
        self._codelibrary = SimpleNamespace(get_cufunc=lambda: SimpleNamespace(handle=1234))

    def _prepare_args(self, numba_type, value, stream, retr, kernelargs):
        self.prepared.append(value)
        if isinstance(numba_type, types.Array):
            kernelargs += [0, value.size, value.dtype.itemsize, np.int64(value.ctypes.data), ctypes.c_void_p(7)]
        else:
            kernelargs.append(getattr(ctypes, f"c_{'float' if numba_type == types.float32 else numba_type}")(value))


@pytest.fixture
def made(monkeypatch):
    """What the driver was asked to launch."""
    calls = []
    monkeypatch.setattr(packed_launch, "driver", SimpleNamespace(cuLaunchKernel=lambda *call: calls.append(call)))
    return calls


def values_of(call, *ctypes_types):
    """What lies where the call's pointers lead."""
    pointers = (ctypes.c_void_p * len(ctypes_types)).from_address(call[-2])
    return [each.from_address(pointer).value for each, pointer in zip(ctypes_types, pointers, strict=True)]


def test_packed_launch_hands_the_driver_each_argument_in_order(made):
    array, number = np.zeros(3, np.float32), np.uint32(2**32 - 1)
    compiled = Compiled(types.Tuple((FLOATS, types.uint32)), types.boolean, types.float32, types.boolean)
    launch = Launch(None, (5, 7), 96, ((array, number), True, np.float32(0.5), np.bool_(False)))
    packer = Packer(stream=42)
    packer._compiled_for = lambda _: (compiled, [FLOATS, types.uint32, types.boolean, types.float32, types.boolean])
    packed = packer.packed(launch)
    del launch
    packed()
    packed()
    assert made[0] == made[1] and made[0][:9] == (1234, 5, 7, 1, 96, 1, 1, 0, 42) and made[0][-1] == 0
    long, byte = ctypes.c_int64, ctypes.c_uint8
    kinds = (long, long, long, long, long, ctypes.c_uint32, byte, ctypes.c_float, byte)
    expected = [0, 3, 4, array.ctypes.data, 7, 2**32 - 1, 1, 0.5, 0]
    assert values_of(made[0], *kinds) == expected


def test_packer_looks_at_what_launches_share_once(made, monkeypatch):
    monkeypatch.setattr(launching, "SIMULATOR", False)  # there, nothing is compiled

    class Kernel:
        compiled = Compiled(FLOATS, types.int32)
        asked = 0

        def typeof_pyval(self, value):
            return value

        def compile(self, argument_types):
            self.asked += 1
            self.compiled.bind = lambda: None
            return self.compiled

    kernel, array, other = Kernel(), np.zeros(3, np.float32), np.zeros(3, np.float32)
    packer = Packer(0)
    for arguments in ((array, np.int32(1)), (array, np.int32(2)), (other, np.int32(3))):
        packer.packed(Launch(kernel, 9, 32, arguments))()
    assert kernel.asked == 1
    assert [id(value) for value in kernel.compiled.prepared] == [id(array), id(other)]
    assert {call[1:4] for call in made} == {(9, 1, 1)}
    packer.packed(Launch(kernel, 9, 32, (np.zeros(3, np.int32), np.int32(1))))  # arrays of another type
    assert kernel.asked == 2
