"""gpunet sweep: what it shows and keeps, how it goes on after a kill, and what is said of bad values."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from gpunet import sweep
from gpunet.reporting import figures, seeds_figures
from gpunet.sweep import outputs

GRID = ["--grid", "lr=0.003,0.01", "hidden=none,6,8", "epochs=2", "batch=16", "--seeds", "2"]


@pytest.fixture
def undrawn(monkeypatch):
    """No figures of the winner, which take most of the time."""
    for module in (figures, seeds_figures):
        monkeypatch.setattr(module, "FIGURES", {name: lambda result: None for name in module.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_sweep_shows_and_keeps_its_ranking(gpunet, digits, own_folder):
    outcome = gpunet("sweep", "--data", digits, *GRID)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == (
        "sweep of multiclass exp2 over learning_rate (2), hidden (3): 6 combinations, 2 seeds each: 12 networks"
    )
    assert lines[2].endswith("128 images to train, 32 to validate")
    assert sum(line.startswith("networks ") for line in lines) == 3
    (folder,) = (own_folder / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        *("sweep.json", "finished", "best", "results.csv", "networks.csv", "results.json", "sweep.png"),
    }
    found = json.loads((folder / "results.json").read_text())
    assert found["complete"] and found["sweep"]["networks"] == 12
    assert found["sweep"]["fields"] == ["learning_rate", "hidden"]
    ranked, networks = rows(folder / "results.csv"), rows(folder / "networks.csv")
    means = [float(row["validation_accuracy_mean"]) for row in ranked]
    assert len(ranked) == 6 and means == sorted(means, reverse=True) and len(networks) == 12
    for row, entry in zip(ranked, found["ranking"], strict=True):
        each = [float(one["validation_accuracy"]) for one in networks if one["rank"] == row["rank"]]
        assert each == entry["networks"]["validation_accuracy"]
        assert float(row["validation_accuracy_mean"]) == pytest.approx(np.mean(each))
        assert float(row["validation_accuracy_sd"]) == pytest.approx(np.std(each, ddof=1))
    (first,) = [line.split() for line in lines if line.startswith("   1 ")]
    assert first[1:3] == [ranked[0]["learning_rate"], ranked[0]["hidden"]]
    assert first[3] == f"{means[0]:.1%}"
    assert any(f"Best of multiclass exp2: learning_rate {first[1]}, hidden {first[2]}" in line for line in lines)
    assert found["winner"]["settings"] == found["ranking"][0]["settings"]
    test = np.mean(found["winner"]["accuracy"])
    assert f"the only ones that were looked at: {test:.1%} ±" in " ".join(lines)
    for documented in (found, found["sweep"], found["data"], found["ranking"][0], found["winner"]):
        assert all(name in sweep.__doc__ for name in documented)
    # The same command has nothing left to train.
    again = gpunet("sweep", "--data", digits, *GRID)
    assert again.status == 0 and "6 of the combinations are finished already" in again.out
    assert "networks " not in again.out.partition("finished already")[2].partition("rank")[0]


def test_sweep_draws_at_random(gpunet, digits, own_folder, undrawn):
    options = ["--random", "7", "lr=1e-3..1e-1", "hidden=4,5", "epochs=1", "--seeds", "1", "--quiet"]
    for folder in ("a", "b"):
        assert gpunet("sweep", "--data", digits, *options, "--out", folder) == (0, "", "")
    found = rows(own_folder / "a" / "results.csv")
    rates = [float(row["learning_rate"]) for row in found]
    assert len(set(rates)) == 7 and all(1e-3 <= rate <= 1e-1 for rate in rates)
    assert (own_folder / "a" / "results.csv").read_bytes() == (own_folder / "b" / "results.csv").read_bytes()
    assert gpunet("sweep", "--data", digits, *options, "--seed", "1", "--out", "c").status == 0
    others = {row["learning_rate"] for row in rows(own_folder / "c" / "results.csv")}
    assert not others & {row["learning_rate"] for row in found}


def test_sweep_of_a_binary_task_says_where_validation_comes_from(gpunet, digits, own_folder, undrawn):
    options = ["--task", "binary", "--grid", "lr=0.01,0.1", "epochs=1", "hidden=4", "--seeds", "2", "--out", "a"]
    outcome = gpunet("sweep", "--data", digits, *options)
    assert outcome.status == 0 and "a fifth of its training images" in outcome.out
    assert "25 images to train, 7 to validate" in outcome.out


SIZES = ",".join(map(str, range(20, 26)))  # a group for each
LONG = ["--grid", "lr=0.003,0.01", f"hidden={SIZES}", "epochs=60", "--seeds", "2"]


def stopped(digits, number: int) -> tuple[int, str]:
    """The exit status of a sweep into the folder "part", which gets a signal after its first group; and what it
    printed after that."""
    options = ["--data", str(digits), *LONG, "--out", "part"]
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from gpunet.cli import main; raise SystemExit(main(['sweep', *{options!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert any(line.startswith("networks ") for line in process.stdout)
    process.send_signal(number)
    rest = process.communicate()[0]
    watchdog.cancel()
    return process.returncode, rest


def test_sweep_goes_on_after_a_kill(gpunet, digits, own_folder, undrawn):
    """The same command ends with the tables of a sweep that was left in peace, and trains nothing twice."""
    assert stopped(digits, signal.SIGKILL)[0] == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (own_folder / "part" / "finished").glob("cells-*.json")}
    assert 0 < len(kept) < 6
    for folder in ("part", "whole"):
        assert gpunet("sweep", "--data", digits, *LONG, "--out", folder).status == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name in ("results.csv", "networks.csv"):
        assert (own_folder / "part" / name).read_bytes() == (own_folder / "whole" / name).read_bytes()


def test_sweep_ends_cleanly_with_ctrl_c(digits, own_folder):
    status, rest = stopped(digits, signal.SIGINT)
    assert status == 130 and "Interrupted: " in rest and "the same command goes on from there" in rest
    found = json.loads((own_folder / "part" / "results.json").read_text())
    assert not found["complete"] and found["winner"] is None and 0 < len(found["ranking"]) < 12
    assert not (own_folder / "part" / "best").exists()


def test_sweep_lists_the_first_twenty(gpunet, digits, own_folder, undrawn, monkeypatch):
    monkeypatch.setattr(outputs, "MOST_ROWS", 2)
    outcome = gpunet("sweep", "--data", digits, *GRID, "--out", "a")
    assert "... and 4 more; results.csv has all" in outcome.out.splitlines()


def test_sweep_says_what_diverged(gpunet, digits, own_folder, undrawn):
    options = ["--grid", "lr=0.01,1e30", "hidden=4", "epochs=2", "--seeds", "2", "--out", "a"]
    outcome = gpunet("sweep", "--data", digits, *options)
    (last,) = [line for line in outcome.out.splitlines() if line.startswith("   2 ")]
    assert last.split()[:3] == ["2", "1e+30", "-"] and last.endswith("2 of 2 diverged")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["nothing to sweep", "--grid"]),
        (["--grid", "speed=1,2"], ["'speed'", "learning_rate"]),
        (["--grid", "lr="], ["learning_rate", "no values"]),
        (["--grid", "lr=0.1,-1"], ["learning_rate", "-1"]),
        (["--grid", "lr=0.1..1"], ["learning_rate", "--random"]),
        (["--grid"], ["--grid"]),
        (["--grid", "lr=0.1", "--random", "3", "lr=0.1..1"], ["exclude"]),
        (["--random", "lr=0.1..1"], ["--random"]),
        (["--random", "x", "lr=0.1..1"], ["--random", "'x'"]),
        (["--random", "0", "lr=0.1..1"], ["--random", "0"]),
        (["--grid", "lr=0.1", "--seeds", "0"], ["seeds", "0"]),
        (["--grid", "lr=0.1", "--task", "ternary"], ["ternary"]),
        (["--grid", "lr=0.1", "--exp", "exp9"], ["exp9"]),
        (["--grid", "lr=0.1", "--data", "nowhere.npz"], ["nowhere.npz"]),
        (["--grid", "loss=binary_cross_entropy"], ["binary_cross_entropy"]),
        (["--grid", "lr=0.1", "--workers", "2", "--scheduler", "tcp://h:1"], ["--workers", "--scheduler"]),
        (["--grid", "lr=0.1", "--out", "a file"], ["a file"]),
        (["--grid", "lr=0.1", "--out", "used"], ["used", "not empty"]),
    ],
)
def test_sweep_refuses(refused, digits, own_folder, options, words):
    (own_folder / "a file").write_text("")
    (own_folder / "used").mkdir()
    (own_folder / "used" / "thesis.txt").write_text("")
    refused("sweep", "--data", digits, *options, words=words)
    assert not (own_folder / "runs").exists()


def test_sweep_refuses_the_folder_of_another(refused, gpunet, digits, own_folder, undrawn):
    assert gpunet("sweep", "--data", digits, *GRID, "--out", "a").status == 0
    refused("sweep", "--data", digits, *GRID, "--seed", "3", "--out", "a", words=["a", "another sweep", "seed"])


def test_sweep_without_dask_says_what_to_install(refused, digits, monkeypatch):
    monkeypatch.setattr("gpunet.sweep.cluster.find_spec", lambda name: None)
    refused("sweep", "--data", digits, "--grid", "lr=0.1", "--workers", "2", words=["gpunet[dask]"])


def test_sweep_script_is_the_command():
    script = Path(__file__).resolve().parents[2] / "scripts" / "sweep.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: gpunet sweep")
