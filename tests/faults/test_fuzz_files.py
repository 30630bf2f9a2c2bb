"""A short form of `python benchmarks/fuzz_files.py`, and whether it would notice."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of processes are Linux's", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fuzz_files import KINDS, fuzz, report
from fuzzing.watched import GOOD, Outcome, read_files


def test_damaged_files_are_read_or_refused():
    kinds = [kind for kind in KINDS if kind != "kernels" or find_spec("numba")]
    outcomes = fuzz(kinds, 300, seed=1, processes=2)
    assert len(outcomes) == 300 and {each.kind for each in outcomes} == set(kinds)
    assert all(each.good for each in outcomes), report(outcomes)
    assert {each.name for each in outcomes} == set(GOOD)  # not everything is refused


@pytest.mark.parametrize(
    ("reader", "finding"),
    [
        ("unpickles", "executed"),
        ("raises", "raised"),
        ("hangs", "hung"),
        ("dies", "crashed"),
        ("gorges", "too much memory"),
        ("gorges_quietly", "too much memory"),
        ("chatters", "endless sentence"),
        ("stammers", "no sentence"),
    ],
)
def test_what_no_reader_may_do_is_noticed(reader, finding):
    outcomes = list(read_files(f"bad_readers:{reader}", range(4), seed=0, limit=1.0))
    assert len(outcomes) == 4
    assert finding in {each.name for each in outcomes} <= {finding, *GOOD}


def test_sound_reader_gives_no_findings():
    outcomes = list(read_files("bad_readers:sound", range(4), seed=0, limit=5.0))
    assert [each.name for each in outcomes] == ["loaded"] * 4


def test_report_counts_and_names_findings():
    outcomes = [Outcome("a", 0, "loaded", "", 0.1, 1), Outcome("a", 1, "hung", "a file: for 20 seconds", 20, 3)]
    text = report(outcomes)
    assert "hung" in text.splitlines()[0] and text.splitlines()[-1] == "a 1 hung: a file: for 20 seconds"
