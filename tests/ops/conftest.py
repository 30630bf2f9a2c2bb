"""What holds for all tests of single operations."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_floating_point_warnings():
    """Finite input raises no warning, not even where a result is zero or saturated."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield
