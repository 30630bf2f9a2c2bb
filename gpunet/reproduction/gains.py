"""What each idea beyond the reports brings: how much better than the reports' own model it reads the test images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpunet.reproduction.beyond import IDEAS, Idea
from gpunet.reproduction.findings import COVERAGE
from gpunet.reproduction.running import Outcome


@dataclass(frozen=True)
class Gain:
    """What an idea brings, over the n seeds with which both its networks and the reference's are sound.

    accuracy, sd: of its test accuracies, shares (0..1). gain: by how much they exceed the reference's, on average.
    error: the standard error of the gain. low, high: the 95 % confidence interval of the gain. sd, error, low and high
    are None of one seed. parameters: of one network. seconds: of training one.

    A seed decides which images are learnt from and tested on, so an idea's network and the reference's of the same seed
    are a pair: their differences vary less than the accuracies do.
    """

    idea: Idea
    n: int
    accuracy: float
    sd: float | None
    gain: float
    error: float | None
    low: float | None
    high: float | None
    parameters: int
    seconds: float


def find_gain(idea: Idea, outcome: Outcome) -> Gain | None:
    """None if one of the two was not trained, or no seed's networks are both sound."""
    result, reference = outcome.results.get(idea.training), outcome.results.get(idea.reference)
    if result is None or reference is None:
        return None
    ours, theirs = (
        dict(zip(np.array(each.seeds)[each.sound].tolist(), each.test.accuracy[each.sound], strict=True))
        for each in (result, reference)
    )
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return None
    accuracy = np.array([ours[seed] for seed in seeds])
    gain, error, low, high = paired_difference(accuracy, np.array([theirs[seed] for seed in seeds]))
    return Gain(
        idea,
        len(seeds),
        float(accuracy.mean()),
        float(accuracy.std(ddof=1)) if len(seeds) > 1 else None,
        gain,
        error,
        low,
        high,
        result.network.layout.count,
        result.seconds["training"] / int(result.population.trained.sum()),
    )


def paired_difference(
    values: np.ndarray, others: np.ndarray, coverage: float = COVERAGE
) -> tuple[float, float | None, float | None, float | None]:
    """The mean of values - others, its standard error s / sqrt(n), and the ends of its confidence interval, mean +- t s
    / sqrt(n), where s is the standard deviation of the differences (n - 1) and t Student's quantile.

    values, others: float ``[n]``, in pairs. Of one pair there is the difference alone, and None for the rest.
    """
    from scipy.stats import t as student

    differences = values - others
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return mean, None, None, None
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    reach = float(student.ppf((1 + coverage) / 2, n - 1)) * error
    return mean, error, mean - reach, mean + reach


def gains(outcome: Outcome) -> list[Gain]:
    """Of those ideas of which it can be said, in the order of the registry."""
    return [gain for idea in IDEAS if (gain := find_gain(idea, outcome)) is not None]
