"""How hypothesis searches here: few examples, the same in every run, and no folder of past failures.

`HYPOTHESIS_PROFILE=search` draws new ones, a thousand a property.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("same", max_examples=25, derandomize=True, **_COMMON)
settings.register_profile("search", max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def plain_numbers():
    """Whoever overflows here does it on purpose."""
    import numpy as np

    with np.errstate(all="ignore"):
        yield
