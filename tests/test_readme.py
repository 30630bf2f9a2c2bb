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


TRAINING = {
    "machine": {
        **{
            "date": "2026-01-02",
            "processor": "AMD CPU",
            "cores": 4,
            "threads": [1, 2],
            "numpy": "2.0",
            "numba": "0.60",
        },
        **{"python": "3.12", "torch": "2.9", "jax": "not installed", "scikit-learn": "1.6"},
    },
    "device": None,
    "rounds": 5,
    "cold_experiment": "multiclass exp2",
    "cold": {
        name: {"first": {"us_per_step": first}, "second": {"us_per_step": 1500.0}}
        for name, first in (
            ("gpunet (NumPy)", 2000.0),
            ("PyTorch eager, 1 thread", 9.0),
            ("PyTorch eager, 2 threads", 8.0),
        )
    },
    "experiments": [
        {
            "experiment": "multiclass exp2",
            "sizes": [784, 64, 10],
            "batch_size": 128,
            "us_per_step": {
                "gpunet (NumPy)": {"median": 400.0},
                "gpunet (jit)": {"median": 250.0},
                "PyTorch eager, 1 thread": {"median": 900.0},
                "PyTorch fused, 2 threads": {"median": 600.0},
                "scikit-learn": {"median": 650.0},
            },
            "times_gpunet": {
                "gpunet (NumPy)": {"PyTorch eager, 1 thread": 2.2, "PyTorch fused, 2 threads": 1.52},
                "gpunet (jit)": {"PyTorch eager, 1 thread": 3.6, "PyTorch fused, 2 threads": 2.44},
            },
        }
    ],
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


def test_readme_training_table_names_the_fastest_peers_and_who_did_not_run(readme_tables, results):
    (results / "train-cpu.json").write_text(json.dumps(TRAINING))
    table = readme_tables.training_on_the_cpu()
    row = "| 400 us | 250 us | 600 us (fused, 2 threads) | not run | 650 us | 1.5 x, jit 2.4 x |"
    assert table.splitlines()[2] == f"| multiclass exp2 | 784-64-10, 128 {row}"
    assert "up to 2 threads on 4 cores of an AMD CPU, 2026-01-02" in table
    assert "jax" not in table and "numba 0.60, torch 2.9, scikit-learn 1.6" in table
    assert "gpunet (NumPy) 2,000 and 1,500; PyTorch eager 8 and 1,500 us a step" in table
    alone = TRAINING | {"cold": {}, "experiments": [TRAINING["experiments"][0] | {"times_gpunet": {}}]}
    alone["experiments"][0]["us_per_step"] = {"gpunet (NumPy)": {"median": 400.0}}
    (results / "train-cpu.json").write_text(json.dumps(alone))
    row = readme_tables.training_on_the_cpu().splitlines()[2]
    assert row.endswith("| 400 us | not run | not run | not run | not run | not run |")


def test_readme_training_table_of_a_device_names_gpunet_s_forms_there(readme_tables, tmp_path, monkeypatch):
    monkeypatch.setattr(readme_tables, "RESULTS", tmp_path)
    assert readme_tables.training_on_gpus() == "Not measured yet."
    graph, peer = "gpunet (CUDA graph)", "PyTorch CUDA graph of a step"
    entry = {
        **TRAINING["experiments"][0],
        "us_per_step": {graph: {"median": 10.0}, peer: {"median": 25.0}},
        "times_gpunet": {graph: {peer: 2.5}},
    }
    machine = TRAINING["machine"] | {"cupy": "14.0", "numba-cuda": "0.30"}
    results = TRAINING | {"device": DEVICE, "machine": machine, "cold": {}, "experiments": [entry]}
    (tmp_path / "train-made-up-gpu.json").write_text(json.dumps(results))
    (tmp_path / "train-cpu.json").write_text(json.dumps(TRAINING))
    lines = readme_tables.training_on_gpus().splitlines()
    assert lines[2] == (
        "| multiclass exp2 | 784-64-10, 128 | not run | 10 us | 25 us (CUDA graph of a step) | not run | graph 2.5 x |"
    )
    assert "Made-up GPU, 2026-01-02; cupy 14.0, numba-cuda 0.30, torch 2.9, Python 3.12" in lines[4]


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
    from operations import cases as kernel_cases

    titles = [f"{case.title}, {case.detail}".removesuffix(", ") for case in kernel_cases.CASES]
    assert set(readme_tables.KERNEL_ROWS) <= set(titles)


def test_readme_population_table_says_who_is_missing(readme_tables, results):
    assert readme_tables.population_on_the_cpu() == "Not measured yet."
    rates = {"gpunet (NumPy)": 5.25, "gpunet (jit)": 9.0, "PyTorch, one after another": 3.0}
    machine = NUMPY_ALONE["machine"] | {"torch": "2.0", "jax": "not installed"}
    rows = [
        {"networks": 20, "rate": {name: {"median": rate} for name, rate in rates.items()}},
        {"networks": 64, "rate": {"gpunet (jit)": {"median": 1234.5}}},
    ]
    about = {"sizes": [784, 64, 10], "batch_size": 128, "training_rows": 3200, "epochs_timed": 2, "rounds": 5}
    left_out = {"gpunet (NumPy)": {"from": 64, "why": "a run of more than 5 seconds"}}
    measured = about | {"machine": machine, "rows": rows, "not_run": {"JAX": "not installed"}, "left_out": left_out}
    (results / "population-cpu.json").write_text(json.dumps(measured))
    table = readme_tables.population_on_the_cpu()
    assert "| networks | gpunet (NumPy) | gpunet (jit) | PyTorch, one after another |" in table
    assert "| 20 | 5.25 | 9 | 3 |" in table and "| 64 | left out | 1.23e+03 | left out |" not in table
    assert "| 64 | left out | 1,234 | left out |" in table
    assert "twenty networks go gpunet (NumPy) 1.8 times and gpunet (jit) 3.0 times as fast" in table
    assert "gpunet (NumPy) was left out from 64 networks on: a run of more than 5 seconds" in table
    assert "JAX was not run: not installed" in table and "2 threads of an AMD CPU" in table


def test_readme_model_table_keeps_modelled_and_measured_apart(readme_tables, results):
    us = {"flops": 1.0, "memory": 0.0, "l2": 2.0, "launches": 3.3, "together": 5.3}
    rows = [
        {"networks": 1, "modelled_us": us, "measured_us": None, "memory_at_a_copys_speed_us": 0.0},
        {"networks": 2, "modelled_us": us, "measured_us": 25.0, "memory_at_a_copys_speed_us": 7.5},
    ]
    device = {"name": "X1", "limits": {"copy_bandwidth": 3e12}, "most_networks_in_l2": 69, "rows": rows}
    modelled = {"sizes": [784, 64, 10], "batch_size": 128, "devices": [device]}
    (results / "roofline.json").write_text(json.dumps(modelled))
    table = readme_tables.model_of_a_step()
    assert "| X1 | 1 | 1 us | 0 us | 2 us | 3.3 us | 5.3 us | 5.3 us | not measured |" in table
    assert "| X1 | 2 | 1 us | 0 us | 2 us | 3.3 us | 5.3 us | 2.65 us | 25 us |" in table
    assert "Modelled, but for the last column" in table and "most networks: 69 on the X1" in table
    assert "the 3.0 TB/s that a copy reaches on the X1, the memory traffic of 2 networks takes 7.5 us" in table


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
