"""The folder of a reproduction: report.html and report.md, the figures, numbers.csv and .json, beyond.csv,
networks.csv, curves.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpunet.atomic import write_whole
from gpunet.errors import InputError
from gpunet.reporting.artifacts import ensure_writable, metrics_json
from gpunet.reporting.environment import device, versions
from gpunet.reproduction.best_model import choose_model
from gpunet.reproduction.blocks import as_html, as_markdown
from gpunet.reproduction.findings import Finding, find
from gpunet.reproduction.gains import Gain, gains
from gpunet.reproduction.page import TITLE, agreement, blocks, data_warning, setup_of_ours
from gpunet.reproduction.printed import Printed, Table
from gpunet.reproduction.pytorch_report import MODELS, SETUP
from gpunet.reproduction.quantities import QUANTITIES
from gpunet.reproduction.reports import TABLES
from gpunet.reproduction.running import Outcome

NUMBERS = ("n", "mean", "sd", "min", "max", "low", "high", "inside")
NUMBER_COLUMNS = ("report", "place", "row", "class", "quantity", "networks", "as_stated", "reported", "value", *NUMBERS)
GAINS = ("n", "accuracy", "sd", "gain", "error", "low", "high", "parameters", "seconds")
GAIN_COLUMNS = ("networks", "beside", *GAINS)
NETWORK_COLUMNS = (
    *("networks", "seed", "initial_loss", "final_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
    *("test_loss", "test_accuracy"),
)
CURVES = ("train", "train_after", "validation")
CURVE_COLUMNS = ("networks", "seed", "epoch", *(f"{curve}_{kind}" for curve in CURVES for kind in ("loss", "accuracy")))


def write_reproduction(outcome: Outcome, folder: Path) -> dict[str, Path]:
    """Write it all, {name: path} in the order of writing; each file appears whole or not at all.

    Raises `InputError` if the folder cannot be written.
    """
    folder = Path(folder)
    ensure_writable(folder)
    paths = {}
    try:
        for name, content in files(outcome):
            write_whole(folder / name, content)
            paths[name] = folder / name
    except OSError as error:
        raise InputError(f"the output folder {folder} cannot be written ({error.strerror or error})") from error
    return paths


def files(outcome: Outcome) -> Iterator[tuple[str, bytes]]:
    """(name, content): numbers first, which are made at once; the page last."""
    from gpunet.reporting.figures import png
    from gpunet.reproduction.figures import figures

    known = facts(outcome)
    yield "numbers.json", metrics_json(known).encode()
    yield "numbers.csv", _csv(NUMBER_COLUMNS, number_rows(outcome))
    yield "beyond.csv", _csv(GAIN_COLUMNS, gain_rows(outcome))
    yield "networks.csv", _csv(NETWORK_COLUMNS, network_rows(outcome))
    yield "curves.csv", _csv(CURVE_COLUMNS, curve_rows(outcome))
    images = {}
    for name, draw in figures(outcome):
        images[name] = png(draw())
        yield f"{name}.png", images[name]
    page = blocks(outcome, known, set(images))
    yield "report.md", as_markdown(page).encode()
    yield "report.html", as_html(TITLE, page, images).encode()


def facts(outcome: Outcome) -> dict[str, Any]:
    """The content of numbers.json. "inside" is null wherever the data are not the reports' own."""
    dataset, plan, choice = outcome.dataset, outcome.plan, choose_model(outcome)
    ops = next((result.network.ops for result in outcome.results.values()), None)
    inside, marked = agreement(outcome)
    return {
        "what": TITLE,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seeds": list(range(plan.first_seed, plan.first_seed + plan.seeds)),
        "quick": plan.quick,
        "interrupted": outcome.interrupted,
        "seconds": outcome.took,
        "backend": outcome.backend,
        "versions": versions(),
        "device": {} if ops is None else device(ops),
        "data": {
            "source": dataset.source,
            "note": dataset.note,
            "warning": data_warning(outcome),
            "sha256": dataset.sha256(),
            "images": len(dataset),
            "class_names": dataset.class_names,
        },
        "agreement": {"inside": inside, "of": marked} if marked else None,
        "set_up": {"reported": {k: dict(zip(MODELS, v, strict=True)) for k, v in SETUP.items()}, "ours": _setup()},
        "tables": [_table(table, outcome) for table in TABLES],
        "best_model": None
        if choice is None
        else {
            "ours": choice.best.name,
            "is_the_reports": choice.is_the_reports,
            "seeds_best_with": {training.name: wins for training, wins in choice.wins.items()},
            "seeds": choice.seeds,
        },
        "beyond": [_gain(gain) for gain in gains(outcome)],
        "trainings": {
            training.name: {
                "config": result.config.as_json(),
                "networks": int(result.sound.sum()),
                "diverged_seeds": result.diverged_seeds,
                "images": {part: len(getattr(result.split, part)) for part in ("train", "validation", "test")},
                "confusion_matrix": {"mean": result.test.confusion_matrix[result.sound].mean(axis=0)},
                "seconds": {"all": result.seconds["training"], "alone": outcome.seconds.get(training)},
            }
            for training, result in outcome.results.items()
        },
        "diverged": {training.name: why for training, why in outcome.diverged.items()},
    }


