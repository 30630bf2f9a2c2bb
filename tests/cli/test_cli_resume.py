"""gpunet train --resume: runs that were killed or interrupted or lost their device, and what is said of no such run."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli_train import metrics, read_until, start, without_times
from threadpoolctl import threadpool_limits

from gpunet.machine import blas_threads
from gpunet.ops import NumpyOps
from gpunet.reporting import figures, seeds_figures
from gpunet.resume import Checkpoints
from gpunet.resume_folder import Order, begun, taken_up
from gpunet.runs import RunConfig

EPOCHS = 6
OPTIONS = ["--epochs", EPOCHS, "--hidden", "5", "--batch-size", "16", "--dropout", "0.2", "--augment", "10", "2", "0.1"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No figures, which take most of the time."""
    for module in (figures, seeds_figures):
        monkeypatch.setattr(module, "FIGURES", {name: lambda result: None for name in module.FIGURES})
    monkeypatch.setattr(figures, "png", lambda figure: b"drawn")


class Killed(BaseException):
    """What nothing in the package expects."""


def fails_after(monkeypatch, checkpoints, error):
    """From now on a run that has written so many checkpoints fails with this error."""
    save, written = Checkpoints.save, []

    def failing(self, snapshot):
        save(self, snapshot)
        written.append(snapshot.epoch)
        if len(written) == checkpoints:
            raise error

    monkeypatch.setattr(Checkpoints, "save", failing)


def command(digits, folder, *more):
    return ["train", "--data", digits, *OPTIONS, "--out", folder, *more]


@pytest.fixture
def killed(gpunet, digits, monkeypatch):
    """A folder whose run was killed after three of its six epochs."""

    def kill(folder, *more):
        with monkeypatch.context() as patch:
            fails_after(patch, 3, Killed())
            with pytest.raises(Killed):
                gpunet(*command(digits, folder, "--checkpoint-every", "1", *more))

    return kill


