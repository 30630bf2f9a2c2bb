"""The figures of a run with many seeds show its numbers, and can be drawn of every run."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from gpunet.reporting import figures, seeds_figures


@pytest.mark.parametrize("name", seeds_figures.FIGURES)
@pytest.mark.parametrize("run", ["seeds_left_out", "two_seeds_binary", "seeds_before_an_epoch", "seeds_beyond"])
def test_seeds_figure_is_a_png_without_a_warning(name, run, request):
    result = request.getfixturevalue(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = figures.png(seeds_figures.FIGURES[name](result))
    image = Image.open(io.BytesIO(content))
    assert image.width == round(figures.WIDTH * figures.DPI) and 200 < image.height < 1100
    ink = np.asarray(image.convert("L")) < 250
    assert ink.any()
    # Nothing is cut off: the outermost pixels are paper.
    assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def test_seeds_curves_are_means_between_percentiles(seeds_left_out):
    history, counted = seeds_left_out.history, [0, 2]
    panels = seeds_figures.learning_curves(seeds_left_out).axes
    for axes, kind in zip(panels, ("loss", "accuracy"), strict=True):
        curves = {line.get_label().partition(":")[0]: line.get_ydata() for line in axes.lines}
        after, validation = (getattr(curve, kind)[counted] for curve in (history.train_after, history.validation))
        np.testing.assert_allclose(curves["training, after the epoch"], after.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(curves["validation"], validation.mean(axis=0), rtol=1e-12)
        bands = [np.unique(shade.get_paths()[0].vertices[:, 1]) for shade in axes.collections]
        assert len(bands) == 2
        for values, shown in zip((after, validation), bands, strict=True):
            assert np.isin(np.percentile(values, (10, 90), axis=0).round(9), shown.round(9)).all()


def test_seeds_confusion_matrix_shows_the_means(seeds_left_out):
    mean = seeds_left_out.test.confusion_matrix[[0, 2]].mean(axis=0)
    axes = seeds_figures.confusion_matrix(seeds_left_out).axes[0]
    shown = np.zeros_like(mean)
    for text in axes.texts:
        column, row = text.get_position()
        shown[row, column] = float(text.get_text())
    np.testing.assert_allclose(shown, mean, atol=0.051)


def test_seeds_test_accuracy_counts_every_network(seeds, seeds_left_out):
    for result, accuracy in ((seeds, seeds.test.accuracy), (seeds_left_out, seeds.test.accuracy[[0, 2]])):
        (axes,) = seeds_figures.test_accuracy(result).axes
        bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in axes.patches]
        assert sum(height for *_, height in bars) == len(accuracy)
        for low, high, height in bars:
            assert height == ((accuracy > low) & (accuracy < high)).sum()
        mean = next(line for line in axes.lines if line.get_label().startswith("mean"))
        assert mean.get_xdata()[0] == pytest.approx(accuracy.mean())


def test_seeds_figures_say_which_seeds_and_which_data(two_seeds_binary):
    for draw in seeds_figures.FIGURES.values():
        written = [text.get_text() for text in draw(two_seeds_binary).texts]
        assert "Data: DRAWN hands (synthetic), not photographs" in written
        assert "binary base, seeds 0 to 1" in written
