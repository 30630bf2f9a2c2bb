"""What the console, the figures and report.html say alike of a run with many seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.reporting.facts import Compared, compared_figures
from gpunet.seed_runs import SeedsResult

BAND = (10, 90)  # percentiles between which figures are shaded
MOST_NAMED = 8  # seeds named one by one


@dataclass(frozen=True)
class Spread:
    """How a figure differs from network to network. sd: the standard deviation of a sample (n - 1), None of one."""

    mean: float
    sd: float | None
    min: float
    max: float

    def texts(self, *, is_share: bool) -> tuple[str, ...]:
        """mean, sd, min and max with as many decimals as one another; '-' for what there is not."""
        form = ".3f" if is_share else ".4f" if 0.001 <= self.mean < 100 else ".1e"
        return tuple("-" if value is None else f"{value:{form}}" for value in vars(self).values())


def spread(values: np.ndarray) -> Spread:
    """Of the figures ``[P]`` of all networks that count, one at least."""
    with np.errstate(all="ignore"):  # a loss may be infinite
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        return Spread(float(values.mean()), sd, float(values.min()), float(values.max()))


def spreads(result: SeedsResult) -> list[tuple[Compared, Spread | None]]:
    """Each figure with how it spreads over the networks that are sound; None where it was not measured."""
    return [
        (figure, None if figure.values is None else spread(figure.values[result.sound]))
        for figure in compared_figures(result)
    ]


def class_spreads(result: SeedsResult) -> dict[str, list[Spread]]:
    """{"precision", "recall", "f1": a spread for each class}."""
    figures = result.test.class_figures()
    return {name: [spread(each) for each in values[result.sound].T] for name, values in figures.items()}


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of figures ``[P, ...]`` the percentiles of `BAND`."""
    with np.errstate(all="ignore"):
        low, high = np.percentile(values, BAND, axis=0)
    return low, high


def best_and_worst(result: SeedsResult) -> tuple[list[int], list[int]]:
    """The seeds of the networks with the highest and the lowest test accuracy."""
    accuracy, seeds = result.test.accuracy[result.sound], np.array(result.seeds)[result.sound]
    return seeds[accuracy == accuracy.max()].tolist(), seeds[accuracy == accuracy.min()].tolist()


def named(seeds: list[int] | tuple[int, ...]) -> str:
    """'seed 4', 'seeds 4 and 7', 'seeds 4, 7, 8, ... (12 of them)'."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > MOST_NAMED:
        return f"seeds {', '.join(map(str, seeds[:MOST_NAMED]))}, ... ({len(seeds)} of them)"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"


def left_out(result: SeedsResult) -> str | None:
    """Which networks diverged, and that they do not count; or None."""
    seeds = result.diverged_seeds
    return f"Left out: {named(seeds)}, whose losses ceased to be finite numbers." if seeds else None


def kept_text(result: SeedsResult) -> str:
    """Whose network was saved, and why."""
    return f"seed {result.kept_seed}'s ({result.kept.why})"
