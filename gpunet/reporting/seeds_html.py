"""report.html of a run with many seeds, in the manner of `gpunet.reporting.html`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.reporting.facts import (
    clean,
    compared_figures,
    data_name,
    duration,
    loss_text,
    reported_accuracy,
    reported_class,
    run_name,
)
from gpunet.reporting.html import (
    beside_title,
    cards,
    configuration,
    data,
    e,
    environment,
    figure_of,
    opening,
    page,
    section,
    table,
    the_report,
    without_last,
)
from gpunet.reporting.seeds_facts import (
    BAND,
    Spread,
    best_and_worst,
    class_spreads,
    kept_text,
    left_out,
    named,
    spread,
    spreads,
)
from gpunet.seed_runs import SeedsResult

FIGURE_NAMES = {
    "learning_curves": "Learning curves of loss and accuracy: means, shaded from the {}th to the {}th percentile",
    "confusion_matrix": "Mean confusion matrix of the test sets",
    "test_accuracy": "Distribution of the test accuracies",
}
SPREAD_COLUMNS = ("mean", "sd", "min", "max", "the report")


def seeds_html(result: SeedsResult, facts: dict[str, Any], images: dict[str, bytes]) -> str:
    """The page. facts: of `seeds_artifacts.seeds_metrics`. images: the figures as PNG, by name."""
    drawn = {name: figure_of(text.format(*BAND), images[name]) for name, text in FIGURE_NAMES.items()}
    return page(
        f"{run_name(result.config)}, {len(result.seeds)} seeds",
        [
            _headline(result, facts),
            section(beside_title(result), the_report(result) + _comparison(result)),
            drawn["test_accuracy"],
            drawn["learning_curves"],
            drawn["confusion_matrix"],
            section("F1 of each class of the test sets", _classes(result)),
            section("Each seed", _networks(result)),
            section("Configuration", configuration(result)),
            section("Data", data(result, facts)),
            section("Versions and device", environment(facts)),
        ],
    )


def _headline(result: SeedsResult, facts: dict[str, Any]) -> str:
    accuracy = spread(result.test.accuracy[result.sound])
    best, worst = best_and_worst(result)
    sd = "" if accuracy.sd is None else f" ± {100 * accuracy.sd:.2g}"
    notes = [text for text in (left_out(result), result.population.note) if text is not None]
    return "\n".join(
        [
            *opening(result, facts),
            *(f'<p class="warning">{e(text)}</p>' for text in notes),
            f'<p class="headline">{100 * accuracy.mean:.1f}{sd}%</p>',
            f"<p>of the test images read right: mean and standard deviation of {result.sound.sum()} networks. "
            f"Best: {accuracy.max:.1%}, {named(best)}; worst: {accuracy.min:.1%}, {named(worst)}. "
            f"{reported_accuracy(result)}</p>",
            f"<p>model.safetensors is {e(kept_text(result))}.</p>",
            f'<p class="muted">Data: {e(data_name(result.dataset))}</p>',
            cards(
                {
                    "mean test loss": loss_text(float(result.test.loss[result.sound].mean())),
                    f"training of {len(result.seeds)} networks": duration(result.seconds["training"]),
                    "parameters each": f"{facts['parameters']:,}",
                    "images": f"{facts['data'].get('images_a_seed', len(result.dataset)):,}",
                }
            ),
        ]
    )


def _comparison(result: SeedsResult) -> str:
    rows = [
        (figure.name, *_texts(found, is_share=figure.is_share), figure.reported_text)
        for figure, found in spreads(result)
    ]
    return _beside_the_report(result, ("", *SPREAD_COLUMNS), rows)


def _classes(result: SeedsResult) -> str:
    reported, rows = result.config.experiment.reported, []
    for name, found in zip(result.dataset.class_names, class_spreads(result)["f1"], strict=True):
        figures = reported_class(reported, name)
        beside = "-" if figures is None else f"{figures[2]:.2f}"
        rows.append((clean(name), *_texts(found, is_share=True), beside))
    return _beside_the_report(result, ("class", *SPREAD_COLUMNS), rows)


def _beside_the_report(result: SeedsResult, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The last column is the report's, where there is one."""
    if not result.config.experiment.is_reported:
        return without_last(columns, rows)
    return table(columns, rows, beside=len(columns) - 1)


def _networks(result: SeedsResult) -> str:
    """The figures of every network after its last epoch."""
    running = ("train_accuracy", "train_loss")
    figures = [f for f in compared_figures(result) if f.values is not None and f.key not in running]
    rows = []
    for index, seed in enumerate(result.seeds):
        if result.sound[index]:
            row = [f"{f.values[index]:.3f}" if f.is_share else loss_text(f.values[index]) for f in figures]
        else:
            row = ["diverged" if result.population.diverged[index] else "not reached", *[""] * (len(figures) - 1)]
        rows.append((f"{seed}{' (kept)' if index == result.kept.index else ''}", *row))
    return table(("seed", *(figure.name.removesuffix(", after it") for figure in figures)), rows)


def _texts(found: Spread | None, *, is_share: bool) -> tuple[str, ...]:
    return ("-",) * 4 if found is None else found.texts(is_share=is_share)
