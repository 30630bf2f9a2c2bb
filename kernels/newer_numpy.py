"""Lets numba-cuda load beside a NumPy that is newer than it."""

import numpy as np


def load_array_functions() -> None:
    """Load numba-cuda's versions of NumPy's functions, which it loads before it compiles anything.

    Up to 0.30 it names `numpy.row_stack` among them, the old name of `vstack`, which NumPy has dropped with 2.5. The
    name is there while they load, and gone again.
    """
    if hasattr(np, "row_stack"):
        return
    np.row_stack = np.vstack
    try:
        import numba.cuda.np.arrayobj  # noqa: F401
    except ModuleNotFoundError:
        pass  # an older numba-cuda takes them from Numba, which does not load beside too new a NumPy
    finally:
        del np.row_stack
