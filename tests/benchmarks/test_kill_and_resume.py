"""The benchmark that kills runs: that it finds a run that ended otherwise, and knows where it struck."""

from __future__ import annotations

import json
import shutil

import kill_and_resume as script
import pytest

from gpunet.resume_folder import ORDER_FILE, UNFINISHED


@pytest.fixture
def folders(tmp_path):
    """Two runs' folders that are equal but for times."""
    both = tmp_path / "expected", tmp_path / "own"
    for seconds, folder in enumerate(both):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "history.csv").write_text("epoch\n1\n")
        facts = {"test": {"loss": 0.5, "seconds": seconds}, "date": str(seconds)}
        (folder / "metrics.json").write_text(json.dumps(facts))
        (folder / "report.html").write_text(f"took {seconds} s")
    return both


def test_kill_and_resume_passes_over_times(folders):
    assert script._difference(*folders) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "weightt"),
        ("history.csv", "epoch\n1\n2\n"),
        ("metrics.json", '{"test": {"loss": 0.50001}}'),
    ],
)
def test_kill_and_resume_finds_other_content(folders, name, content):
    (folders[1] / name).write_text(content)
    assert script._difference(*folders) == f"other content: {name}"


def test_kill_and_resume_finds_other_files(folders):
    (folders[1] / UNFINISHED).mkdir()
    (folders[1] / "history.csv").unlink()
    assert script._difference(*folders) == "other files: history.csv, unfinished"


def test_kill_and_resume_says_where_it_struck(folders):
    _, own = folders
    assert script._phase(own) == script.AFTER
    (own / UNFINISHED).mkdir()
    (own / UNFINISHED / ORDER_FILE).write_text("{}")
    assert script._phase(own) == script.WRITING
    (own / "model.safetensors").unlink()
    assert script._phase(own) == script.EARLY
    part = own / UNFINISHED / "networks-000000-000001"
    part.mkdir()
    (part / "epoch-00000001.safetensors").write_bytes(b"")
    assert script._phase(own) == script.TRAINING
    shutil.rmtree(own)
    assert script._phase(own) == script.BEFORE
