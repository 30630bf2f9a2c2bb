"""The scripts of benchmarks/ import each other as neighbours, as they do when one of them is run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    """Nothing of what is timed here needs to be right to a tenth."""
    import measuring

    monkeypatch.setattr(measuring, "SECONDS_TO_REST", 0)
