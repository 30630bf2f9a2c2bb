"""A few test images of a run: found again by what its metrics.json says of data, classes, seed and split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.checkpoint import SavedModel
from gpunet.data import Dataset, limit_images
from gpunet.data.signs import cached_path
from gpunet.data.split import Split
from gpunet.errors import InputError
from gpunet.regular_file import read_regular
from gpunet.runs import RunConfig, load_classes, split_rows

METRICS_FILE = "metrics.json"
MOST_BYTES = 64 * 1024**2  # of that; one of a thousand seeds has a few
MISREAD_SHARE = 4  # one in so many examples is a misread one, where there are any


@dataclass(frozen=True)
class Examples:
    """Images that a network was not trained on: uint8 ``[n, 784]``, and their classes, int64 ``[n]``."""

    images: np.ndarray
    labels: np.ndarray


def run_examples(model: SavedModel, folder: Path, count: int) -> Examples:
    """At most `count` test images of the run in this folder, in the order of their classes.

    Three in four are the first of each class in turn that the network reads right, the others the first that it
    misreads.
    Raises `InputError` if the folder does not say what the data was, or if the data is gone or not the same any more.
    """
    dataset, split = _run_data(model, folder / METRICS_FILE)
    labels = dataset.labels[split.test]
    rows = _choose(labels, model.network.predict(dataset.images[split.test]), count)
    return Examples(dataset.grey(split.test[rows]), labels[rows])


def _run_data(model: SavedModel, path: Path) -> tuple[Dataset, Split]:
    config, recorded = _run_config(path)
    if config.data == "signs" and not cached_path().is_file():  # nothing is downloaded for a few examples
        raise InputError("the reports' file is not in the cache any more")
    whole = load_classes(config)
    dataset = whole if config.limit is None else limit_images(whole, config.limit, seed=config.seed)
    # A run with many seeds and a limit keeps the hash of all images, of which each seed takes its own.
    if recorded not in (dataset.sha256(), whole.sha256()) or dataset.class_names != model.class_names:
        raise InputError(f"the data {config.data} has changed since the run")
    return dataset, split_rows(config, dataset.labels, config.seed)


def _run_config(path: Path) -> tuple[RunConfig, str]:
    """What decides a run's data and split, and the hash of the data."""
    try:
        facts = json.loads(read_regular(path, MOST_BYTES))
        config, data = facts["config"], facts["data"]
        classes = config["classes"]
        chosen = {
            "data": _a(str, data["source"]),  # what came of `auto`
            "limit": None if config["limit"] is None else _a(int, config["limit"]),
            "classes": None if classes is None else tuple(_a(str, name) for name in _a(list, classes)),
            # Of a run with many seeds the model is that of one.
            "seed": _a(int, facts["kept"]["seed"] if "kept" in facts else config["seed"]),
        }
        task, experiment = _a(str, config["task"]), _a(str, config["exp"])
        return RunConfig.from_experiment(task, experiment, **chosen), _a(str, data["sha256"])
    except FileNotFoundError:
        raise InputError(f"there is no {path}, which says what the run's data was") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read, so that the run's data is not known") from error


def _a(kind: type, value: Any) -> Any:
    """The value, which a file must hold as one of this kind. Raises TypeError."""
    if type(value) is not kind:  # True is no whole number here
        raise TypeError(f"{kind.__name__} needed")
    return value


def _choose(labels: np.ndarray, predictions: np.ndarray, count: int) -> np.ndarray:
    """Rows of the test set, int64 ``[at most count]``, sorted by class; within a class the rightly read ones first."""
    misread = np.flatnonzero(labels != predictions)
    right = _classes_in_turn(labels, np.flatnonzero(labels == predictions))
    misread = misread[: max(count // MISREAD_SHARE, count - len(right))]
    chosen = np.concatenate([right[: count - len(misread)], misread])
    return chosen[np.argsort(labels[chosen], kind="stable")]


def _classes_in_turn(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows ordered so that all classes' first ones come before all their second ones."""
    turn = np.empty(len(rows), np.int64)
    for label in np.unique(labels[rows]):
        places = np.flatnonzero(labels[rows] == label)
        turn[places] = np.arange(len(places))
    return rows[np.lexsort((labels[rows], turn))]
