"""bench_memory in small: data of 64 MB under a limit of 24 MB, of which the system says that it was kept to."""

from __future__ import annotations

import json
import subprocess

import bench_memory
import numpy as np

from gpunet.data import load_data


def test_bench_memory_keeps_to_a_limit_below_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_memory, "compare", lambda *arguments: None)  # takes two more processes
    out = tmp_path / "memory.json"
    options = ["--images", "81632", "--max-memory", "24MB", "--backend", "numpy", "--folder", str(tmp_path)]
    assert bench_memory.main([*options, "--out", str(out)]) == 0, capsys.readouterr().err
    results = json.loads(out.read_text())
    row = results["runs"]["numpy"]
    assert row["streamed"] and results["data_bytes"] == 81632 * 784
    assert 0 < row["beyond_bytes"] == row["peak_bytes"] - row["before_bytes"] <= 24_000_000
    assert row["test_accuracy"] > 0.9
    assert "from the file" in capsys.readouterr().out
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_bench_memory_fails_where_the_limit_is_not_kept_to(tmp_path, monkeypatch, capsys):
    row = {"streamed": True, "before_bytes": 10**6, "seconds": 1.0}
    monkeypatch.setattr(bench_memory, "compare", lambda *arguments: None)
    for peak, status in ((3 * 10**6, 0), (3 * 10**6 + 1, 1)):
        monkeypatch.setattr(bench_memory, "ask", lambda peak=peak, **task: row | {"peak_bytes": peak})
        options = ["--images", "10", "--max-memory", "2MB", "--backend", "numpy", "--out", str(tmp_path / "out.json")]
        assert bench_memory.main(options) == status


def test_bench_memory_writes_nothing_where_the_bits_differ(tmp_path, monkeypatch, capsys):
    def ask(max_memory, **task):
        streamed = max_memory == f"{2 * bench_memory.COMPARED * 784}B"
        return {"streamed": streamed, "parameters": "ab" if streamed else "cd", "test_accuracy": 1.0}

    monkeypatch.setattr(bench_memory, "ask", ask)
    monkeypatch.setattr(bench_memory, "COMPARED", 100)
    out = tmp_path / "out.json"
    assert bench_memory.main(["--images", "10", "--backend", "numpy", "--out", str(out)]) == 1
    assert "otherwise" in capsys.readouterr().err and not out.exists()


def test_bench_memory_tells_what_went_wrong(tmp_path, monkeypatch, capsys):
    options = ["--images", "10", "--backend", "numpy", "--out", str(tmp_path / "out.json")]
    assert bench_memory.main([*options, "--folder", str(tmp_path / "missing")]) == 1
    assert "missing" in capsys.readouterr().err
    died = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nMemoryError: 42\n")
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: died)
    monkeypatch.setattr(bench_memory, "COMPARED", 100)
    assert bench_memory.main(options) == 1
    assert capsys.readouterr().err == "numpy: MemoryError: 42\n"


def test_bench_memory_data_are_those_of_a_source(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_memory, "BLOCK", 30)
    dataset = load_data(str(bench_memory.write_data(tmp_path / "data", 70)))
    assert dataset.images.shape == (70, 784) and np.array_equal(dataset.labels, np.arange(70) % 10)
    assert np.array_equal(dataset.images[30:60], dataset.images[:30])
    assert len(np.unique(dataset.images[:30], axis=0)) == 30
