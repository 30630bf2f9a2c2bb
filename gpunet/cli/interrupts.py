"""Ctrl-C, wherever it strikes. Imports nothing heavy."""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PAUSE = 0.01  # seconds, after which the main thread has long left where the interrupt was dropped


@contextmanager
def interrupts_get_through() -> Iterator[None]:
    """Repeat an interrupt that Python drops.

    A KeyboardInterrupt inside a finalizer or the callback of a weak reference (matplotlib has thousands) goes no
    further: Python prints its traceback, and the program runs on.
    """
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(_interrupt_soon, ())
        else:
            usual(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


def _interrupt_soon() -> None:
    time.sleep(PAUSE)
    _thread.interrupt_main()
