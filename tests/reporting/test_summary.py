"""The console's last words: numbers right, 80 columns kept, the comparison honest."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from gpunet.reporting.facts import DRAWN_WARNING, differences, duration
from gpunet.reporting.summary import print_summary, summary_text

FOLDER = Path("runs/x")


def printed(result, **settings):
    console = Console(file=io.StringIO(), width=80, **settings)
    print_summary(console, result, FOLDER)
    return console.file.getvalue()


def words(text):
    """The text with its lines joined."""
    return " ".join(text.split())


def test_summary_fits_80_columns(any_result):
    # The data's path and the folder stay whole, however long: people copy them.
    source = any_result.dataset.source
    lines = summary_text(any_result, FOLDER).splitlines()
    assert [line for line in lines if cell_len(line) > 80 and Path(source).parent.name not in line] == []


def test_summary_is_the_same_text_with_rich(any_result):
    text = summary_text(any_result, FOLDER)
    assert printed(any_result, force_terminal=False) == text
    coloured = printed(any_result, force_terminal=True, color_system="standard")
    assert "\x1b" in coloured and re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text


def test_summary_gives_each_class_beside_the_report(multiclass):
    four = multiclass.test.report["4"]
    row = ["4", *(f"{four[k]:.3f}" for k in ("precision", "recall", "f1-score")), f"{four['support']:.0f}"]
    rows = [line.split() for line in summary_text(multiclass, FOLDER).splitlines()]
    assert [*row, "0.91", "0.90", "0.90"] in rows
    last = multiclass.history.report(2)
    assert ["validation", "accuracy", f"{last.validation_accuracy:.3f}", "0.95"] in rows
    assert ["test", "accuracy", f"{multiclass.test.accuracy:.3f}", "0.95"] in rows


def test_summary_shows_the_confusion_matrix(multiclass):
    lines = summary_text(multiclass, FOLDER).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Confusion matrix"))
    assert lines[start + 1].split() == list("0123456789")
    for label, counts in enumerate(multiclass.test.confusion_matrix):
        assert lines[start + 2 + label].split() == [str(label), *(str(count or ".") for count in counts)]


def test_summary_of_many_classes_lists_the_worst_and_the_commonest_confusions(many_classes):
    text = summary_text(many_classes, FOLDER)
    assert len(text.splitlines()) < 70
    matrix = many_classes.test.confusion_matrix.copy()
    matrix[range(100), range(100)] = 0
    true, read = divmod(int(matrix.argmax()), 100)
    assert re.search(rf"\b{matrix.max()} x c{true} +read as c{read}\b", text)
    assert "... the 20 of 100 classes with the lowest f1" in text


def test_summary_keeps_names_that_look_like_markup_and_drops_control_codes(awkward_names):
    text = printed(awkward_names, force_terminal=False)
    assert "[bold]x[/bold]" in text and "手話" in text and "\x1b" not in text


def test_summary_says_what_makes_the_comparison_unfair(multiclass, like_the_report, interrupted):
    assert "NOT LIKE FOR LIKE" not in summary_text(like_the_report, FOLDER)
    text = words(summary_text(multiclass, FOLDER))
    assert "NOT LIKE FOR LIKE: data: blobs.npz (the report: its own images); epochs: 3 instead of 10." in text
    assert "interrupted after 0 of 10 epochs" in words(summary_text(interrupted, FOLDER))


def test_summary_beyond_the_reports_says_what_the_experiment_is_for(beyond):
    text = words(summary_text(beyond, FOLDER))
    assert f"Beyond the reports: {beyond.config.experiment.purpose}" in text
    assert "UNLIKE THE EXPERIMENT: epochs: 2 instead of 30; dropout: 0.1 instead of 0.2." in text
    assert f"test accuracy {beyond.test.accuracy:.3f} test loss" in text  # and no column of a report between
    assert "the report" not in text.replace("the reports", "")
    unchanged = replace(beyond, config=replace(beyond.config, epochs=30, dropout=0.2))
    assert "UNLIKE" not in summary_text(unchanged, FOLDER)


def test_differences_name_each_departure(like_the_report, binary):
    assert differences(like_the_report) == []
    config = replace(like_the_report.config, hidden=(32, 16), learning_rate=0.01, dropout=0.2, limit=300)
    assert differences(replace(like_the_report, config=config)) == [
        "images: only 300",
        "hidden: 32, 16 instead of 64",
        "learning rate: 0.01 instead of 0.001",
        "dropout: 0.2 instead of 0",
    ]
    config = replace(binary.config, classes=("2", "7"))
    assert "classes: 2, 7 instead of 4, 9" in differences(replace(binary, config=config))


def test_summary_is_loud_about_drawn_images(drawn, multiclass):
    assert DRAWN_WARNING in summary_text(drawn, FOLDER) and drawn.dataset.note in words(summary_text(drawn, FOLDER))
    assert DRAWN_WARNING not in summary_text(multiclass, FOLDER)


def test_summary_says_where_things_lie_and_how_long_they_took(multiclass):
    text = summary_text(multiclass, FOLDER)
    assert f"Saved in {FOLDER}\n" in text and multiclass.dataset.source in text
    assert f"training {duration(multiclass.seconds['training'])}" in text
    assert "Saved" not in summary_text(multiclass, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0464, "46 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (250.4, "4 min 10 s"),
        (3599.7, "1 h 00 min"),
        (7505, "2 h 05 min"),
    ],
)
def test_duration_is_what_a_person_says(seconds, text):
    assert duration(seconds) == text
