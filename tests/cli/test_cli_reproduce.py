"""gpunet reproduce: what it shows and leaves behind, Ctrl-C, and what is said of bad values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpunet.reproduction import figures, running


@pytest.fixture
def two_trainings(monkeypatch):
    """The first two, and no figures, which take most of the time."""
    some = running.all_trainings()[:2]
    monkeypatch.setattr(running, "all_trainings", lambda: some)
    monkeypatch.setattr(figures, "figures", lambda outcome: ())


def test_reproduce_shows_how_it_goes_and_where_it_lies(gpunet, digits, own_folder, two_trainings):
    outcome = gpunet("reproduce", "--data", digits, "--seeds", "2", "--seed", "3", "--quick")
    assert (outcome.status, outcome.err) == (0, "")
    (folder,) = (own_folder / "reports").iterdir()
    facts = json.loads((folder / "numbers.json").read_text())
    assert facts["seeds"] == [3, 4] and facts["quick"] is True
    lines = outcome.out.splitlines()
    assert lines[0] == "Both reports, every experiment with seeds 3 to 4, a quick look"
    first, second = (line for line in lines if line[:4] in ("1/2 ", "2/2 "))
    assert "binary base" in first and "test accuracy" in first and first.endswith(" left")
    assert "multiclass base" in second and "left" not in second
    assert "is no evidence of anything" in outcome.out and str(folder.name) in lines[-1]


def test_reproduce_is_quick_with_fewer_seeds(gpunet, digits, own_folder, two_trainings):
    assert gpunet("reproduce", "--data", digits, "--quick", "--quiet", "--out", "here") == (0, "", "")
    assert json.loads((own_folder / "here" / "numbers.json").read_text())["seeds"] == [0, 1, 2, 3, 4]
    assert "A quick look: 5 seeds" in (own_folder / "here" / "report.md").read_text()


def test_ctrl_c_writes_what_is_done(gpunet, digits, own_folder, two_trainings, monkeypatch):
    train = running._train

    def interrupted(training, *arguments):
        if training.name == "multiclass base":
            raise KeyboardInterrupt
        train(training, *arguments)

    monkeypatch.setattr(running, "_train", interrupted)
    outcome = gpunet("reproduce", "--data", digits, "--seeds", "2", "--out", "here")
    assert outcome.status == 130 and outcome.err == ""
    assert "Interrupted: writing what is done" in outcome.out
    facts = json.loads((own_folder / "here" / "numbers.json").read_text())
    assert facts["interrupted"] is True and list(facts["trainings"]) == ["binary base"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0"], ["seeds", "0"]),
        (["--seeds", "many"], ["--seeds", "many"]),
        (["--seed", "4294967295", "--seeds", "2"], ["4294967295"]),
        (["--data", "nowhere.npz"], ["nowhere.npz", "no data source"]),
        (["--backend", "abacus"], ["backend", "abacus"]),
        (["--fast"], ["--fast", "gpunet reproduce --help"]),
    ],
)
def test_reproduce_refuses_bad_values(refused, digits, own_folder, two_trainings, options, words):
    refused("reproduce", *(["--data", digits] if "--data" not in options else []), *options, words=words)
    assert not (own_folder / "reports").exists()


def test_reproduce_overwrites_nothing(refused, digits, own_folder):
    (own_folder / "here").mkdir()
    (own_folder / "here" / "mine.txt").write_text("mine")
    refused("reproduce", "--data", digits, "--out", "here", words=["here", "not empty", "--out"])


def test_script_is_the_sub_command():
    script = Path(__file__).resolve().parents[2] / "scripts" / "reproduce.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("usage: gpunet reproduce")
