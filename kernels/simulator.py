"""Numba's simulator, in a half to a third of its time. Where kernels are compiled nothing of this is imported.

The simulator runs each CUDA thread of a block in a thread of Python's. All of them compete for the interpreter, with
each other and with a loop that asks each whether it has come to a barrier; which runs ahead is chance. Here they take
turns: thread 0 runs up to its first barrier, then thread 1, and so on, and from there again. A kernel that lacks a
barrier then errs in the same way each time.
"""

import threading
from collections import deque
from itertools import product
from typing import Any

from numba import types
from numba.cuda.simulator import kernel as numba_kernel
from numba.np.numpy_support import as_dtype


class Worker(numba_kernel.BlockThread):
    """Runs CUDA threads of a block, one after another, until one of them waits at a barrier: it stays with that one.

    So a kernel without barriers takes one worker a block, and no switching.
    """

    def __init__(self, manager: Any, block: tuple[int, ...], points: deque, arguments: tuple) -> None:
        super().__init__(None, manager, block, points[0], False)
        self._points, self._arguments = points, arguments
        self._turn, self._pause = threading.Semaphore(0), threading.Semaphore(0)
        self._has_waited = self.is_done = False

    def run(self) -> None:
        self._turn.acquire()
        try:
            while self._points and not self._has_waited and not self.abort:
                x, y, z = self._points.popleft()
                across, down, _ = self._manager._block_dim
                self.threadIdx, self.thread_id = numba_kernel.Dim3(x, y, z), x + across * (y + down * z)
                self._manager._f(*self._arguments)
        except Exception as error:
            error.args = (f"{error} (CUDA thread {self.threadIdx} of block {self.blockIdx})",)
            self.exception = error
        self.is_done = True
        self._pause.release()

    def syncthreads(self) -> None:
        self._has_waited = True
        self._pause.release()
        self._turn.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block has failed")

    def take_turn(self) -> None:
        """Let it run up to its next barrier or its end; raises what its kernel raises."""
        self._turn.release()
        self._pause.acquire()
        if self.exception is not None:
            raise self.exception


class TurnManager(numba_kernel.BlockManager):
    """Runs a block, its threads in turn."""

    def run(self, grid_point: tuple[int, ...], *arguments: Any) -> None:
        points = deque(product(*map(range, self._block_dim)))
        workers: list[Worker] = []
        try:
            while points:
                workers.append(Worker(self, grid_point, points, arguments))
                workers[-1].start()
                workers[-1].take_turn()
            waiting = workers
            while waiting := [worker for worker in waiting if not worker.is_done]:
                for worker in waiting:
                    worker.take_turn()
        finally:
            for worker in workers:
                worker.abort = True
                worker._turn.release()
                worker.join()


_NUMPY_TYPES = {number_type.name: as_dtype(number_type).type for number_type in types.number_domain}
_call_of_type = types.Number.__call__


def number_of_type(number_type: types.Number, *values: Any) -> Any:
    """uint32(value) and the like. Numba's own way there searches modules at each call: a good part of a kernel's time.
    What is not a conversion of one number is left to it."""
    if len(values) == 1:
        try:
            return _NUMPY_TYPES[number_type.name](values[0])
        except (KeyError, TypeError):
            pass
    return _call_of_type(number_type, *values)


def hasten() -> None:
    """Let the simulator run kernels like this, in the whole process."""
    numba_kernel.BlockManager = TurnManager
    types.Number.__call__ = number_of_type
