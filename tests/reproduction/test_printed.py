"""Figures as the reports print them: what they say, and what they were rounded from."""

from __future__ import annotations

import pytest

from gpunet.reproduction.printed import Printed


@pytest.mark.parametrize(
    ("text", "value", "half_unit"),
    [
        ("0.65", 0.65, 0.005),
        ("0.6906", 0.6906, 0.00005),
        ("97.12%", 0.9712, 0.00005),
        ("95%", 0.95, 0.005),
        ("913 ms", 0.913, 0.0005),
        ("1.18 s", 1.18, 0.005),
        ("1000", 1000, 0.5),
    ],
)
def test_printed_is_read_with_its_unit(text, value, half_unit):
    printed = Printed(text, "final_loss", (), "a row")
    assert printed.value == pytest.approx(value, rel=1e-12)
    assert printed.half_unit == pytest.approx(half_unit, rel=1e-12)
