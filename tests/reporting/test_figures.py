"""The figures show the run's numbers, and can be drawn of every run."""

import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from gpunet.reporting import figures


def texts(figure):
    """All that is written in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", figures.FIGURES)
@pytest.mark.parametrize("run", ["multiclass", "squared_error", "interrupted", "many_classes", "awkward_names"])
def test_figure_is_a_png_without_a_warning(name, run, request):
    any_result = request.getfixturevalue(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = figures.png(figures.FIGURES[name](any_result))
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert image.width == round(figures.WIDTH * figures.DPI) and 200 < image.height < 1100
    ink = np.asarray(image.convert("L")) < 250
    assert ink.any()
    # Nothing is cut off: the outermost pixels are paper.
    assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def test_learning_curves_are_the_history(multiclass):
    history = multiclass.history
    panels = figures.learning_curves(multiclass).axes
    for axes, kind in zip(panels, ("loss", "accuracy"), strict=True):
        curves = {line.get_label().partition(":")[0]: line for line in axes.lines}
        assert np.array_equal(curves["training, mean over the epoch"].get_ydata(), getattr(history.train, kind)[0])
        assert np.array_equal(curves["training, after the epoch"].get_ydata(), getattr(history.train_after, kind)[0])
        assert np.array_equal(curves["validation"].get_ydata(), getattr(history.validation, kind)[0])
        assert curves["validation"].get_xdata().tolist() == [1, 2, 3]
        assert curves["training, mean over the epoch"].get_xdata().tolist() == [0.5, 1.5, 2.5]


def test_learning_curves_mark_what_was_reported(multiclass, like_the_report):
    def marked(result):
        return {
            line.get_label(): (line.get_xdata()[0], line.get_ydata()[0])
            for axes in figures.learning_curves(result).axes
            for line in axes.lines
            if "reported" in line.get_label()
        }

    assert marked(like_the_report) == {
        "training, as reported: 0.22": (10, 0.22),
        "validation, as reported: 0.24": (10, 0.24),
        "training, as reported: 0.961": (10, 0.961),
        "validation, as reported: 0.95": (10, 0.95),
    }
    assert all("reported, on other images" in label for label in marked(multiclass))


def test_learning_curves_without_validation_or_epochs(binary, interrupted):
    labels = [line.get_label() for axes in figures.learning_curves(binary).axes for line in axes.lines]
    assert labels and not any("validation" in label for label in labels)
    assert "None: the run was interrupted before its first epoch ended." in texts(figures.learning_curves(interrupted))


def test_confusion_matrix_shows_counts_where_they_fit(multiclass, many_classes):
    matrix = multiclass.test.confusion_matrix
    axes = figures.confusion_matrix(multiclass).axes[0]
    shown = np.zeros_like(matrix)
    for text in axes.texts:
        column, row = text.get_position()
        shown[row, column] = int(text.get_text())
    assert np.array_equal(shown, matrix)
    shares = axes.images[0].get_array()
    assert np.allclose(shares, matrix / matrix.sum(axis=1, keepdims=True))
    assert not figures.confusion_matrix(many_classes).axes[0].texts


def test_confusion_matrix_names_classes_and_accuracy(multiclass):
    figure = figures.confusion_matrix(multiclass)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list("0123456789")
    assert f"Confusion matrix: {multiclass.test.accuracy:.1%} of 60 test images read right" in texts(figure)


def test_misread_shows_the_most_confident_mistakes(multiclass):
    test, split, dataset = multiclass.test, multiclass.split, multiclass.dataset
    wrong = np.flatnonzero(test.predictions != dataset.labels[split.test])
    axes = figures.misread(multiclass).axes
    assert len(axes) == min(len(wrong), figures.MISREAD_SHOWN)
    confidence = []
    for ax in axes:
        place = next(
            p for p in wrong if (dataset.images[split.test[p]].reshape(28, 28) == ax.images[0].get_array()).all()
        )
        true, read, sure = re.fullmatch(r"true (\d)\nread (\d) \((.*)\)", ax.get_title("left")).groups()
        assert true == str(dataset.labels[split.test[place]]) and read == str(test.predictions[place])
        assert float(sure) == pytest.approx(test.confidence[place], abs=0.006)
        confidence.append(test.confidence[place])
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[0] == test.confidence[wrong].max()


def test_misread_without_mistakes_or_probabilities(perfect, squared_error):
    assert "None: all 60 test images were read right." in texts(figures.misread(perfect))
    assert not any("(" in axes.get_title("left") for axes in figures.misread(squared_error).axes)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_says_where_the_data_came_from(name, drawn, multiclass, interrupted):
    assert "Data: DRAWN hands (synthetic), not photographs" in texts(figures.FIGURES[name](drawn))
    assert "Data: blobs.npz" in texts(figures.FIGURES[name](multiclass))
    assert any("interrupted after 0 of 10 epochs" in text for text in texts(figures.FIGURES[name](interrupted)))


def test_figures_neither_heed_nor_touch_the_users_settings(multiclass):
    usual = figures.png(figures.confusion_matrix(multiclass))
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "black", "axes.grid": False}):
        assert figures.png(figures.confusion_matrix(multiclass)) == usual
        assert matplotlib.rcParams["font.size"] == 30


def test_figures_leave_pyplot_alone(tmp_path):
    code = """
import sys
from conftest import write_blobs
from gpunet.reporting import figures
from gpunet.runs import RunConfig, run
path = write_blobs(sys.argv[1], list("0123"), per_class=8)
result = run(RunConfig.from_experiment("multiclass", "base", data=path, epochs=1))
for draw in figures.FIGURES.values():
    figures.png(draw(result))
assert "matplotlib.figure" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    folders = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "blobs.npz")], check=True, env=environment)
