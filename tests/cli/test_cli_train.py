"""gpunet train: whole runs on tiny data, what they leave behind, and what is said about unusable input."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from made_up import images_and_labels
from PIL import Image

from gpunet.data import SOURCES
from gpunet.experiments import EXPERIMENTS, TASKS
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.runs import BACKENDS

IMAGES, LABELS = images_and_labels(60, classes=4)


def without_times(value):
    """Metrics without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in ("seconds", "date")}
    return value


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


# Whole runs


def test_train_shows_and_keeps_a_run(gpunet, digits, own_folder):
    outcome = gpunet("train", "--data", digits, "--epochs", "2")
    assert outcome.status == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "multiclass exp2: 784-64-10 relu, 50,890 parameters; adam 0.003, batch 128"
    assert lines[1].startswith("on ")
    assert lines[2] == f"data: {digits}, 200 images of 10 classes"
    assert lines[3].split() == "128 to train, 32 to validate, 40 to test".split()
    assert sum(line.startswith("epoch ") for line in lines) == 2
    (folder,) = (own_folder / "runs").iterdir()
    assert folder.name.startswith("multiclass-exp2-")
    assert f"runs/{folder.name}" in outcome.out
    assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "metrics.json", "report.html"}


def test_train_takes_every_option(gpunet, digits, own_folder):
    given = {
        "task": "binary", "exp": "numpy", "data": str(digits), "limit": 30, "classes": ["1", "7"], "backend": "numpy",
        "epochs": 3, "batch_size": 5, "learning_rate": 0.25, "hidden": [6, 4], "activation": "tanh", "dropout": 0.125,
        "weight_decay": 0.5, "seed": 11,
    }  # fmt: skip
    argv = []
    for name, value in given.items():
        argv += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [value])]
    assert gpunet("train", *argv, "--out", "here").status == 0
    config = metrics(own_folder / "here")["config"]
    assert {name: config[name] for name in given} == given


def test_train_augments(gpunet, digits, own_folder):
    small = ("train", "--data", digits, "--epochs", "1", "--hidden", "4")
    outcome = gpunet(*small, "--augment", "10", "1.5", "0.1", "--out", "here")
    assert "changed anew in each epoch: rotation 10, shift 1.5, scale 0.1" in outcome.out
    config = metrics(own_folder / "here")["config"]
    assert config["augmentation"] == {"rotation": 10, "shift": 1.5, "scale": 0.1, "seed": 0}
    assert "augmentation" in config["changed"]
    outcome = gpunet(*small, "--exp", "augmented", "--no-augment", "--out", "there")
    assert "anew" not in outcome.out
    config = metrics(own_folder / "there")["config"]
    assert config["augmentation"] is None and "augmentation" in config["changed"]


def test_train_without_hidden_layers(gpunet, digits, own_folder):
    outcome = gpunet("train", "--data", digits, "--epochs", "1", "--lr", "0.01", "--hidden", "--out", "here")
    assert outcome.out.startswith("multiclass exp2: 784-10, 7,850 parameters; adam 0.01, batch 128\n")
    assert metrics(own_folder / "here")["config"]["hidden"] == []


def test_train_defaults_to_the_base_experiment_for_binary(gpunet, digits, own_folder):
    assert gpunet("train", "--task", "binary", "--data", digits, "--epochs", "1").out.startswith(
        "binary base: 784-64-1 "
    )


def test_train_quietly_prints_nothing(gpunet, digits):
    assert gpunet("train", "--data", digits, "--epochs", "1", "--quiet") == (0, "", "")


def test_train_twice_gives_the_same_but_for_times(gpunet, digits, own_folder):
    for folder in ("first", "second"):
        options = ["--epochs", "2", "--seed", "3", "--dropout", "0.2", "--out", folder]
        assert gpunet("train", "--data", digits, *options).status == 0
    first, second = own_folder / "first", own_folder / "second"
    assert without_times(metrics(first)) == without_times(metrics(second))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert (first / "history.csv").read_bytes() == (second / "history.csv").read_bytes()


