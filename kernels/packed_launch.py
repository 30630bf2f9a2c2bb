"""Launches packed as the driver takes them: what a kernel is handed lies ready in memory, so a launch is one call.

Numba looks at every argument of every launch anew: of what type it is, which compiled kernel serves these types, and
what the driver is to be handed for it. That takes much longer than small kernels run. A training run makes the same
launches in every epoch, and all of its steps share their arrays; here each is looked at once.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

from numba import types
from numba.cuda.cudadrv.driver import driver

from gpunet.kernels.launch import Launch

NUMBERS = {
    types.boolean: ctypes.c_uint8,
    types.int32: ctypes.c_int32,
    types.uint32: ctypes.c_uint32,
    types.float32: ctypes.c_float,
}


class PackedLaunch:
    """Makes its launch at each call. Its kernel is compiled and loaded, and its arguments stay alive with it."""

    def __init__(self, launch: Launch, function: Any, values: list[Any], stream: int) -> None:
        self._keeps_alive = launch, values
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        self._pointers = pointers
        grid = launch.grid if isinstance(launch.grid, tuple) else (launch.grid,)
        grid += (1,) * (3 - len(grid))
        block = launch.threads, 1, 1
        self._call = (_address(function.handle), *grid, *block, 0, stream, ctypes.addressof(pointers), 0)

    def __call__(self) -> None:
        driver.cuLaunchKernel(*self._call)


def _address(handle: Any) -> int:
    """Of a function on the device, whichever object a version of numba-cuda keeps it in."""
    return int(getattr(handle, "value", handle))


class Packer:
    """Packs launches for a stream, given by its address. Arrays and kernels that they share are looked at once."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._compiled: dict[tuple, tuple[Any, list[Any]]] = {}  # by dispatcher and kinds of arguments
        self._arrays: dict[int, list[Any]] = {}  # by identity: the launches keep them alive

    def packed(self, launch: Launch) -> PackedLaunch:
        compiled, leaf_types = self._compiled_for(launch)
        values: list[Any] = []
        for numba_type, leaf in zip(leaf_types, leaves(launch.arguments), strict=True):
            if numba_type in NUMBERS:
                values.append(NUMBERS[numba_type](leaf.item() if hasattr(leaf, "item") else leaf))
                continue
            if id(leaf) not in self._arrays:
                self._arrays[id(leaf)] = packed_by_numba(compiled, numba_type, leaf)
            values += self._arrays[id(leaf)]
        return PackedLaunch(launch, compiled._codelibrary.get_cufunc(), values, self._stream)

    def _compiled_for(self, launch: Launch) -> tuple[Any, list[Any]]:
        """The compiled kernel, and the types of its arguments' leaves."""
        key = launch.kernel, *map(kind, launch.arguments)
        if key not in self._compiled:
            compiled = launch.compile()
            self._compiled[key] = compiled, list(leaves(compiled.argument_types))
        return self._compiled[key]


def leaves(values: Any) -> Iterator[Any]:
    """Arguments, or their types, as the driver sees them: tuples are handed over element by element."""
    for value in values:
        if isinstance(value, (tuple, types.BaseTuple)):
            yield from leaves(value)
        else:
            yield value


def kind(argument: Any) -> Any:
    """What an argument's type follows from, among the arguments that our kernels take."""
    if isinstance(argument, tuple):
        return tuple(map(kind, argument))
    dtype = getattr(argument, "dtype", None)
    return type(argument) if dtype is None else (dtype.char, argument.ndim)


def packed_by_numba(compiled: Any, numba_type: Any, argument: Any) -> list[Any]:
    """What Numba's launch hands the driver for an argument, as ctypes objects. Newer versions leave addresses and sizes
    to the call, as Python's own numbers."""
    left: list[Any] = []
    compiled._prepare_args(numba_type, argument, 0, [], left)
    return [value if isinstance(value, ctypes._SimpleCData) else ctypes.c_int64(int(value)) for value in left]
