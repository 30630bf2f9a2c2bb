"""What a sweep leaves beside its records: a table for the console, results.csv, networks.csv, results.json and the
figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.atomic import write_whole
from gpunet.ops.backend import make_backend
from gpunet.reporting.artifacts import metrics_json
from gpunet.reporting.environment import device, versions
from gpunet.reporting.facts import DRAWN_WARNING, clean, duration, is_drawn, run_name
from gpunet.reporting.seeds_facts import Spread, spread
from gpunet.reporting.summary import Line, print_lines, wrapped
from gpunet.sweep.groups import FIGURES
from gpunet.sweep.ranking import Ranked, within_one_sd
from gpunet.sweep.running import BEST, SweepResult
from gpunet.sweep.space import cell_text, value_text

if TYPE_CHECKING:
    from rich.console import Console

MOST_ROWS = 20  # of the console's table
FIGURE_FILE = "sweep.png"


def write_outputs(result: SweepResult, folder: Path) -> None:
    """Write the files of a sweep, or of as much of it as is finished; those of an earlier call are replaced."""
    from gpunet.reporting.figures import png
    from gpunet.sweep.figures import sweep_figure

    write_whole(folder / "results.csv", results_csv(result).encode())
    write_whole(folder / "networks.csv", networks_csv(result).encode())
    write_whole(folder / "results.json", metrics_json(document(result)).encode())
    write_whole(folder / FIGURE_FILE, png(sweep_figure(result)))


def results_csv(result: SweepResult) -> str:
    """A row a combination, the best first; empty where there is no figure."""
    plan = result.plan
    names = [f"{name}_{kind}" for name in FIGURES for kind in ("mean", "sd", "min", "max")]
    head = ("rank", *plan.cells[0], "seeds", "diverged", *names)
    return _csv(head, (_csv_row(result, place, each) for place, each in enumerate(result.ranking, start=1)))


def networks_csv(result: SweepResult) -> str:
    """A row a network, the combinations in the order of their ranks."""
    plan = result.plan

    def rows() -> Iterator[tuple[Any, ...]]:
        for place, each in enumerate(result.ranking, start=1):
            record, values = result.records[each.cell], map(value_text, plan.cells[each.cell].values())
            settings = tuple(values)
            columns = (plan.all_seeds, record["diverged"], *(record[name] for name in FIGURES))
            for seed, diverged, *figures in zip(*columns, strict=True):
                yield (place, *settings, seed, int(diverged), *("" if value is None else value for value in figures))

    return _csv(("rank", *plan.cells[0], "seed", "diverged", *FIGURES), rows())


def document(result: SweepResult) -> dict[str, Any]:
    """The content of results.json, which `gpunet.sweep` describes."""
    plan, dataset, material = result.plan, result.dataset, result.material
    ops = make_backend(plan.base.backend, plan.base.device).ops
    return {
        "what": "a sweep of hyper-parameters, ranked by mean validation accuracy",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "complete": result.winner is not None,
        "sweep": {"fields": plan.fields, "combinations": len(plan.cells), "networks": plan.networks}
        | {name: value for name, value in plan.identity().items() if name not in ("cells", "data")},
        "data": {
            "source": dataset.source,
            "note": dataset.note,
            "sha256": dataset.sha256(),
            "images": len(dataset),
            "train": material.train_rows.shape[1],
            "validation": material.validation_rows.shape[1],
        },
        "versions": versions(),
        "device": device(ops) | {"blas_threads": result.blas_threads},
        "ranking": [
            {
                "rank": place,
                "cell": each.cell,
                "settings": plan.cells[each.cell],
                **{name: _facts(getattr(each, name)) for name in FIGURES},
                "networks": {"seed": list(plan.all_seeds), **result.records[each.cell]},
            }
            for place, each in enumerate(result.ranking, start=1)
        ],
        "winner": result.winner and result.winner | {"settings": plan.cells[result.winner["cell"]]},
        "seconds": result.seconds,
    }


def print_results(console: Console, result: SweepResult, folder: Path) -> None:
    print_lines(console, _lines(result, folder))


def _lines(result: SweepResult, folder: Path) -> list[Line]:
    plan, done = result.plan, len(result.records)
    lines: list[Line] = [("", "")]
    if result.winner is None:
        lines += wrapped(f"Interrupted: {done:,} of {len(plan.cells):,} combinations are finished.", "bold yellow")
    if is_drawn(result.dataset):
        lines += wrapped(DRAWN_WARNING, "bold yellow")
    if done:
        lines += _table(result)
    lines.append(("", ""))
    if result.winner is None:
        return lines + wrapped(f"They are kept in {clean(str(folder))}: the same command goes on from there.", "")
    best = result.ranking[0]
    lines += wrapped(f"Best of {run_name(plan.base)}: {cell_text(plan.swept(best.cell))}", "bold")
    near = within_one_sd(result.ranking)
    if near:
        others = "Another one lies" if near == 1 else f"{near:,} others lie"
        lines += wrapped(f"{others} within one standard deviation of it.", "")
    test = spread(np.array([value for value in result.winner["accuracy"] if value is not None]))
    share = " ".join(_share(test).split())
    lines += wrapped(f"Its test images, the only ones that were looked at: {share} read right.", "")
    lines += wrapped(
        f"{clean(str(folder))}: the winner's models and report in {BEST}/, {FIGURE_FILE}, results.csv, networks.csv, "
        f"results.json; {duration(result.seconds)}",
        "",
    )
    return lines


def _table(result: SweepResult) -> list[Line]:
    plan = result.plan
    rows = [("rank", *plan.fields, "validation accuracy", "loss", "training loss", "")]
    for place, each in enumerate(result.ranking[:MOST_ROWS], start=1):
        values = map(value_text, plan.swept(each.cell).values())
        lost = f"{each.diverged} of {plan.seeds} diverged" if each.diverged else ""
        rows.append((str(place), *values, _share(each.validation_accuracy), *_losses(each), lost))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines = [(text, "dim" if index == 0 else "bold" if index == 1 else "") for index, text in enumerate(texts)]
    left = len(result.ranking) - MOST_ROWS
    return lines + ([(f"... and {left:,} more; results.csv has all", "dim")] if left > 0 else [])


def _share(figures: Spread | None) -> str:
    if figures is None:
        return "-"
    return f"{figures.mean:.1%}" + ("" if figures.sd is None else f" ± {100 * figures.sd:4.1f}")


def _losses(each: Ranked) -> tuple[str, ...]:
    return tuple("-" if loss is None else f"{loss.mean:.4f}" for loss in (each.validation_loss, each.train_loss))


def _csv_row(result: SweepResult, place: int, each: Ranked) -> tuple[Any, ...]:
    cell, figures = result.plan.cells[each.cell], []
    for name in FIGURES:
        found = getattr(each, name)
        figures += [""] * 4 if found is None else ["" if value is None else value for value in vars(found).values()]
    return (place, *map(value_text, cell.values()), result.plan.seeds, each.diverged, *figures)


def _csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _facts(figures: Spread | None) -> dict[str, float | None] | None:
    return None if figures is None else vars(figures)
