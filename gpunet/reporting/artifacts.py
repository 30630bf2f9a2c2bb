"""A run's folder: the model, metrics.json, history.csv, the figures and report.html."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gpunet
from gpunet.atomic import write_whole
from gpunet.checkpoint import save_model
from gpunet.errors import InputError
from gpunet.experiments import reported_figures
from gpunet.history import Curve, History
from gpunet.prediction import MODEL_FILE
from gpunet.reporting.environment import device, versions
from gpunet.reporting.facts import AnyResult, differences
from gpunet.runs import RunConfig, RunResult

HISTORY_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "train_loss_after",
    "train_accuracy_after",
    "validation_loss",
    "validation_accuracy",
)


def default_run_folder(config: RunConfig, root: Path = Path("runs"), now: datetime | None = None) -> Path:
    """Create and return ``root/<task>-<exp>-<YYYYmmdd-HHMMSS>``, with -2, -3, ... added where that exists.

    The folder is created here so that two runs begun in the same second cannot get the same one.
    Raises `InputError` if it cannot be created.
    """
    return new_folder(Path(root) / f"{config.task}-{config.exp}-{now or datetime.now():%Y%m%d-%H%M%S}")


def new_folder(folder: Path) -> Path:
    """Create and return a folder, with -2, -3, ... added to its name where that exists; see `default_run_folder`."""
    name, attempt = folder.name, 1
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except OSError as error:
            if not os.path.lexists(folder):
                raise _unusable(folder, error) from error
        attempt += 1
        folder = folder.with_name(f"{name}-{attempt}")


def ensure_writable(folder: Path) -> None:
    """Create the folder if need be and try it out: to be called before training, so that no result is lost.

    Raises `InputError` if the folder is a file, cannot be created or cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".gpunet-"):
            pass
    except OSError as error:
        raise _unusable(folder, error) from error


def discard_if_empty(folder: Path) -> None:
    """Remove a folder that a failed run left nothing in; any other stays."""
    try:
        Path(folder).rmdir()
    except OSError:
        pass


def write_artifacts(result: RunResult, folder: Path) -> dict[str, Path]:
    """Write everything a run leaves behind; each file appears whole or not at all.

    Files of an earlier run in the folder are replaced. Returns {name: path} in the order of writing, the model first.
    Raises `InputError` if the folder cannot be written.
    """
    return write_files(folder, partial(_save_model, result), partial(_files, result))


def write_files(
    folder: Path, save: Callable[[Path], None], contents: Callable[[], Iterable[tuple[str, bytes]]]
) -> dict[str, Path]:
    """Write model.safetensors by `save`, then (name, content) one by one as they are made; see `write_artifacts`."""
    folder = Path(folder)
    ensure_writable(folder)
    try:
        save(folder / MODEL_FILE)
        paths = {MODEL_FILE: folder / MODEL_FILE}
        for name, content in contents():
            write_whole(folder / name, content)
            paths[name] = folder / name
    except OSError as error:
        raise _unusable(folder, error) from error
    return paths


def _save_model(result: RunResult, path: Path) -> None:
    facts = model_facts(result) | {"test_accuracy": result.test.accuracy}
    save_model(path, result.network, result.dataset.class_names, **facts)


def _files(result: RunResult) -> Iterator[tuple[str, bytes]]:
    from gpunet.reporting import figures
    from gpunet.reporting.html import report_html

    facts = metrics(result)
    yield "metrics.json", metrics_json(facts).encode()
    yield "history.csv", history_csv(result.history).encode()
    images = {name: figures.png(draw(result)) for name, draw in figures.FIGURES.items()}
    for name, image in images.items():
        yield f"{name}.png", image
    yield "report.html", report_html(result, facts, images).encode()


