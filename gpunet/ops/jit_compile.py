"""Loops that Numba compiles for the CPU, and where they are kept: what one process has compiled, the next one loads.

They lie beside the CUDA kernels, for the same reasons (see `gpunet.kernels.kernel_cache`). Compiling takes seconds,
more than many a training run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target

from gpunet.kernels.kernel_cache import KernelCache


def loop(function: Callable[..., None]) -> Any:
    """A function of arrays and numbers, compiled when it is first called with arguments of new types.

    It divides by zero as NumPy does, lets other threads run meanwhile, and keeps to IEEE's arithmetic: what it adds,
    it adds in the order that is written.
    """
    dispatcher = njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = LoopCache(dispatcher)  # as enable_caching() does with Numba's own
    return dispatcher


class LoopCache(KernelCache):
    """Stands in a dispatcher where Numba's own cache would."""

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        super().save_overload(signature, _Portable(compiled))


class _Portable:
    """A compiled loop on its way to disk. What is read back is a loop that is ready to be called."""

    def __init__(self, compiled: CompileResult) -> None:
        self._compiled = compiled
        self.target_context = compiled.target_context

    def __reduce__(self) -> tuple[Callable[..., CompileResult], tuple]:
        return _rebuilt, self._compiled._reduce()


def _rebuilt(*parts: Any) -> CompileResult:
    cpu_target.target_context.refresh()  # where nothing has been compiled yet, it lacks what loops are linked to
    return CompileResult._rebuild(cpu_target.target_context, *parts)