def assert_same_results(folder, expected):
    """All files, but for times; nothing is left that is not a result."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}
    for name in ("model.safetensors", "history.csv"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert without_times(metrics(folder)) == without_times(metrics(expected))


@pytest.mark.parametrize(
    "more", [[], ["--seeds", "3", "--keep", "1"], ["--early-stopping", "2", "--schedule", "cosine"]]
)
def test_resume_ends_as_an_undisturbed_run(gpunet, digits, killed, own_folder, monkeypatch, more):
    monkeypatch.setattr(NumpyOps, "cache_bytes", 200_000)  # of three seeds one at a time
    assert gpunet(*command(digits, "whole", *more)).status == 0
    killed("here", *more)
    outcome = gpunet("train", "--resume", "here")
    assert (outcome.status, outcome.err) == (0, "")
    if "--seeds" not in more:
        assert f"goes on after epoch 3 of {EPOCHS}" in outcome.out.splitlines()
        assert "epoch 4/6" in outcome.out and "epoch 3/6" not in outcome.out
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_resume_after_kill_9(gpunet, digits, own_folder):
    """A process of its own, whatever it was doing."""
    options = ["--data", digits, "--epochs", "100", "--hidden", "5", "--batch-size", "16"]
    process = start(*options, "--checkpoint-every", "7", "--out", "here")
    read_until(process, "epoch  10/")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    outcome = gpunet("train", "--resume", "here")
    assert outcome.status == 0 and "goes on after epoch" in outcome.out
    assert gpunet("train", *options, "--out", "whole", "--quiet").status == 0
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_resume_begins_anew_what_was_killed_before_its_first_checkpoint(gpunet, digits, own_folder, monkeypatch):
    def dies(config):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gpunet.runs.make_network", lambda *arguments: dies(arguments))
        with pytest.raises(Killed):
            gpunet(*command(digits, "here"))
    assert gpunet("train", "--resume", "here", "--quiet").status == 0
    assert gpunet(*command(digits, "whole")).status == 0
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_resume_after_ctrl_c(gpunet, digits, own_folder, monkeypatch):
    with monkeypatch.context() as patch:
        fails_after(patch, 3, KeyboardInterrupt())
        outcome = gpunet(*command(digits, "here", "--checkpoint-every", "1"))
    assert outcome.status == 130
    assert "To finish it: `gpunet train --resume here` goes on from its last checkpoint." in outcome.out
    assert metrics(own_folder / "here")["interrupted"] is True
    assert gpunet("train", "--resume", "here").status == 0
    assert gpunet(*command(digits, "whole")).status == 0
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_ctrl_c_without_checkpoints_leaves_results_only(gpunet, digits, own_folder, monkeypatch):
    calls, update = [], NumpyOps.dense_update

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 10:
            raise KeyboardInterrupt
        update(*arguments)

    monkeypatch.setattr(NumpyOps, "dense_update", interrupted)
    outcome = gpunet(*command(digits, "here"))
    assert outcome.status == 130 and "--resume" not in outcome.out
    assert not (own_folder / "here" / "unfinished").exists()


# What may happen to it


def lost_device():
    """As CuPy raises it."""
    kind = type("CUDARuntimeError", (RuntimeError,), {"__module__": "cupy_backends.cuda.api.runtime"})
    return kind("cudaErrorDevicesUnavailable: the device is busy or unavailable\nand more")


@pytest.mark.parametrize("every", ["1", "0"])
def test_a_device_that_is_lost_is_one_sentence(gpunet, digits, own_folder, monkeypatch, every):
    """In the fourth epoch, with and without checkpoints."""
    calls, update = [], NumpyOps.dense_update

    def failing(*arguments):
        calls.append(None)
        if len(calls) > 3 * 8:  # steps of an epoch
            raise lost_device()
        update(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(NumpyOps, "dense_update", failing)
        outcome = gpunet(*command(digits, "here", "--checkpoint-every", every))
    where = "its last checkpoint" if every == "1" else "its beginning"
    assert (outcome.status, outcome.err) == (
        1,
        "gpunet train: the device failed in the middle of the run (CUDARuntimeError: cudaErrorDevicesUnavailable: the "
        f"device is busy or unavailable): `gpunet train --resume here` goes on from {where}\n",
    )
    assert ("goes on after epoch 3" in gpunet("train", "--resume", "here").out) == (every == "1")
    assert gpunet(*command(digits, "whole")).status == 0
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_an_error_of_our_own_keeps_its_traceback_and_the_run(gpunet, digits, own_folder, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        fails_after(patch, 2, RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"):
            gpunet(*command(digits, "here", "--checkpoint-every", "1"))
    assert "note: `gpunet train --resume here` goes on" in capsys.readouterr().err
    assert gpunet("train", "--resume", "here").status == 0


def test_a_full_disk_in_training_is_a_note_and_a_sentence_in_the_end(gpunet, digits, own_folder, monkeypatch):
    def full(path, content, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gpunet.resume.write_whole", full)
    outcome = gpunet(*command(digits, "here", "--checkpoint-every", "2"))
    assert outcome.status == 0
    assert outcome.err.startswith("gpunet train: note: the checkpoint of epoch 2 cannot be written (No space left")
    assert len(outcome.err.splitlines()) == 1
    assert "3 of its checkpoints could not be written; its results are complete all the same." in outcome.out
    assert not (own_folder / "here" / "unfinished").exists()


def test_a_full_disk_in_the_end_keeps_the_run(gpunet, refused, digits, own_folder, monkeypatch):
    def full(path, content, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gpunet.checkpoint.write_whole", full)
        words = ["No space left", "`gpunet train --resume here` goes on from its last checkpoint"]
        refused(*command(digits, "here", "--checkpoint-every", "2", "--quiet"), words=words)
    watched = gpunet("train", "--resume", "here")
    assert watched.status == 0 and "goes on after epoch 6 of 6" in watched.out
    assert gpunet(*command(digits, "whole")).status == 0
    assert_same_results(own_folder / "here", own_folder / "whole")


def test_a_run_that_diverges_leaves_nothing(refused, digits, own_folder):
    options = ["--data", digits, "--epochs", "20", "--lr", "1e30", "--checkpoint-every", "1"]
    refused("train", *options, "--out", "here", "--quiet", words=["no finite number"])
    assert list(own_folder.iterdir()) == []


# What is refused


def test_two_runs_in_one_folder_are_refused(gpunet, refused, digits, killed):
    killed("here")
    refused(*command(digits, "here"), words=["here", "holds an unfinished run", "--resume here", "--out"])
    with taken_up(Path("here")):
        refused("train", "--resume", "here", words=["another process is training the run in here"])
    assert gpunet("train", "--resume", "here").status == 0


def test_two_runs_that_begin_at_once_are_refused(tmp_path):
    from sentences import refused

    order = Order(RunConfig.from_experiment())
    with begun(tmp_path, order), refused(tmp_path, "another run has just begun"), begun(tmp_path, order):
        raise AssertionError("two at once")


def test_resume_says_that_there_is_nothing(refused, trained, own_folder, digits):
    refused("train", "--resume", "nowhere", words=["no run's folder nowhere"])
    refused("train", "--resume", own_folder, words=[own_folder, "holds no unfinished run"])
    refused("train", "--resume", trained, words=[trained, "is finished"])


@pytest.mark.parametrize(
    "options", [["--epochs", "9"], ["--seed", "1"], ["--task", "binary"], ["--out", "x"], ["--no-augment"]]
)
def test_resume_refuses_other_settings(refused, killed, options):
    refused("train", "--resume", "here", *options, words=["--resume", "as it was begun"])


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "null", '{"format": 1}', '{"format": 1, "config": 3, "seeds": null}', "[" * 100_000, "\x00\x01"],
)
def test_resume_refuses_a_damaged_order(refused, own_folder, content):
    folder = own_folder / "here" / "unfinished"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    refused("train", "--resume", "here", words=["run.json", "begin the run anew"])


def test_resume_refuses_another_version(refused, killed, own_folder):
    killed("here")
    path = own_folder / "here" / "unfinished" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    refused("train", "--resume", "here", words=["here", "another version"])


def test_resume_refuses_other_data(refused, gpunet, killed, digits, own_folder, tmp_path):
    with np.load(digits) as arrays:
        images, labels = arrays["dataset"], arrays["labels"]
    copy = tmp_path / "copy.npz"
    np.savez(copy, dataset=images, labels=labels)
    killed("here", "--data", copy)
    np.savez(copy, dataset=255 - images, labels=labels)
    refused("train", "--resume", "here", "--quiet", words=["another run", "images"])
    np.savez(copy, dataset=images, labels=labels)
    assert gpunet("train", "--resume", "here").status == 0  # it is still there


@pytest.mark.parametrize("number", ["-1", "x", "1.5"])
def test_checkpoint_every_refuses_what_is_no_number_of_epochs(refused, digits, number):
    refused(*command(digits, "here", "--checkpoint-every", number), words=["--checkpoint-every", number])


# Threads


def test_resume_restores_the_threads_of_blas(tmp_path):
    order = Order(RunConfig.from_experiment())
    if blas_threads() is None:
        pytest.skip("NumPy's BLAS is one that threadpoolctl does not know")
    with threadpool_limits(2, user_api="blas"), pytest.raises(Killed), begun(tmp_path, order):
        raise Killed
    with threadpool_limits(1, user_api="blas"):
        with taken_up(tmp_path, checkpoint_every=5) as unfinished:
            assert blas_threads() == 2
            assert unfinished.order == Order(order.config, checkpoint_every=5)
        assert blas_threads() == 1


def test_the_lock_goes_with_its_holder(tmp_path):
    """A process that was killed holds nothing."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from gpunet.resume_folder import Order, begun; from gpunet.runs import RunConfig\n"
        "with begun(Path(sys.argv[1]), Order(RunConfig.from_experiment())):\n"
        "    print('holds', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        read_until(process, "holds")
        with pytest.raises(ValueError, match="another process is training"), taken_up(tmp_path):
            pass
        process.kill()
    with taken_up(tmp_path) as unfinished:
        assert not unfinished.can_go_on
