"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest
from doc_pages import ROOT

import gpunet

WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "gpunet").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
SHOWN = ("MLP", "train", "Population", "MLPClassifier", "MLPRegressor", "Augmentation")


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_docstring_examples_give_what_they_say(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("name", SHOWN)
def test_docstrings_of_what_people_call_first_have_an_example(name):
    assert ">>> " in getattr(gpunet, name).__doc__
