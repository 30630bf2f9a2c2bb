"""The README says what the results files say."""

from __future__ import annotations

import json
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


# A file each, as the benchmarks and `gpunet equivalence` write them, with figures that are easy to follow.
NUMPY_ALONE = {
    "complete": True,
    "machine": {"date": "2026-01-02", "processor": "AMD CPU", "threads": 2, "numpy": "2.0"},
    "device": None,
    "samples": 30,
    "rows": [],
}
DEVICE = {"device": "Made-up GPU", "CUDA of CuPy": "12.8", "cupy": "14.0", "numba-cuda": "0.30"}
EQUIVALENCE = {
    "date": "2026-01-02",
    "device": "Numba's CUDA simulator",
    "versions": {"numba-cuda": "0.30"},
    "experiment": {"task": "multiclass", "exp": "exp2", "sizes": [784, 8, 10], "batch_size": 4},
    "agrees": True,
    "stopped": None,
    "operations": [
        {"operation": "dense_forward", "shapes": ["4 x 784 -> 8"], "calls": 3, "error": 0.125},
        {"operation": "dense_forward", "shapes": ["2 x 784 -> 8"], "calls": 1, "error": 0.5},
        {"operation": "shuffle", "shapes": ["10"], "calls": 2, "error": 0.0},
    ],
    "steps": [{"step": 1, "error": 0.25}, {"step": 2, "error": 0.0625}],
    "free_running": {"allowed": 4, "losses": {"ratio": 0.5}, "weights": {"ratio": 1.5}},
    "repeat": None,
}


def kernel_results(readme_tables, **device_us):
    """Of every case that the README shows: NumPy takes 1,234.5 us."""
    rows = []
    for name in readme_tables.KERNEL_ROWS:
        kernel, _, rest = name.partition(" ")
        shape, _, detail = rest.rpartition(", ") if kernel == "adam" else (rest, "", "")
        us = {"NumPy": 1234.5, **device_us}
        times = {contender: {"median": median} for contender, median in us.items()}
        row = {"kernel": kernel, "shape": shape, "detail": detail, "floor_us": None, "us": times}
        rows.append(row)
    return NUMPY_ALONE | {"rows": rows}


@pytest.fixture
def results(readme_tables, monkeypatch, tmp_path):
    monkeypatch.setattr(readme_tables, "RESULTS", tmp_path)
    return tmp_path


def test_readme_kernel_table_says_what_was_not_measured(readme_tables, results):
    (results / "kernels-cpu.json").write_text(json.dumps(kernel_results(readme_tables)))
    (results / "kernels-compiled.json").write_text('{"rows": []}')  # another thing altogether
    table = readme_tables.kernels_against_numpy()
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(readme_tables.KERNEL_ROWS)
    assert all(row.endswith("| 1,234 us | not measured | not measured |") for row in rows)
    assert "2 threads of an AMD CPU, numpy 2.0" in table and "nothing was measured on one" in table


def test_readme_kernel_table_names_the_device(readme_tables, results):
    (results / "kernels-cpu.json").write_text(json.dumps(kernel_results(readme_tables)))
    measured = kernel_results(readme_tables, kernel=100.0, CuPy=50.0, cuBLAS=25.0) | {"device": DEVICE}
    measured["rows"][0]["floor_us"] = 12.5
    (results / "kernels-made-up.json").write_text(json.dumps(measured))
    part = measured | {"complete": False, "device": {"device": "GPU of which a part was measured"}}
    (results / "kernels-made-up-part.json").write_text(json.dumps(part))
    table = readme_tables.kernels_against_numpy()
    assert "| 1,234 us | 100 us | 50 us | 12.3 x | 25% | 12.5 us |" in table.splitlines()[2]
    assert "Made-up GPU, CUDA 12.8, CuPy 14.0, numba-cuda 0.30" in table
    assert "not measured" not in table and "a part was measured" not in table


def test_readme_kernel_table_shows_cases_of_the_benchmark(readme_tables):
    import kernel_cases

    titles = [f"{case.title}, {case.detail}".removesuffix(", ") for case in kernel_cases.CASES]
    assert set(readme_tables.KERNEL_ROWS) <= set(titles)


def test_readme_equivalence_table_holds_the_largest_error_of_each_operation(readme_tables, results):
    assert readme_tables.equivalence() == "Not measured yet."
    (results / "equivalence-sim.json").write_text(json.dumps(EQUIVALENCE))
    table = readme_tables.equivalence()
    assert "| `dense_forward` | 4 | 4 x 784 -> 8, 2 x 784 -> 8 | 0.5 |" in table
    assert "| `shuffle` | 2 | 10 | 0 |" in table and "| a whole step | 2 | | 0.25 |" in table
    assert "Numba's CUDA simulator, numba-cuda 0.30, 2026-01-02: multiclass exp2, 784-8-10, batch 4, 2 steps" in table
    assert "1.5 times as far" in table and table.endswith("All of it agrees.")


def test_readme_equivalence_table_does_not_hide_what_disagrees(readme_tables, results):
    wrong = EQUIVALENCE | {"agrees": False, "stopped": "the loss was no number", "free_running": None}
    wrong["operations"] = [{"operation": "adam", "shapes": ["9"], "calls": 1, "error": None}]
    (results / "equivalence-sim.json").write_text(json.dumps(wrong))
    table = readme_tables.equivalence()
    assert "| `adam` | 1 | 9 | infinite |" in table and "The run stopped: the loss was no number." in table
    assert table.endswith("**Not all of it agrees.**")
