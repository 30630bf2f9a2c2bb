"""report.html of a run with many seeds: well-formed, complete in itself, and true to the run."""

from __future__ import annotations

from test_html import parsed, visible

from gpunet.reporting import seeds_figures
from gpunet.reporting.facts import DRAWN_WARNING
from gpunet.reporting.seeds_artifacts import seeds_metrics
from gpunet.reporting.seeds_html import seeds_html

IMAGES = {name: f"png of {name}".encode() for name in seeds_figures.FIGURES}


def page(result):
    return seeds_html(result, seeds_metrics(result), IMAGES)


def rows_of(result):
    return [["".join(cell.itertext()) for cell in row] for row in parsed(page(result)).iter("tr")]


def test_seeds_report_is_well_formed_and_embeds_the_figures(any_seeds):
    tree = parsed(page(any_seeds))
    sources = [image.get("src") for image in tree.iter("img")]
    assert len(sources) == len(IMAGES) and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script" not in page(any_seeds)


def test_seeds_report_gives_the_figures_of_the_run(seeds):
    accuracy = seeds.test.accuracy
    assert f"{accuracy.mean():.1%}"[:-1] + f" ± {100 * accuracy.std(ddof=1):.2g}%" in visible(page(seeds))
    row = [f"{each:.3f}" for each in (accuracy.mean(), accuracy.std(ddof=1), accuracy.min(), accuracy.max())]
    assert ["test accuracy", *row, "0.95"] in rows_of(seeds)
    assert ["seeds", "3 to 6"] in rows_of(seeds)


def test_seeds_report_beyond_the_reports_has_nothing_beside_it(seeds_beyond):
    text = visible(page(seeds_beyond))
    assert "The reports have no such model." in text and "None" not in text
    accuracy = seeds_beyond.test.accuracy
    row = [f"{each:.3f}" for each in (accuracy.mean(), accuracy.std(ddof=1), accuracy.min(), accuracy.max())]
    assert ["test accuracy", *row] in rows_of(seeds_beyond)


def test_seeds_report_lists_every_seed(seeds_left_out):
    rows = {row[0]: row for row in rows_of(seeds_left_out)}
    assert rows["3 (kept)"][1] == f"{seeds_left_out.test.accuracy[0]:.3f}"
    assert rows["4"][1] == "diverged" and rows["6"][1] == "not reached"
    assert rows["5"][-1] == f"{seeds_left_out.history.validation.loss[2, -1]:.4f}"
    text = visible(page(seeds_left_out))
    assert "Left out: seed 4" in text and "interrupted after 3 of 4 networks" in text
    assert seeds_left_out.population.note in text


def test_seeds_report_is_loud_about_drawn_images(two_seeds_binary):
    assert DRAWN_WARNING in visible(page(two_seeds_binary))
