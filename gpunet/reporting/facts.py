"""What the console, the figures and report.html say alike of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import Dataset
from gpunet.data.subset import BINARY_CLASSES
from gpunet.experiments import Reported
from gpunet.history import Curve
from gpunet.runs import RunConfig, RunResult
from gpunet.seed_runs import SeedsResult

DRAWN_WARNING = "DRAWN IMAGES, NOT PHOTOGRAPHS: these results prove nothing about real hands."

_SOURCES = {
    "signs": "the reports' own images (signs)",
    "synthetic": "DRAWN hands (synthetic), not photographs",
    "mnist5k": "MNIST digits (mnist5k), not sign language",
}


AnyResult = RunResult | SeedsResult  # both have config, dataset, split, network, history, test, seeds and seconds


@dataclass(frozen=True)
class Compared:
    """One figure of a run's P networks (float64 ``[P]``) beside the report's; None where there is none. is_share: an
    accuracy, not a loss. key: what files call it."""

    key: str
    name: str
    values: np.ndarray | None
    reported: float | None
    is_share: bool

    @property
    def run_text(self) -> str:
        """The first network's."""
        if self.values is None:
            return "-"
        return f"{self.values[0]:.3f}" if self.is_share else loss_text(self.values[0])

    @property
    def reported_text(self) -> str:
        """As many digits as the report gives."""
        return "-" if self.reported is None else str(self.reported)


def loss_text(loss: float) -> str:
    """Four decimals where they say something."""
    return f"{loss:.4f}" if loss == 0 or 0.001 <= loss < 1000 else f"{loss:.2e}"


def clean(text: str) -> str:
    """Text from outside (class names, paths) without control characters and undecodable bytes."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, length: int) -> str:
    """The text cleaned, and cut to a length with an ellipsis."""
    text = clean(text)
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def run_name(config: RunConfig) -> str:
    return f"{config.task} {config.exp}"


def is_drawn(dataset: Dataset) -> bool:
    return dataset.source == "synthetic"


def data_name(dataset: Dataset) -> str:
    """Where the images come from, in a few words; of a path, its last part."""
    return source_name(dataset.source)


def source_name(source: str) -> str:
    return _SOURCES.get(source) or clean(Path(source).name or source)


def seeds_text(seeds: Sequence[int]) -> str:
    """'seed 3', or 'seeds 3 to 22'."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def interruption(result: AnyResult) -> str | None:
    """That the run was interrupted and when, or None."""
    if not result.history.interrupted:
        return None
    epochs = f"interrupted after {result.history.epochs} of {result.config.epochs} epochs"
    if isinstance(result, RunResult):
        return epochs
    networks = f"{result.population.trained.sum()} of {len(result.seeds)} networks"
    if result.history.epochs == result.config.epochs:
        return f"interrupted after {networks}"
    return f"{epochs} of {networks}"


def early_end(result: AnyResult) -> str | None:
    """When early stopping ended the run's networks and which weights they have, as a sentence; None without it."""
    history, epochs = result.history, result.config.epochs
    if history.stopped_after is None or not history.epochs:
        return None
    stopped = history.stopped_after[history.stopped_after > 0]
    if isinstance(result, RunResult):
        when = f"Stopped early, after {stopped[0]} of {epochs} epochs" if len(stopped) else "Not stopped early"
        return f"{when}: the weights are those of epoch {history.weights_of[0]}."
    when = f", after {range_text(stopped)} of {epochs} epochs" if len(stopped) else ""
    return (
        f"Stopped early: {len(stopped)} of {len(result.seeds)} networks{when}; the weights are those of epoch "
        f"{range_text(history.weights_of)}."
    )


def range_text(values: np.ndarray) -> str:
    """'9', or '9 to 21'."""
    return f"{values.min()}" if values.min() == values.max() else f"{values.min()} to {values.max()}"


def differences(result: AnyResult) -> list[str]:
    """How a run departs from what the report did, in words; empty where the two compare like for like. Beyond the
    reports, how it departs from its experiment, which is of no data in particular."""
    config, dataset = result.config, result.dataset
    found = []
    if dataset.source != "signs" and config.experiment.is_reported:
        found.append(f"data: {data_name(dataset)} (the report: its own images)")
    if config.limit is not None:
        found.append(f"images: only {min(config.limit, len(dataset)):,}")
    if config.classes not in (None, BINARY_CLASSES):
        found.append(f"classes: {setting(config.classes)} instead of {setting(BINARY_CLASSES)}")
    for name in config.changed:
        if name != "limit":
            value, usual = setting(getattr(config, name)), setting(usual_setting(config, name))
            found.append(f"{name.replace('_', ' ')}: {value} instead of {usual}")
    return found + [text for text in [interruption(result)] if text]


def origin(config: RunConfig) -> str:
    """Where the experiment comes from: the report that it is compared with, or what it is for beyond the reports."""
    experiment = config.experiment
    if not experiment.is_reported:
        return f"Beyond the reports: {experiment.purpose}"
    return f"The report: {experiment.reported.source}. {experiment.reported.note}".strip()


def reported_accuracy(result: AnyResult) -> str:
    """What the report got, as a sentence."""
    experiment = result.config.experiment
    if not experiment.is_reported:
        return "The reports have no such model."
    comparable = "" if not differences(result) else ", under other conditions"
    return f"The report got {round(100 * experiment.reported.test_accuracy, 6):g}%{comparable}."


def usual_setting(config: RunConfig, name: str) -> Any:
    """What the experiment has for a field of the configuration."""
    return getattr(config.experiment, name)


def setting(value: Any) -> str:
    """A value of the configuration as a person writes it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return clean(", ".join(map(str, value)))
    if isinstance(value, float):
        return f"{value:g}"
    return clean(str(value))


def compared_figures(result: AnyResult) -> list[Compared]:
    """The run's figures beside the report's: of the test set, and of the last epoch."""
    reported, history = result.config.experiment.reported, result.history

    def last(curve: Curve | None, kind: str) -> np.ndarray | None:
        return None if curve is None else history.final(getattr(curve, kind))

    figures = [
        Compared("test_accuracy", "test accuracy", np.atleast_1d(result.test.accuracy), reported.test_accuracy, True),
        Compared("test_loss", "test loss", np.atleast_1d(result.test.loss), None, False),
    ]
    for kind, is_share in (("accuracy", True), ("loss", False)) if history.epochs else ():
        mean, validation = (getattr(reported, f"{part}_{kind}") for part in ("train", "validation"))
        train, after, of_validation = (last(c, kind) for c in (history.train, history.train_after, history.validation))
        figures += [
            Compared(f"train_{kind}", f"training {kind}, mean over last epoch", train, mean, is_share),
            Compared(f"train_{kind}_after", f"training {kind}, after it", after, None, is_share),
            Compared(f"validation_{kind}", f"validation {kind}", of_validation, validation, is_share),
        ]
    return [figure for figure in figures if figure.values is not None or figure.reported is not None]


def reported_class(reported: Reported, name: str) -> tuple[float, float, float] | None:
    """Precision, recall and F1 that the report gives for a class."""
    return (reported.per_class or {}).get(name)


def misread_order(result: RunResult) -> np.ndarray:
    """Places in the test set of the misread images, the most confidently misread first; int64 ``[m]``."""
    test = result.test
    places = np.flatnonzero(test.predictions != result.dataset.labels[result.split.test])
    if test.confidence is None:
        return places
    return places[np.argsort(-test.confidence[places], kind="stable")]


def duration(seconds: float) -> str:
    """A time as a person says it: 46 ms, 3.2 s, 4 min 10 s, 2 h 05 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