def test_train_allows_a_batch_larger_than_the_data(gpunet, digits, own_folder):
    assert gpunet("train", "--data", digits, "--epochs", "1", "--batch-size", "100000", "--out", "here").status == 0
    assert metrics(own_folder / "here")["history"]["epochs"] == 1


def test_train_is_loud_about_drawn_images(gpunet, digits, monkeypatch):
    """`auto` without a connection."""
    with np.load(digits) as arrays:
        drawn = arrays["dataset"], arrays["labels"]
    monkeypatch.setattr("gpunet.data.synthetic.synthetic_digits", lambda seed: drawn)
    outcome = gpunet("train", "--epochs", "1")
    assert outcome.status == 0
    note = next(line for line in outcome.out.splitlines() if line.startswith("NOTE: "))
    assert "DRAWN" in note and "GPUNET_OFFLINE" in note


def test_train_says_that_the_cache_cannot_be_written(gpunet, digits, monkeypatch, tmp_path):
    """The package's warnings come as notes; --quiet drops them."""
    with np.load(digits) as arrays:
        drawn = arrays["dataset"], arrays["labels"]
    monkeypatch.setattr("gpunet.data.synthetic.synthetic_digits", lambda seed: drawn)
    (tmp_path / "cache").write_text("a file where the folder should be")
    outcome = gpunet("train", "--data", "synthetic", "--epochs", "1")
    assert outcome.status == 0
    assert outcome.err.startswith("gpunet train: note: ") and len(outcome.err.splitlines()) == 1
    assert gpunet("train", "--data", "synthetic", "--epochs", "1", "--quiet") == (0, "", "")


def test_train_help_names_what_there_is(gpunet):
    text = gpunet("train", "--help").out
    words = set(text.replace(",", " ").replace(")", " ").split())
    assert words >= {*TASKS, *SOURCES, *BACKENDS, *ACTIVATIONS}
    for experiment in EXPERIMENTS:
        row = next(line.split() for line in text.splitlines() if line.split()[:2] == [experiment.task, experiment.name])
        assert row[-1] == (f"{experiment.reported.test_accuracy:.2f}" if experiment.is_reported else "-")
        assert str(experiment.batch_size) in row and str(experiment.epochs) in row
        assert experiment.purpose in text


def test_train_shows_a_terminal_any_path(refused, monkeypatch):
    """Brackets are Rich's markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "Loading the data set [/x].npz ..." in refused("train", "--data", "[/x].npz", words=["[/x].npz"]).out


# Interruptions


def start(*argv):
    """`gpunet train` in a process of its own that obeys Ctrl-C, whatever this one was told about it."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from gpunet.cli import main; print('ready')\n"
        f"raise SystemExit(main(['train', *{[str(each) for each in argv]!r}]))"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_until(process, beginning):
    """Lines of stdout up to the first that begins so."""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            break
    watchdog.cancel()
    return lines


def test_ctrl_c_in_training_keeps_what_was_learnt(digits, own_folder):
    process = start("--data", digits, "--epochs", "50000", "--out", "here")
    read_until(process, "epoch   100/")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted: " in out
    found = metrics(own_folder / "here")
    assert found["interrupted"] is True
    assert 100 <= found["history"]["epochs"] < 50000
    assert found["test"]["accuracy"] > 0.5
    assert (own_folder / "here" / "report.html").stat().st_size > 0


