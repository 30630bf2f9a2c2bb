"""The folder of a run with many seeds: the kept model, metrics.json, history.csv, the figures and report.html."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.checkpoint import save_model
from gpunet.history import Curve
from gpunet.reporting.artifacts import (
    HISTORY_COLUMNS,
    common_facts,
    endings,
    metrics_json,
    model_facts,
    reported_facts,
    write_files,
)
from gpunet.reporting.facts import compared_figures
from gpunet.reporting.seeds_facts import BAND, band, best_and_worst, class_spreads, spreads
from gpunet.seed_runs import SeedsResult


def write_seeds_artifacts(result: SeedsResult, folder: Path) -> dict[str, Path]:
    """Write everything that a run with many seeds leaves behind, as `artifacts.write_artifacts` does of one."""
    return write_files(folder, partial(_save_model, result), partial(_files, result))


def _save_model(result: SeedsResult, path: Path) -> None:
    index = result.kept.index
    facts = model_facts(result) | {"seed": result.kept_seed, "kept": result.kept.why}
    facts["test_accuracy"] = float(result.test.accuracy[index])
    save_model(path, result.network, result.dataset.class_names, **facts)


def _files(result: SeedsResult) -> Iterator[tuple[str, bytes]]:
    from gpunet.reporting import seeds_figures
    from gpunet.reporting.figures import png
    from gpunet.reporting.seeds_html import seeds_html

    facts = seeds_metrics(result)
    yield "metrics.json", metrics_json(facts).encode()
    yield "history.csv", seeds_history_csv(result).encode()
    images = {name: png(draw(result)) for name, draw in seeds_figures.FIGURES.items()}
    for name, image in images.items():
        yield f"{name}.png", image
    yield "report.html", seeds_html(result, facts, images).encode()


def seeds_metrics(result: SeedsResult) -> dict[str, Any]:
    """The content of metrics.json; lists under "networks" have an entry a seed, null for one that does not count.

    What differs from run to run of one command stands under "seconds" and "date".
    """
    history, population, test = result.history, result.population, result.test
    best, worst = best_and_worst(result)
    by_class = class_spreads(result)
    facts = common_facts(result)
    facts["config"]["seeds"] = len(result.seeds)
    if result.config.limit is not None:
        facts["data"]["images_a_seed"] = sum(facts["data"]["split"].values())
    return {
        **facts,
        "side_by_side": {"networks": max(map(len, population.chunks)), "note": population.note},
        "kept": {"seed": result.kept_seed, "why": result.kept.why},
        "summary": {
            "networks": int(result.sound.sum()),
            **{figure.key: None if found is None else vars(found) for figure, found in spreads(result)},
            "best_seeds": best,
            "worst_seeds": worst,
        },
        "classes": {
            class_name: {name: vars(found[place]) for name, found in by_class.items()}
            for place, class_name in enumerate(result.dataset.class_names)
        },
        "confusion_matrix": {"mean": test.confusion_matrix[result.sound].mean(axis=0)},
        "history": {
            "epochs": history.epochs,
            "percentiles": BAND,
            **{name: _course(getattr(history, name), result.sound) for name in ("train", "train_after", "validation")},
        },
        "networks": {
            "seed": result.seeds,
            "trained": population.trained,
            "diverged": population.diverged,
            **endings(history),
            **{figure.key: figure.values for figure in compared_figures(result)},
            "confusion_matrix": test.confusion_matrix,
            **test.class_figures(),
        },
        "reported": reported_facts(result),
        "seconds": result.seconds,
    }


def seeds_history_csv(result: SeedsResult) -> str:
    """One row a seed and epoch, of the networks that count; empty where nothing was measured."""
    history, seeds = result.history, np.array(result.seeds)[result.sound].tolist()
    columns: list[list[Any]] = []
    for curve in (history.train, history.train_after, history.validation):
        for kind in ("loss", "accuracy"):
            count = len(seeds) * history.epochs
            columns.append([""] * count if curve is None else getattr(curve, kind)[result.sound].ravel().tolist())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("seed", *HISTORY_COLUMNS))
    numbers = [(seed, epoch) for seed in seeds for epoch in range(1, history.epochs + 1)]
    writer.writerows((*number, *figures) for number, figures in zip(numbers, zip(*columns, strict=True), strict=True))
    return text.getvalue()


def _course(curve: Curve | None, sound: np.ndarray) -> dict[str, Any] | None:
    """The mean and the percentiles of `BAND` of each epoch."""
    if curve is None:
        return None
    course = {}
    for kind in ("loss", "accuracy"):
        values = getattr(curve, kind)[sound]
        low, high = band(values)
        course[kind] = {"mean": values.mean(axis=0), "low": low, "high": high}
    return course