def number_rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """Each figure of the reports, with ours beside it; and once more where other networks were tried."""
    for table in TABLES:
        for printed, as_stated in _figures(table):
            found = find(printed, outcome)
            networks = " + ".join(training.name for training in printed.trainings)
            yield (
                *(table.report, table.place, printed.row, printed.of, printed.quantity, networks, as_stated),
                *(printed.text, printed.value),
                *(getattr(found, name, None) for name in NUMBERS),
            )


def gain_rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """A row an idea beyond the reports; gain and what follows it up to high are shares, not points."""
    for gain in gains(outcome):
        yield (gain.idea.training.name, gain.idea.reference.name, *(getattr(gain, name) for name in GAINS))


def network_rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """A row a training and seed that counts."""
    for training, result in outcome.results.items():
        columns = [QUANTITIES[name].values(result) for name in NETWORK_COLUMNS[2:]]
        for index in result.sound.nonzero()[0]:
            yield (
                training.name,
                result.seeds[index],
                *(None if column is None else float(column[index]) for column in columns),
            )


def curve_rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """A row a training, seed that counts, and epoch."""
    for training, result in outcome.results.items():
        curves = [getattr(result.history, name) for name in CURVES]
        for index in result.sound.nonzero()[0]:
            for epoch in range(result.history.epochs):
                row = [training.name, result.seeds[index], epoch + 1]
                for curve in curves:
                    row += [None] * 2 if curve is None else [curve.loss[index, epoch], curve.accuracy[index, epoch]]
                yield tuple(row)


def _figures(table: Table) -> Iterator[tuple[Printed, bool]]:
    yield from ((printed, True) for printed in table.figures)
    yield from ((printed, False) for printed in table.others)


def _table(table: Table, outcome: Outcome) -> dict[str, Any]:
    return {
        "report": table.report,
        "place": table.place,
        "title": table.title,
        "note": table.note,
        "figures": [_figure(printed, find(printed, outcome)) for printed in table.figures],
        "other_networks": [_figure(printed, find(printed, outcome)) for printed in table.others],
    }


def _figure(printed: Printed, found: Finding | None) -> dict[str, Any]:
    return {
        "row": printed.row,
        "class": printed.of,
        "quantity": printed.quantity,
        "networks": [training.name for training in printed.trainings],
        "reported": printed.text,
        "value": printed.value,
        "ours": None if found is None else {name: getattr(found, name) for name in NUMBERS if name != "inside"},
        "inside": None if found is None else found.inside,
    }


def _gain(gain: Gain) -> dict[str, Any]:
    idea = gain.idea
    names = {"networks": idea.training.name, "what": idea.experiment.purpose, "beside": idea.reference.name}
    return names | {name: getattr(gain, name) for name in GAINS}


def _setup() -> dict[str, dict[str, str]]:
    return {aspect: dict(zip(MODELS, texts, strict=True)) for aspect, texts in setup_of_ours().items()}


def _csv(columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> bytes:
    """What there is not, is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
