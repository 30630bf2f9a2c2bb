"""The console's last words on a run with many seeds: numbers right, 80 columns kept, nothing hidden."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from gpunet.reporting.facts import DRAWN_WARNING
from gpunet.reporting.seeds_summary import print_seeds_summary, seeds_summary_text

FOLDER = Path("runs/x")


def words(text):
    return " ".join(text.split())


def test_seeds_summary_fits_80_columns(any_seeds):
    source = any_seeds.dataset.source
    lines = seeds_summary_text(any_seeds, FOLDER).splitlines()
    assert [line for line in lines if cell_len(line) > 80 and Path(source).parent.name not in line] == []
    assert len(lines) < 75


def test_seeds_summary_is_the_same_text_with_rich(any_seeds):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    print_seeds_summary(console, any_seeds, FOLDER)
    coloured = console.file.getvalue()
    assert "\x1b" in coloured and re.sub(r"\x1b\[[0-9;]*m", "", coloured) == seeds_summary_text(any_seeds, FOLDER)


def test_seeds_summary_tables_are_numpys(seeds):
    rows = [line.split() for line in seeds_summary_text(seeds, FOLDER).splitlines()]
    values = seeds.history.validation.accuracy[:, -1]
    figures = [f"{each:.3f}" for each in (values.mean(), values.std(ddof=1), values.min(), values.max())]
    assert ["validation", "accuracy", *figures, "0.95"] in rows
    f1 = seeds.test.class_figures()["f1"][:, 4]
    figures = [f"{each:.3f}" for each in (f1.mean(), f1.std(ddof=1), f1.min(), f1.max())]
    assert ["4", *figures, "0.90"] in rows


def test_seeds_summary_shows_the_mean_confusion_matrix(seeds_left_out):
    lines = seeds_summary_text(seeds_left_out, FOLDER).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Mean confusion matrix"))
    mean = seeds_left_out.test.confusion_matrix[[0, 2]].sum(axis=0) / 2
    for label, counts in enumerate(mean):
        expected = [f"{count:.1f}" if count else "." for count in counts]
        assert lines[start + 2 + label].split() == [str(label), *expected]


def test_seeds_summary_names_best_worst_and_kept(seeds):
    text = words(seeds_summary_text(seeds, FOLDER))
    best, worst = seeds.test.accuracy.max(), seeds.test.accuracy.min()
    assert f"on average {seeds.test.accuracy.mean():.1%} of the test images read right" in text
    assert f"best: {best:.1%}, seed" in text and f"worst: {worst:.1%}, seed" in text
    assert f"seed {3 + int(np.argmax(seeds.test.accuracy))}" in text
    assert "model.safetensors is seed 6's (as asked for)" in text and f"Saved in {FOLDER}" in text


def test_seeds_summary_says_what_befell_networks(seeds, seeds_left_out, two_seeds_binary):
    text = words(seeds_summary_text(seeds_left_out, FOLDER))
    assert "Left out: seed 4" in text and seeds_left_out.population.note in text
    assert "interrupted after 3 of 4 networks" in text and "2 networks mean sd" in text
    assert "Left out" not in words(seeds_summary_text(seeds, FOLDER))
    assert DRAWN_WARNING in seeds_summary_text(two_seeds_binary, None)
    assert "Saved" not in seeds_summary_text(two_seeds_binary, None)


def test_seeds_summary_beyond_the_reports_has_nothing_beside_it(seeds_beyond):
    text = seeds_summary_text(seeds_beyond, FOLDER)
    assert f"Beyond the reports: {seeds_beyond.config.experiment.purpose}" in words(text)
    heads = [line.split() for line in text.splitlines() if line.split()[-4:] == ["mean", "sd", "min", "max"]]
    assert len(heads) == 2 and "report " not in text
    rows = [line.split() for line in text.splitlines() if line.startswith("test accuracy")]
    assert [len(row) for row in rows] == [6]
