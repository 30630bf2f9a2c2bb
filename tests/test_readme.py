"""The README says what the results files say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def readme_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme_tables

    yield readme_tables
    sys.modules.pop("readme_tables")


def test_readme_tables_are_those_of_the_results_files(readme_tables):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_tables.with_tables(text) == text, "run python benchmarks/readme_tables.py"


def test_readme_tables_notice_a_figure_that_was_changed(readme_tables):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (
        readme_tables.with_tables(text.replace("| multiclass exp2 | 784-64-10, 128 | ", "| multiclass exp2 | 1, "))
        == text
    )


def test_readme_tables_need_their_place(readme_tables):
    with pytest.raises(SystemExit, match="training-on-the-cpu"):
        readme_tables.with_tables("# gpunet")
