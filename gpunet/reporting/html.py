"""report.html: a run on one page that needs nothing else, neither files nor a connection nor scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from gpunet.reporting.facts import (
    DRAWN_WARNING,
    AnyResult,
    clean,
    compared_figures,
    data_name,
    differences,
    duration,
    early_end,
    interruption,
    is_drawn,
    loss_text,
    origin,
    reported_accuracy,
    reported_class,
    run_name,
    seeds_text,
    setting,
    usual_setting,
)
from gpunet.runs import RunResult

FIGURE_NAMES = {
    "learning_curves": "Learning curves of loss and accuracy",
    "confusion_matrix": "Confusion matrix of the test set",
    "misread": "Misread test images",
}

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #5f6368; --paper: #ffffff; --panel: #f4f6f8;
  --line: #d9dee3; --accent: #0072b2; --warn-ink: #7a1712; --warn-paper: #fdecea; --warn-line: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --muted: #a0a7af; --paper: #14171a; --panel: #1d2125;
  --line: #363c43; --accent: #56b4e9; --warn-ink: #ffd9d5; --warn-paper: #43140f; --warn-line: #f2685c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; }
.muted { color: var(--muted); font-size: .9rem; }
.headline { font-size: 3rem; line-height: 1.1; font-weight: 650; color: var(--accent); margin: 1rem 0 .25rem; }
.warning { border: 1px solid var(--warn-line); border-left-width: .5rem; border-radius: .25rem; padding: .75rem 1rem;
  margin: 1rem 0; background: var(--warn-paper); color: var(--warn-ink); max-width: none; overflow-wrap: anywhere; }
.note { border-left: .25rem solid var(--muted); padding: .25rem 0 .25rem .75rem; overflow-wrap: anywhere; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.cards li { flex: 1 1 8rem; background: var(--panel); border-radius: .4rem; padding: .6rem .9rem; }
.cards b { display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--muted); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.wide { overflow-wrap: anywhere; }
tbody th { white-space: nowrap; font-weight: 400; color: var(--muted); }
.beside { border-left: 1px solid var(--line); }
td.beside, th.beside { padding-left: .9rem; }
figure { margin: 1.25rem 0; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: .4rem; background: #ffffff; }
@media (max-width: 30rem) { body { padding: 1.25rem .9rem 2rem; } .headline { font-size: 2.4rem; } }
@media print { body { max-width: none; padding: 0; } figure, table, .cards, .warning { break-inside: avoid; }
  h2 { break-after: avoid; } .scroll { overflow: visible; } }
"""


def report_html(result: RunResult, facts: dict[str, Any], images: dict[str, bytes]) -> str:
    """The page, well-formed as XML too. facts: of `artifacts.metrics`. images: the figures as PNG, by name."""
    title = run_name(result.config)
    sections = [
        _headline(result, facts),
        section(beside_title(result), the_report(result) + _comparison(result)),
        *(figure_of(FIGURE_NAMES[name], images[name]) for name in ("learning_curves", "confusion_matrix")),
        section("Each class of the test set", _classes(result)),
        figure_of(FIGURE_NAMES["misread"], images["misread"]),
        section("Configuration", configuration(result)),
        section("Data", data(result, facts)),
        section("Versions and device", environment(facts)),
    ]
    return page(title, sections)


