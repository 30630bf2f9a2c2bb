"""The folder: no figure of the reports is missing, each stands beside ours, and the page says what the data is."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

from gpunet.reproduction import artifacts
from gpunet.reproduction.artifacts import write_reproduction
from gpunet.reproduction.beyond import IDEAS
from gpunet.reproduction.blocks import Rows, Text, as_html, as_markdown
from gpunet.reproduction.figures import DESCRIPTIONS
from gpunet.reproduction.findings import find, interval_text, lies_inside, ours_text
from gpunet.reproduction.gains import gains
from gpunet.reproduction.page import NO_EVIDENCE, agreement, blocks
from gpunet.reproduction.pytorch_report import EXP2
from gpunet.reproduction.reports import TABLES


@pytest.fixture(scope="session")
def folder(outcome, tmp_path_factory):
    path = tmp_path_factory.mktemp("reproduction") / "here"
    write_reproduction(outcome, path)
    return path


@pytest.fixture(scope="session")
def signs_page(on_signs):
    return blocks(on_signs, artifacts.facts(on_signs), set(DESCRIPTIONS))


def texts(page):
    return " ".join(block.text for block in page if isinstance(block, Text))


def read_csv(path):
    return list(csv.DictReader(path.open()))


def test_folder_is_complete(folder):
    numbers = {"numbers.json", "numbers.csv", "beyond.csv", "networks.csv", "curves.csv", "report.html", "report.md"}
    assert {path.name for path in folder.iterdir()} == numbers | {f"{name}.png" for name in DESCRIPTIONS}


def test_figures_are_not_cut_off(folder):
    from PIL import Image

    for name in DESCRIPTIONS:
        pixels = np.asarray(Image.open(folder / f"{name}.png").convert("L"))
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all((edge == 255).all() for edge in edges), name
        assert (pixels < 128).sum() > 1000


def test_every_reported_figure_stands_beside_ours(folder, outcome):
    rows = read_csv(folder / "numbers.csv")
    expected = [(each, True) for table in TABLES for each in table.figures]
    assert sum(row["as_stated"] == "True" for row in rows) == len(expected)
    printed = [each for table in TABLES for each in (*table.figures, *table.others)]
    assert len(rows) == len(printed)
    for row, each in zip(rows, printed, strict=True):
        found = find(each, outcome)
        assert (row["reported"], float(row["value"])) == (each.text, each.value)
        assert int(row["n"]) == 3 and row["inside"] == ""
        for name in ("mean", "sd", "min", "max", "low", "high"):
            assert float(row[name]) == getattr(found, name), (row, name)


def test_json_holds_the_same(folder, outcome):
    facts = json.loads((folder / "numbers.json").read_text())
    assert [table["place"] for table in facts["tables"]] == [table.place for table in TABLES]
    for found, table in zip(facts["tables"], TABLES, strict=True):
        assert [each["reported"] for each in found["figures"]] == [each.text for each in table.figures]
        assert all(each["ours"]["n"] == 3 and each["inside"] is None for each in found["figures"])
    assert facts["seeds"] == [5, 6, 7] and facts["agreement"] is None and NO_EVIDENCE in facts["data"]["warning"]
    matrix = np.array(facts["trainings"]["binary base"]["confusion_matrix"]["mean"])
    assert matrix.shape == (2, 2) and matrix.sum() == pytest.approx(8)
    assert facts["best_model"]["seeds"] == 3


def test_every_idea_beyond_the_reports_is_there(folder, outcome):
    found = gains(outcome)
    assert [gain.idea for gain in found] == list(IDEAS)
    rows, facts = read_csv(folder / "beyond.csv"), json.loads((folder / "numbers.json").read_text())["beyond"]
    pages = [(folder / "report.md").read_text(), unescape((folder / "report.html").read_text())]
    for gain, row, fact in zip(found, rows, facts, strict=True):
        idea = gain.idea
        assert row["networks"] == fact["networks"] == idea.training.name and row["beside"] == idea.reference.name
        assert fact["what"] == idea.experiment.purpose
        for name in artifacts.GAINS:
            assert float(row[name]) == fact[name] == getattr(gain, name), name
        for text in pages:
            assert idea.training.name in text and idea.experiment.purpose in text
            assert f"{100 * gain.gain:+.2f} ± {100 * gain.error:.2f}" in text


def test_ideas_that_were_not_trained_stand_as_dashes(outcome):
    results = {training: result for training, result in outcome.results.items() if training.is_printed}
    some = replace(outcome, results=results)
    page = blocks(some, artifacts.facts(some), set())
    (rows,) = [block.rows for block in page if isinstance(block, Rows) and "gain, points" in block.columns]
    missing = [row for row in rows if row[0] in {idea.training.name for idea in IDEAS}]
    assert [row[1:] for row in missing] == [("-",) * 5] * len(IDEAS)
    references = [row for row in rows if row not in missing]
    assert [row[0] for row in references] == ["exp2", "the NumPy report's model"]
    mean = outcome.results[EXP2].test.accuracy.mean()
    assert references[0][1].startswith(f"{100 * mean:.1f} ± ") and references[0][3] == "3"


def test_networks_and_curves_are_all_there(folder, outcome):
    networks, curves = read_csv(folder / "networks.csv"), read_csv(folder / "curves.csv")
    assert len(networks) == 27 * 3
    assert len(curves) == 3 * sum(result.history.epochs for result in outcome.results.values())
    own = outcome.results[next(iter(outcome.results))]
    assert [float(row["test_accuracy"]) for row in networks[:3]] == own.test.accuracy.tolist()
    assert float(curves[0]["train_loss"]) == own.history.train.loss[0, 0] and curves[0]["validation_loss"] == ""


def test_page_shows_every_table_and_figure(folder, outcome):
    html = (folder / "report.html").read_text()
    tree = ElementTree.fromstring(html.partition("\n")[2])
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    headings = " ".join("".join(h.itertext()) for tag in ("h2", "h3") for h in tree.iter(tag))
    for place in (
        "Table 1",
        "Figure 1",
        "Table 2",
        "Figure 2",
        "Table 3",
        "Figure 3",
        "Table 4",
        "Figure 4",
        "Table 5",
    ):
        assert f"{place}:" in headings
    for table in TABLES:
        for each in (*table.figures, *table.others):
            assert each.text in cells and ours_text(find(each, outcome)) in cells
            if table.key not in ("table-2", "table-3", "table-4"):
                assert interval_text(find(each, outcome)) in cells
    sources = [image.get("src") for image in tree.iter("img")]
    assert len(sources) == len(DESCRIPTIONS) and all(each.startswith("data:image/png;base64,") for each in sources)
    assert "<script" not in html and "http" not in html.replace("http://www.w3.org", "")


def test_markdown_says_the_same(folder, outcome):
    text = (folder / "report.md").read_text()
    for table in TABLES:
        for each in table.figures:
            assert f" {each.text} |" in text and f" {ours_text(find(each, outcome))} |" in text
    for name in DESCRIPTIONS:
        assert f"]({name}.png)" in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") >= 3


def test_page_says_at_its_top_what_the_data_is(outcome, on_signs, signs_page):
    def page(some):
        return blocks(some, artifacts.facts(some), set())

    def top(page):
        return [block.text for block in page[:4] if isinstance(block, Text) and block.kind == "warning"]

    assert any("digits.npz" in text and NO_EVIDENCE in text for text in top(page(outcome)))
    drawn = replace(outcome, dataset=replace(outcome.dataset, source="synthetic"))
    assert any("DRAWN IMAGES" in text and NO_EVIDENCE in text and "calibrated" in text for text in top(page(drawn)))
    assert not top(signs_page) and NO_EVIDENCE not in texts(signs_page)
    quick = replace(outcome, plan=replace(outcome.plan, quick=True))
    assert "A quick look: 3 seeds" in texts(page(quick)) and "A quick look" not in texts(page(outcome))


def test_marks_are_given_on_the_reports_own_images_alone(folder, on_signs, signs_page):
    for name in ("report.md", "report.html"):
        assert not {"✓", "✗"} & set((folder / name).read_text())
    inside, marked = agreement(on_signs)
    found = [(each, find(each, on_signs)) for table in TABLES for each in table.figures]
    kinds = [each for each, _ in found if each.quantity not in ("seconds", "images", "training_images")]
    assert marked == len(kinds)
    expected = [lies_inside(each, own.low, own.high) for each, own in found if each in kinds]
    assert inside == sum(expected) and 0 < inside < marked
    cells = [cell for block in signs_page if isinstance(block, Rows) for row in block.rows for cell in row]
    assert sum(cell.endswith("✗") for cell in cells) >= marked - inside
    rows = read_rows(artifacts.number_rows(on_signs))
    assert {row["inside"] for row in rows if row["quantity"] == "seconds"} == {None}
    assert {row["inside"] for row in rows if row["quantity"] == "test_accuracy"} <= {True, False}


def read_rows(rows):
    return [dict(zip(artifacts.NUMBER_COLUMNS, row, strict=True)) for row in rows]


def test_blocks_escape_what_names_may_hold():
    page = [Text("<b>&*a*"), Rows(("a|b", "c"), [("<i>", "_x_")])]
    html = as_html("<t>", page, {})
    ElementTree.fromstring(html.partition("\n")[2])
    assert "<b>" not in html.partition("</head>")[2].replace("<body>", "") and "<i>" not in html
    text = as_markdown(page)
    assert "\\<b\\>&\\*a\\*" in text and "a\\|b" in text and "\\_x\\_" in text


def test_csv_leaves_empty_what_there_is_not():
    rows = list(csv.reader(io.StringIO(artifacts._csv(("a", "b"), [(None, 0.1)]).decode())))
    assert rows == [["a", "b"], ["", "0.1"]]
