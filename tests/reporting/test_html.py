"""report.html: well-formed, complete in itself, and true to the run."""

import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from gpunet.reporting import figures
from gpunet.reporting.artifacts import metrics
from gpunet.reporting.facts import DRAWN_WARNING
from gpunet.reporting.html import report_html

IMAGES = {name: f"png of {name}".encode() for name in figures.FIGURES}


def page(result):
    return report_html(result, metrics(result), IMAGES)


def parsed(text):
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def visible(text):
    return " ".join("".join(parsed(text).find("body").itertext()).split())


def test_report_is_well_formed_and_refers_to_nothing_outside(any_result):
    text = page(any_result)
    for element in parsed(text).iter():
        assert element.tag not in ("script", "link", "iframe", "object", "base")
        for name, value in element.attrib.items():
            assert name not in ("href", "srcset", "style") and not name.startswith("on")
            assert name != "src" or value.startswith("data:image/png;base64,")
    assert not re.search(r"https?:|url\(|@import", text)


def test_report_embeds_the_figures(multiclass):
    sources = [image.get("src") for image in parsed(page(multiclass)).iter("img")]
    embedded = [base64.b64decode(source.partition(",")[2]) for source in sources]
    assert sorted(embedded) == sorted(IMAGES.values())
    assert all(image.get("alt") for image in parsed(page(multiclass)).iter("img"))


def test_report_escapes_what_users_name(awkward_names):
    text = page(awkward_names)
    assert "<script" not in text and "\x1b" not in text
    assert "<script>alert(1)</script>" in visible(text)
    assert "a&b <c>.npz" in visible(text)


def test_report_gives_the_figures_of_the_run(multiclass):
    text = visible(page(multiclass))
    test = multiclass.test
    hits = (test.predictions == multiclass.dataset.labels[multiclass.split.test]).sum()
    assert f"{test.accuracy:.1%}" in text and f"{hits} of 60" in text
    assert "The report got 95%, under other conditions" in text
    assert "Not like for like: data: blobs.npz" in text and "epochs: 3 instead of 10" in text
    assert multiclass.dataset.sha256() in text and "50,890" in text
    rows = [["".join(cell.itertext()) for cell in row] for row in parsed(page(multiclass)).iter("tr")]
    four = test.report["4"]
    ours = [f"{four[key]:.3f}" for key in ("precision", "recall", "f1-score")]
    assert ["4", *ours, f"{four['support']:.0f}", "0.91", "0.90", "0.90"] in rows
    assert ["epochs", "3 (the experiment: 10)"] in rows


def test_report_compares_like_for_like_where_it_is(like_the_report):
    text = visible(page(like_the_report))
    assert "The report got 95%." in text and "Not like for like" not in text


def test_report_beyond_the_reports_has_nothing_beside_it(beyond):
    text = visible(page(beyond))
    assert "The reports have no such model." in text and beyond.config.experiment.purpose in text
    assert "Unlike the experiment: epochs: 2 instead of 30; dropout: 0.1 instead of 0.2." in text
    assert "report got" not in text and "this run the report" not in text and "None" not in text
    rows = [["".join(cell.itertext()) for cell in row] for row in parsed(page(beyond)).iter("tr")]
    assert ["test accuracy", f"{beyond.test.accuracy:.3f}"] in rows


@pytest.mark.parametrize("name", ["drawn", "multiclass"])
def test_report_is_loud_about_drawn_images_only(name, request):
    result = request.getfixturevalue(name)
    warnings = [e for e in parsed(page(result)).iter("p") if e.get("class") == "warning"]
    assert [DRAWN_WARNING in "".join(e.itertext()) for e in warnings] == ([True] if name == "drawn" else [])


def test_report_says_that_a_run_was_interrupted(interrupted):
    assert "This run was interrupted after 0 of 10 epochs" in visible(page(interrupted))