def page(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole page, well-formed as XML too. style: rules of its own."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f"<title>{e(title)} - gpunet</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def _headline(result: RunResult, facts: dict[str, Any]) -> str:
    test, dataset = result.test, result.dataset
    hits, epochs = int(test.confusion_matrix.trace()), result.history.epochs
    parts = [
        *opening(result, facts),
        f'<p class="headline">{test.accuracy:.1%}</p>',
        f"<p>of the test images read right: {hits:,} of {len(test.predictions):,}. {reported_accuracy(result)}</p>",
        f'<p class="muted">Data: {e(data_name(dataset))}</p>',
        cards(
            {
                "test loss": loss_text(test.loss),
                f"training, {epochs} epoch{'' if epochs == 1 else 's'}": duration(result.seconds["training"]),
                "parameters": f"{facts['parameters']:,}",
                "images": f"{len(dataset):,}",
            }
        ),
    ]
    return "\n".join(parts)


def opening(result: AnyResult, facts: dict[str, Any]) -> list[str]:
    """Title, date, and what a reader must know before the first figure."""
    date = datetime.fromisoformat(facts["date"])
    made = f"{date:%Y-%m-%d %H:%M %Z}, {seeds_text(result.seeds)}, gpunet {facts['versions']['gpunet']}"
    parts = [
        f"<h1>{e(run_name(result.config))}</h1>",
        f'<p class="muted">{e(made)}</p>',
    ]
    if is_drawn(result.dataset):
        parts.append(f'<p class="warning"><strong>{e(DRAWN_WARNING)}</strong><br />{e(result.dataset.note)}</p>')
    interrupted = interruption(result)
    if interrupted:
        parts.append(
            f'<p class="warning"><strong>This run was {e(interrupted)}:</strong> '
            "the figures are those of what it had learnt by then.</p>"
        )
    ended = early_end(result)
    if ended:
        parts.append(f"<p>{e(ended)}</p>")
    return parts


def cards(facts: dict[str, str]) -> str:
    return '<ul class="cards">' + "".join(f"<li><b>{e(v)}</b>{e(k)}</li>" for k, v in facts.items()) + "</ul>"


def beside_title(result: AnyResult) -> str:
    return "Beside the report" if result.config.experiment.is_reported else "Beyond the reports"


def the_report(result: AnyResult) -> str:
    """What is compared with, and what makes it unfair; beyond the reports, what the experiment is for."""
    experiment, departures = result.config.experiment, differences(result)
    text = f"<p>{e(origin(result.config) if experiment.is_reported else experiment.purpose)}</p>"
    if departures:
        what = "Not like for like" if experiment.is_reported else "Unlike the experiment"
        text += f'<p class="note"><strong>{what}:</strong> {e("; ".join(departures))}.</p>'
    return text


def _comparison(result: RunResult) -> str:
    columns = ["", "this run", "the report"]
    rows = [[figure.name, figure.run_text, figure.reported_text] for figure in compared_figures(result)]
    return table(columns, rows) if result.config.experiment.is_reported else without_last(columns, rows)


def without_last(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that has no report to stand beside."""
    return table(columns[:-1], [row[:-1] for row in rows])


def _classes(result: RunResult) -> str:
    reported, found = result.config.experiment.reported, result.test.report
    names = result.dataset.class_names
    compare = any(reported_class(reported, name) for name in names)
    columns = ["class", "precision", "recall", "F1", "images"]
    if compare:
        columns += ["report: precision", "recall", "F1"]
    rows = []
    for name in (*names, "macro avg", "weighted avg"):
        figures = found[name]
        row = [clean(name), *(f"{figures[key]:.3f}" for key in ("precision", "recall", "f1-score"))]
        row.append(f"{figures['support']:.0f}")
        if compare:
            beside = reported_class(reported, name)
            row += [f"{value:.2f}" for value in beside] if beside else ["", "", ""]
        rows.append(row)
    return table(columns, rows, beside=5)


def configuration(result: AnyResult) -> str:
    config, rows = result.config, []
    for name, value in vars(config).items():
        usual = ""
        if name in config.changed and name != "limit":
            usual = f' <span class="muted">(the experiment: {e(setting(usual_setting(config, name)))})</span>'
        if name == "seed" and len(result.seeds) > 1:
            name, value = "seeds", f"{result.seeds[0]} to {result.seeds[-1]}"
        rows.append((name.replace("_", " "), e(setting(value)) + usual))
    return pairs(rows)


def data(result: AnyResult, facts: dict[str, Any]) -> str:
    split = facts["data"]["split"]
    names = ", ".join(map(clean, result.dataset.class_names))
    return pairs(
        [
            ("source", e(result.dataset.source)),
            ("note", e(result.dataset.note)),
            ("images", ", ".join(f"{count:,} {part}" for part, count in split.items())),
            ("classes", e(names)),
            ("SHA-256", facts["data"]["sha256"]),
        ]
    )


def environment(facts: dict[str, Any]) -> str:
    together = facts["versions"] | facts["device"]
    return pairs([(name.replace("_", " "), "none" if v is None else e(v)) for name, v in together.items()])


def section(title: str, content: str) -> str:
    return f"<section>\n<h2>{e(title)}</h2>\n{content}\n</section>"


def figure_of(what: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<figure><img alt="{e(what)}" src="data:image/png;base64,{data}" /></figure>'


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], beside: int | Iterable[int] | None = None) -> str:
    """A table whose first column is text and whose others are numbers. beside: the columns that begin another part."""
    parts = {beside} if isinstance(beside, int) else set(beside or ())

    def cells(tag: str, row: Iterable[str]) -> str:
        html = ""
        for place, content in enumerate(row):
            kind = "" if place == 0 else ' class="number beside"' if place in parts else ' class="number"'
            html += f"<{tag}{kind}>{e(content)}</{tag}>"
        return f"<tr>{html}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{cells("th", columns)}</thead><tbody>{body}</tbody></table></div>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and what they stand for, this already as HTML."""
    body = "".join(f'<tr><th>{e(name)}</th><td class="wide">{content}</td></tr>' for name, content in rows)
    return f"<table><tbody>{body}</tbody></table>"


def e(text: Any) -> str:
    return escape(clean(str(text)))
