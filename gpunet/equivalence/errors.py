"""The largest error so far of every operation, in units of its tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def in_units(actual: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> float:
    """The largest |actual - expected| / bound; infinite for a difference where the bound is zero, for NaN in any of the
    three, and for an infinite bound, which would allow everything."""
    if actual.shape != expected.shape:
        raise ValueError(f"arrays of the shapes {actual.shape} and {expected.shape} cannot be compared")
    with np.errstate(all="ignore"):
        difference = np.abs(actual.astype(np.float64) - expected)
        share = np.where(difference == 0, 0.0, difference / bound) + 0 * np.asarray(bound)
    return float(share.max(initial=0.0)) if not np.isnan(share).any() else math.inf


def exactly(actual: np.ndarray, expected: np.ndarray) -> float:
    """0 if the arrays agree in every element, else infinite."""
    return 0.0 if np.array_equal(actual, expected) else math.inf


def agrees(error: float) -> bool:
    return error <= 1  # and not `not error > 1`, which NaN would pass


@dataclass
class Finding:
    """What one operation was off by at one place. errors: for each array that it writes the largest of all calls."""

    operation: str
    where: str
    shapes: list[str] = field(default_factory=list)
    calls: int = 0
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        return max(self.errors.values(), default=math.inf)

    @property
    def agrees(self) -> bool:
        return agrees(self.error)

    def add(self, shapes: str, errors: dict[str, float]) -> None:
        self.calls += 1
        if shapes not in self.shapes:
            self.shapes.append(shapes)
        for name, error in errors.items():
            self.errors[name] = max(self.errors.get(name, 0.0), error)

    def as_json(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "where": self.where,
            "shapes": self.shapes,
            "calls": self.calls,
            "errors": {name: finite(error) for name, error in self.errors.items()},
            "error": finite(self.error),
            "agrees": self.agrees,
        }


class Findings(dict[tuple[str, str], Finding]):
    """{(operation, where): finding}, in the order in which they were first called."""

    def add(self, operation: str, where: str, shapes: str, errors: dict[str, float]) -> None:
        if (operation, where) not in self:
            self[operation, where] = Finding(operation, where)
        self[operation, where].add(shapes, errors)


def finite(error: float) -> float | None:
    """The error as JSON can hold it: None where it is infinite."""
    return error if math.isfinite(error) else None
