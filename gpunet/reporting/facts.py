"""What the console, the figures and report.html say alike of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import Dataset
from gpunet.data.subset import BINARY_CLASSES
from gpunet.experiments import Reported
from gpunet.runs import RunConfig, RunResult

DRAWN_WARNING = "DRAWN IMAGES, NOT PHOTOGRAPHS: these results prove nothing about real hands."

_SOURCES = {
    "signs": "the reports' own images (signs)",
    "synthetic": "DRAWN hands (synthetic), not photographs",
    "mnist5k": "MNIST digits (mnist5k), not sign language",
}


@dataclass(frozen=True)
class Compared:
    """One figure of the run beside the report's; None where there is none. is_share: an accuracy, not a loss."""

    name: str
    run: float | None
    reported: float | None
    is_share: bool

    @property
    def run_text(self) -> str:
        if self.run is None:
            return "-"
        return f"{self.run:.3f}" if self.is_share else loss_text(self.run)

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
    return _SOURCES.get(dataset.source) or clean(Path(dataset.source).name or dataset.source)


def interruption(result: RunResult) -> str | None:
    """That the run was interrupted and when, or None."""
    if not result.history.interrupted:
        return None
    return f"interrupted after {result.history.epochs} of {result.config.epochs} epochs"


def differences(result: RunResult) -> list[str]:
    """How a run departs from what the report did, in words; empty where the two compare like for like."""
    config, dataset = result.config, result.dataset
    found = []
    if dataset.source != "signs":
        found.append(f"data: {data_name(dataset)} (the report: its own images)")
    if config.limit is not None:
        found.append(f"images: only {len(dataset):,}")
    if config.classes not in (None, BINARY_CLASSES):
        found.append(f"classes: {setting(config.classes)} instead of {setting(BINARY_CLASSES)}")
    for name in config.changed:
        if name != "limit":
            value, usual = setting(getattr(config, name)), setting(usual_setting(config, name))
            found.append(f"{name.replace('_', ' ')}: {value} instead of {usual}")
    return found + [text for text in [interruption(result)] if text]


def usual_setting(config: RunConfig, name: str) -> Any:
    """What the experiment has for a field of the configuration; nothing is dropped or decayed in any of them."""
    return getattr(config.experiment, name, 0.0)


def setting(value: Any) -> str:
    """A value of the configuration as a person writes it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return clean(", ".join(map(str, value)))
    if isinstance(value, float):
        return f"{value:g}"
    return clean(str(value))


def compared_figures(result: RunResult) -> list[Compared]:
    """The run's figures beside the report's: of the test set, and of the last epoch."""
    reported, history = result.config.experiment.reported, result.history
    figures = [
        Compared("test accuracy", result.test.accuracy, reported.test_accuracy, True),
        Compared("test loss", result.test.loss, None, False),
    ]
    if history.epochs:
        last = history.report(history.epochs - 1)
        figures += [
            Compared("training accuracy, mean over the last epoch", last.train_accuracy, reported.train_accuracy, True),
            Compared("training accuracy, after it", last.train_accuracy_after, None, True),
            Compared("validation accuracy", last.validation_accuracy, reported.validation_accuracy, True),
            Compared("training loss, mean over the last epoch", last.train_loss, reported.train_loss, False),
            Compared("training loss, after it", last.train_loss_after, None, False),
            Compared("validation loss", last.validation_loss, reported.validation_loss, False),
        ]
    return [figure for figure in figures if figure.run is not None or figure.reported is not None]


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
