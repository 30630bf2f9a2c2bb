"""Ours beside theirs: the mean and standard deviation of a figure over the seeds, and where one more run would lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpunet.reproduction.printed import Printed
from gpunet.reproduction.quantities import COUNT, LOSS, QUANTITIES, SECONDS, SHARE, values_of
from gpunet.reproduction.running import Outcome

COVERAGE = 0.95
ROUNDING = 1e-9  # a figure at the very edge of an interval lies inside, whatever its last bit


@dataclass(frozen=True)
class Finding:
    """What we found for a figure of a report, over n networks.

    sd: of a sample (n - 1), None of one network. low, high: the 95 % prediction interval, None of one network. inside:
    whether the report's single run lies there; None where that would be no evidence or cannot be said.
    """

    printed: Printed
    n: int
    mean: float
    sd: float | None
    min: float
    max: float
    low: float | None
    high: float | None
    inside: bool | None


def prediction_interval(values: np.ndarray, coverage: float = COVERAGE) -> tuple[float, float] | None:
    """Where one more value lies with this probability, if all are drawn from one normal distribution.

    mean +- t s sqrt(1 + 1/n), s the sample's standard deviation and t the quantile of Student's distribution with
    n - 1 degrees of freedom. values: float ``[n]``. None of fewer than two.
    """
    from scipy.stats import t as student

    n = len(values)
    if n < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = float(student.ppf((1 + coverage) / 2, n - 1)) * sd * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach


def lies_inside(printed: Printed, low: float, high: float) -> bool:
    """Whether a figure lies in an interval, or what it was rounded from may: 97% is anything from 96.5 to 97.5%."""
    slack = printed.half_unit + ROUNDING
    return low - slack <= printed.value <= high + slack


def values_beside(printed: Printed, outcome: Outcome) -> np.ndarray | None:
    """What stands beside a printed figure, one number a network, float64 ``[n]``; None where there is nothing."""
    if QUANTITIES[printed.quantity].kind == SECONDS:
        parts = [outcome.seconds.get(training) for training in printed.trainings]
    else:
        results = [outcome.results.get(training) for training in printed.trainings]
        parts = [None if each is None else values_of(each, printed.quantity, printed.of) for each in results]
    if any(part is None or len(part) == 0 for part in parts):
        return None
    shortest = min(map(len, parts))
    return np.sum([part[:shortest] for part in parts], axis=0)


def find(printed: Printed, outcome: Outcome) -> Finding | None:
    """What we found for a figure of a report; None if its networks were not trained or its class is not there."""
    values = values_beside(printed, outcome)
    if values is None:
        return None
    interval = prediction_interval(values)
    low, high = interval or (None, None)
    marked = interval is not None and outcome.is_evidence and QUANTITIES[printed.quantity].kind != SECONDS
    return Finding(
        printed,
        len(values),
        float(values.mean()),
        float(values.std(ddof=1)) if interval else None,
        float(values.min()),
        float(values.max()),
        low,
        high,
        lies_inside(printed, low, high) if marked else None,
    )


def value_text(printed: Printed, value: float) -> str:
    """A value of ours in the report's unit, with a digit more where the report has few."""
    kind = QUANTITIES[printed.quantity].kind
    if kind == SECONDS:
        return _seconds(value)
    if kind == COUNT:
        return f"{value:g}"
    if kind == SHARE and printed.is_percentage:
        return f"{100 * value:.1f}%"
    return f"{value:.4f}" if kind == LOSS else f"{value:.3f}"


def ours_text(finding: Finding | None) -> str:
    """'0.1662 ± 0.0110', '97.1 ± 0.8%'; '-' where there is nothing."""
    if finding is None:
        return "-"
    mean = value_text(finding.printed, finding.mean)
    if finding.sd is None or QUANTITIES[finding.printed.quantity].kind == COUNT:
        return mean
    unit = next((unit for unit in ("%", " ms", " s") if mean.endswith(unit)), "")
    scale = {"%": 100.0, " ms": 1000.0}.get(unit, 1.0)
    number = mean.removesuffix(unit)
    decimals = len(number.partition(".")[2])
    return f"{number} ± {scale * finding.sd:.{decimals}f}{unit}"


def interval_text(finding: Finding | None) -> str:
    """'0.143 to 0.190', cut off where no figure can be: below 0, and for shares above 1."""
    if finding is None or finding.low is None or QUANTITIES[finding.printed.quantity].kind in (COUNT, SECONDS):
        return ""
    top = 1.0 if QUANTITIES[finding.printed.quantity].kind == SHARE else math.inf
    low, high = (value_text(finding.printed, min(max(each, 0.0), top)) for each in (finding.low, finding.high))
    return f"{low.removesuffix('%')} to {high}"


def mark(finding: Finding | None) -> str:
    """Whether the report's run lies inside, or nothing."""
    if finding is None or finding.inside is None:
        return ""
    return " ✓" if finding.inside else " ✗"


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 0.9995 else f"{value:.2f} s"