def test_ctrl_c_while_the_data_are_loaded_is_one_line_and_leaves_nothing(gpunet, own_folder, monkeypatch):
    def interrupted(source, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gpunet.runs.load_data", interrupted)
    assert gpunet("train") == (130, "", "gpunet train: interrupted\n")
    assert not (own_folder / "runs").exists()


def test_ctrl_c_while_results_are_written_names_the_folder(gpunet, digits, own_folder, monkeypatch):
    """At the second file that takes its place: the model is there by then."""
    calls, replace = [], os.replace

    def interrupted(source, target):
        calls.append(target)
        if len(calls) > 1:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", interrupted)
    outcome = gpunet("train", "--data", digits, "--epochs", "1", "--out", "here")
    assert outcome.status == 130
    assert outcome.err.startswith("gpunet train: interrupted while") and len(outcome.err.splitlines()) == 1
    assert (own_folder / "here" / "model.safetensors").exists()


def test_ctrl_c_while_modules_are_imported_is_one_line(digits, own_folder):
    process = start("--data", digits, "--epochs", "50000")
    read_until(process, "ready")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in out or err == "gpunet train: interrupted\n"  # a fast machine trains by then


# Unusable input


def save(path, dataset=IMAGES, labels=LABELS):
    np.savez(path, dataset=dataset, labels=labels)


def with_pixel(value):
    images = IMAGES / 255
    images[3, 3] = value
    return images


def truncated(path):
    save(path)
    path.write_bytes(path.read_bytes()[:5000])


def images_by_class(path):
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(IMAGES[index].reshape(28, 28)).save(path / name / f"{index}.png")


def folder_with_damaged_image(path):
    images_by_class(path)
    image = path / "b" / "1.png"
    image.write_bytes(image.read_bytes()[:100])


def folder_with_huge_image(path):
    images_by_class(path)
    Image.new("1", (20_000, 20_000)).save(path / "b" / "huge.png")


UNUSABLE_DATA = {
    "missing.npz": (lambda path: None, "signs, synthetic, mnist5k"),
    "empty.npz": (lambda path: path.write_bytes(b""), "is empty"),
    "truncated.npz": (truncated, "truncated"),
    "text.npz": (lambda path: path.write_text("dataset,labels\n"), "not an .npz file"),
    "pickle.npz": (lambda path: path.write_bytes(pickle.dumps({"dataset": 1})), "not an .npz file"),
    "keys.npz": (lambda path: np.savez(path, images=IMAGES, labels=LABELS), "no array 'dataset'"),
    "shape.npz": (lambda path: save(path, IMAGES[:, :700]), "shape (60, 700)"),
    "lengths.npz": (lambda path: save(path, IMAGES[:-1]), "59 images but 60 labels"),
    "dtype.npz": (lambda path: save(path, IMAGES.astype(str)), "pixels of type"),
    "range.npz": (lambda path: save(path, IMAGES.astype(int) * 3), "0 to 255"),
    "negative.npz": (lambda path: save(path, IMAGES.astype(int) - 300), "0 to 255"),
    "nan.npz": (lambda path: save(path, with_pixel(np.nan)), "NaN or infinite"),
    "inf.npz": (lambda path: save(path, with_pixel(np.inf)), "NaN or infinite"),
    "fractions.npz": (lambda path: save(path, labels=LABELS + 0.5), "labels that are NaN, infinite or fractions"),
    "blank.npz": (lambda path: save(path, labels=np.full(60, " ")), "blank labels"),
    "one-class.npz": (lambda path: save(path, labels=np.zeros(60, int)), "one class only"),
    "few.npz": (lambda path: save(path, IMAGES[:12], LABELS[:12]), "too few images to split"),
    "objects.npz": (lambda path: save(path, labels=np.array([{}] * 60, dtype=object)), "pickled"),
    "empty-folder": (lambda path: path.mkdir(), "sub-folder"),
    "damaged-folder": (folder_with_damaged_image, "1.png cannot be read as an image"),
    "huge-folder": (folder_with_huge_image, "huge.png is too large"),
}


@pytest.mark.parametrize("name", UNUSABLE_DATA)
def test_train_refuses_unusable_data(refused, own_folder, name):
    make, words = UNUSABLE_DATA[name]
    make(own_folder / name)
    outcome = refused("train", "--data", name, words=[words] if name == "few.npz" else [words, name])
    assert outcome.out == ""
    assert not (own_folder / "runs").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--task", "ternary"], ["'ternary'", "multiclass, binary"]),
        (["--task", "ternary", "--exp", "exp9"], ["'ternary'", "multiclass, binary"]),
        (["--exp", "exp9"], ["'exp9'", "base, exp1, exp2"]),
        (["--exp", ""], ["''", "base, exp1, exp2"]),
        (["--task", "binary", "--exp", "exp2"], ["'exp2'", "base, numpy"]),
        (["--backend", "tpu"], ["'tpu'", "auto, numpy"]),
        (["--task", "binary", "--classes", "1", "eleven"], ["'eleven'", "'0'"]),
        (["--task", "binary", "--classes", "1", "1"], ["two different classes"]),
        (["--task", "binary", "--classes", "1"], ["--classes", "expected 2 arguments"]),
        (["--classes", "1", "2"], ["--task binary"]),
        (["--activation", "swish"], ["'swish'", "relu"]),
        (["--limit", "30"], ["too few images to split"]),
        (["--data", "nowhere.npz"], ["'nowhere.npz'"]),
        (["unwanted"], ["unwanted"]),
    ],
)
def test_train_refuses_unknown_choices(refused, digits, own_folder, argv, words):
    assert refused("train", "--data", digits, *argv, words=words).out == ""
    assert not (own_folder / "runs").exists()