def metrics(result: RunResult) -> dict[str, Any]:
    """The content of metrics.json. What differs from run to run of one command stands under "seconds" and "date"."""
    history, test = result.history, result.test
    return {
        **common_facts(result),
        "history": {
            "epochs": history.epochs,
            "train": _curve(history.train),
            "train_after": _curve(history.train_after),
            "validation": _curve(history.validation),
            "learning_rate": None if history.learning_rate is None else history.learning_rate[0],
            **{name: values[0] for name, values in endings(history).items()},
        },
        "test": {
            "accuracy": test.accuracy,
            "loss": test.loss,
            "confusion_matrix": test.confusion_matrix,
            "report": test.report,
            "seconds": result.seconds["evaluation"],
        },
        "reported": reported_facts(result),
        "seconds": result.seconds,
    }


def endings(history: History) -> dict[str, np.ndarray]:
    """How early stopping ended each network, int64 ``[P]``; empty without it."""
    if history.stopped_after is None:
        return {}
    return {"stopped_after": history.stopped_after, "weights_of": history.weights_of}


def common_facts(result: AnyResult) -> dict[str, Any]:
    """How a run was made: configuration, versions, device, data."""
    config, dataset, split = result.config, result.dataset, result.split
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": config.as_json() | {"changed": config.changed},
        "versions": versions(),
        "device": device(result.network.ops),
        "data": {
            "source": dataset.source,
            "note": dataset.note,
            "sha256": dataset.sha256(),
            "images": len(dataset),
            "class_names": dataset.class_names,
            "split": {name: len(getattr(split, name)) for name in ("train", "validation", "test")},
        },
        "parameters": result.network.layout.count,
        "interrupted": result.history.interrupted,
    }


def reported_facts(result: AnyResult) -> dict[str, Any]:
    """What the report gives, and what makes the comparison unfair. Of an experiment beyond the reports the source is
    null, and the note says what it is for."""
    experiment, reported = result.config.experiment, result.config.experiment.reported
    return {
        "source": reported.source if experiment.is_reported else None,
        **reported_figures(reported),
        "per_class": reported.per_class,
        "note": reported.note if experiment.is_reported else experiment.purpose,
        "differences": differences(result),
    }


def metrics_json(facts: dict[str, Any]) -> str:
    """Strict JSON, a list of numbers on one line; what is no finite number becomes null."""
    text = json.dumps(_plain(facts), indent=2, allow_nan=False)
    # A list of numbers, spread over lines by indent=2. Strings hold no line breaks, so that they cannot match.
    return re.sub(r"\[\n\s+([^\[\]{}\"]*?)\n\s*\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def history_csv(history: History) -> str:
    """One row an epoch; empty where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    for epoch in range(history.epochs):
        report = history.report(epoch)
        writer.writerow(["" if (value := getattr(report, name)) is None else value for name in HISTORY_COLUMNS])
    return text.getvalue()


def model_facts(result: AnyResult) -> dict[str, Any]:
    """What the model's header says of its making; no times, so that the same run gives the same file."""
    config, dataset, history = result.config, result.dataset, result.history
    return {
        "task": config.task,
        "exp": config.exp,
        "changed": config.changed,
        "seed": config.seed,
        "data_source": dataset.source,
        "data_note": dataset.note,
        "data_sha256": dataset.sha256(),
        "epochs": history.epochs,
        "interrupted": history.interrupted,
        "gpunet_version": gpunet.__version__,
    }


def _curve(curve: Curve | None) -> dict[str, np.ndarray] | None:
    return None if curve is None else {"loss": curve.loss[0], "accuracy": curve.accuracy[0]}


def _plain(value: Any) -> Any:
    """The value with what JSON knows: NumPy's types unpacked, NaN and infinities None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unusable(folder: Path, error: OSError) -> InputError:
    blocked = next((path for path in (folder, *folder.parents) if os.path.isfile(path)), None)
    why = f"{blocked} is a file" if blocked else f"it cannot be written ({error.strerror or error})"
    return InputError(f"the output folder {folder} cannot be used because {why}: name another")
