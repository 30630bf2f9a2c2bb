"""A fixed list of kernel launches, made again and again: from the second time on as one CUDA graph, where there is one.

A launch from Python costs tens of microseconds, a node of a graph about one; the kernels of a small network take less
than ten. What is captured is the very list that is otherwise launched one by one, so the bits are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from gpunet.kernels.launch import Launch


class Replay:
    """Makes these launches, in order, at each call; waits for none of them.

    memory: where the arrays live; its `prepared(launches)` gives for each of them a function that makes it, and its
    `graph(functions)` captures these and returns what replays them, or None where there are no graphs. calls: how often
    it is going to be called, as far as is known.

    A kernel runs once before it is captured, since loading it is not allowed then. So the first call launches directly
    if it brings a kernel that has not run yet, or if no other call is expected.
    """

    def __init__(self, launches: Sequence[Launch], memory: Any, *, graphs: bool, calls: int) -> None:
        self.launches = tuple(launches)
        self._memory = memory
        self._graphs = graphs
        self._calls_expected = calls
        self._prepared: Sequence[Callable[[], None]] | None = None
        self._graph: Any = None

    def __call__(self) -> None:
        if self._prepared is None:
            self._prepared = self._memory.prepared(self.launches)
        if self._graph is None and self._graphs and self._calls_expected > 1 and self._all_have_run():
            self._graph = self._captured()
        if self._graph is not None:
            self._graph()
            return
        for call in self._prepared:
            call()
        self._memory.have_run.update(launch.kernel for launch in self.launches)
        self._calls_expected += 1  # called once, it may be called again

    def _all_have_run(self) -> bool:
        return all(launch.kernel in self._memory.have_run for launch in self.launches)

    def _captured(self) -> Any:
        """The graph, or None where there is none to be had; then no attempt is made again."""
        try:
            graph = self._memory.graph(self._prepared)
        except Exception as error:  # noqa: BLE001 (CuPy's, Numba's or the driver's: launching directly is always possible)
            warnings.warn(f"kernels are launched one by one, because they cannot be captured ({error})", stacklevel=3)
            graph = None
        self._graphs = graph is not None
        return graph