WHOLE, POSITIVE, SHARE = (
    ["0", "-1", "1.5", "nan", "ten", "", "9" * 5000],
    ["0", "-1", "nan", "inf", "1e400", "x"],
    ["1"],
)
BAD_NUMBERS = {
    "--epochs": WHOLE,
    "--batch-size": WHOLE,
    "--limit": WHOLE,
    "--hidden": WHOLE,
    "--learning-rate": POSITIVE,
    "--weight-decay": POSITIVE[1:],
    "--dropout": [*POSITIVE[1:], *SHARE],
    "--seed": WHOLE[1:],
}


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name, values in BAD_NUMBERS.items() for value in values]
)
def test_train_refuses_bad_numbers(refused, digits, own_folder, option, value):
    name = option.removeprefix("--").replace("-", " ").split()[0]  # an option's and a field's name begin alike
    outcome = refused("train", "--data", digits, option, value, words=[name])
    assert len(outcome.err) < 200
    assert not (own_folder / "runs").exists()


def test_train_stops_with_advice_when_the_loss_is_no_number(gpunet, digits, own_folder):
    outcome = gpunet("train", "--data", digits, "--learning-rate", "1e30")
    assert outcome.status == 2
    assert outcome.err.startswith("gpunet train: the loss") and "smaller learning rate" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (own_folder / "runs").exists()


# The folder for the results


def test_train_refuses_a_folder_that_holds_something(refused, digits, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    outcome = refused("train", "--data", digits, "--out", trained, words=[trained, "not empty", "--out"])
    assert outcome.out == ""
    assert before == {path: path.stat().st_mtime_ns for path in trained.iterdir()}


def test_train_refuses_a_folder_that_cannot_be_one(refused, digits, own_folder):
    (own_folder / "file").write_text("kept")
    for out in ("file", "file/run"):
        assert refused("train", "--data", digits, "--out", out, words=["file", "is a file"]).out == ""
    assert (own_folder / "file").read_text() == "kept"
    refused("train", "--data", digits, "--out", "n" * 300, words=["File name too long"])


def test_train_refuses_a_folder_that_cannot_be_written(refused, digits, own_folder, monkeypatch):
    """Not by permissions, which root does not feel."""

    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.mkdir", read_only)
    assert refused("train", "--data", digits, "--out", "here", words=["here", "Read-only file system"]).out == ""
    assert refused("train", "--data", digits, words=["runs", "Read-only file system"]).out == ""


def test_train_takes_an_empty_folder_and_leaves_it_if_the_run_fails(refused, own_folder):
    (own_folder / "empty").mkdir()
    refused("train", "--data", "missing.npz", "--out", "empty")
    assert (own_folder / "empty").is_dir()
    refused("train", "--data", "missing.npz", "--out", "new/deep")
    assert not (own_folder / "new").exists()


def test_train_on_a_full_disk_is_one_sentence(gpunet, digits, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    outcome = gpunet("train", "--data", digits, "--epochs", "1", "--out", "here")
    assert outcome.status in (1, 2)
    assert "here" in outcome.err and "No space left on device" in outcome.err and len(outcome.err.splitlines()) == 1
