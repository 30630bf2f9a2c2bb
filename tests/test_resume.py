"""Runs that are stopped in the middle and gone on with: they end with the bits of runs that were left alone."""

from __future__ import annotations

import errno
import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, SGD, Adam, NumpyOps, Population, train
from gpunet import resume as resume_module
from gpunet.augmentation import Augmentation
from gpunet.ops.backend import make_backend
from gpunet.optimizers import OptimizerMemory
from gpunet.pacing import EarlyStopping
from gpunet.resume import Checkpoints
from gpunet.schedules import Cosine, Plateau, Warmup

CLASSES, SIDE, EPOCHS = 3, 4, 6
INPUTS = SIDE * SIDE
IMAGES, LABELS = images_and_labels(40, CLASSES, INPUTS)
TRAIN, VALIDATION = np.arange(30), np.arange(30, 40)
ORDER = np.stack([np.random.default_rng(epoch).permutation(TRAIN) for epoch in range(EPOCHS)])

# Between them: all that is carried from epoch to epoch, and all ways to choose an epoch's rows.
RUNS = {
    "adam, dropout, augmentation": {
        "dropout": 0.25,
        "augmentation": Augmentation(rotation=20, shift=1, scale=0.1),
        "evaluate_training": True,
    },
    "momentum, one order, weights": {
        "optimizer": SGD(0.1, momentum=0.9, weight_decay=0.01),
        "shuffle": "once",
        "sample_weight": np.linspace(0, 2, len(IMAGES)),
    },
    "an order of one's own": {"optimizer": Adam(0.01, weight_decay=0.1, decoupled=True), "shuffle": ORDER},
    "schedules": {"schedule": (Warmup(epochs=2), Cosine()), "clip_norm": 0.5},
    "plateau and early stopping": {
        "optimizer": Adam(0.05),
        "schedule": Plateau(patience=1),
        "early_stopping": EarlyStopping(patience=2),
    },
    "the best epoch long past": {
        "optimizer": Adam(0.05),
        "labels": np.where(
            np.arange(len(LABELS)) < len(TRAIN), LABELS, (LABELS + 1) % CLASSES
        ),  # validated by wrong ones
        "early_stopping": EarlyStopping(patience=5),
    },
}


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """Every checkpoint waits for the disk, which is none; gives the list of how often."""
    syncs = []
    monkeypatch.setattr(resume_module, "SYNC_SECONDS", 0)
    monkeypatch.setattr("os.fsync", syncs.append)
    return syncs


class Killed(BaseException):
    """What nothing in the package expects."""


def killed_after(epoch):
    """An `on_epoch` that ends the run as soon as it is told of this epoch; what it has seen is in `seen`."""

    def on_epoch(report, *chunk):
        on_epoch.seen.append(report.epoch)
        if report.epoch == epoch:
            raise Killed

    on_epoch.seen = []
    return on_epoch


def trained(
    ops=None,
    *,
    seed=(1, 2),
    sizes=(INPUTS, 5, CLASSES),
    labels=LABELS,
    dropout=0.0,
    rows=(TRAIN, VALIDATION),
    **options,
):
    """A network and its history after a run."""
    network = MLP(sizes, "tanh", seed, dropout=dropout, ops=ops or NumpyOps())
    options = {"epochs": EPOCHS, "batch_size": 8, "optimizer": Adam(0.01)} | options
    return network, train(network, IMAGES, labels, *rows, **options)


def stopped(folder, epoch, *arguments, every=1, **options):
    """Train until this epoch has ended; the checkpoint of the epoch before is the newest."""
    with pytest.raises(Killed):
        trained(*arguments, checkpoints=Checkpoints(folder, every), on_epoch=killed_after(epoch), **options)


def assert_same_run(actual, expected):
    """Parameters and all figures to the bit; times are others."""
    (network, history), (expected_network, expected_history) = actual, expected
    assert_same_bits(network.ops.to_host(network.parameters), expected_network.ops.to_host(expected_network.parameters))
    assert_same_history(history, expected_history)


def assert_same_history(actual, expected):
    assert actual.epochs == expected.epochs
    for name in ("step_loss", "step_accuracy"):
        assert_same_bits(getattr(actual, name), getattr(expected, name))
    for name in ("train", "train_after", "validation"):
        curve, expected_curve = getattr(actual, name), getattr(expected, name)
        assert (curve is None) == (expected_curve is None)
        if curve is not None:
            assert_same_bits(curve.loss, expected_curve.loss)
            assert_same_bits(curve.accuracy, expected_curve.accuracy)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# The same bits


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_resume_ends_with_the_bits_of_an_undisturbed_run(ops, options, tmp_path):
    expected = trained(ops, **options)
    assert expected[1].epochs > 4
    for epoch in (2, 4):  # the second time from what the first has left
        stopped(tmp_path, epoch, ops, **options)
    reached, watch = [], killed_after(None)
    checkpoints = Checkpoints(tmp_path, 1, on_resume=reached.append)
    assert_same_run(trained(ops, checkpoints=checkpoints, on_epoch=watch, **options), expected)
    assert reached == [3] and watch.seen == list(range(4, expected[1].epochs + 1))


def test_resume_of_steps_of_one_row_is_exact(ops, tmp_path):
    """These are one operation an epoch."""
    options = {"sizes": (INPUTS, 4, 1), "labels": LABELS % 2, "batch_size": 1, "optimizer": SGD(0.1), "epochs": 4}
    stopped(tmp_path, 3, ops, **options)
    assert_same_run(trained(ops, checkpoints=Checkpoints(tmp_path), **options), trained(ops, **options))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator
def test_resume_on_the_kernels_is_exact(tmp_path):
    ops = make_backend("sim").ops
    options = {"seed": 1, "sizes": (INPUTS, CLASSES), "rows": (TRAIN[:2], None), "batch_size": 2, "epochs": 2}
    expected = trained(ops, checkpoints=Checkpoints(tmp_path, 1), **options)
    (tmp_path / "epoch-00000002.safetensors").unlink()
    reached = []
    assert_same_run(trained(ops, checkpoints=Checkpoints(tmp_path, on_resume=reached.append), **options), expected)
    assert reached == [1]


def test_resume_keeps_an_optimizers_memory(tmp_path):
    memories = [OptimizerMemory() for _ in range(3)]
    for memory in memories:
        trained(memory=memory, epochs=2)
    expected = trained(memory=memories[0])
    stopped(tmp_path, 4, memory=memories[1])
    assert_same_run(trained(memory=memories[2], checkpoints=Checkpoints(tmp_path)), expected)
    assert memories[2].steps == memories[0].steps
    assert_same_bits(memories[2].v, memories[0].v)


def test_resume_of_a_population_skips_the_chunks_that_are_done(tmp_path):
    def population(on_epoch=None, checkpoints=None):
        networks = Population((INPUTS, 4, CLASSES), seeds=range(5), dropout=0.2, at_a_time=2)
        history = networks.train(
            IMAGES, LABELS, TRAIN, epochs=4, batch_size=8, on_epoch=on_epoch, checkpoints=checkpoints
        )
        return networks, history

    expected = population()

    def killed(report, chunk):
        if chunk.start == 1 and report.epoch == 3:  # chunks are of networks 0, 1 and 2, 3 and 4
            raise Killed

    with pytest.raises(Killed):
        population(killed, Checkpoints(tmp_path, 1))
    seen = []
    actual = population(lambda report, chunk: seen.append((chunk.start, report.epoch)), Checkpoints(tmp_path, 1))
    assert seen == [(1, 3), (1, 4), *((3, epoch) for epoch in range(1, 5))]
    assert_same_bits(actual[0].parameters, expected[0].parameters)
    assert_same_history(actual[1], expected[1])
    assert actual[0].sound.all()


def test_resume_of_a_finished_run_gives_it_again(tmp_path):
    expected = trained(checkpoints=Checkpoints(tmp_path, 4))
    assert files(tmp_path) == ["epoch-00000004.safetensors", "epoch-00000006.safetensors"]
    watch = killed_after(None)
    assert_same_run(trained(checkpoints=Checkpoints(tmp_path, 4), on_epoch=watch), expected)
    assert watch.seen == []


def test_resume_counts_the_seconds_before(tmp_path):
    began = time.perf_counter()
    with pytest.raises(Killed):
        trained(checkpoints=Checkpoints(tmp_path, 1), on_epoch=lambda report: slow(report.epoch))
    before = time.perf_counter() - began
    began = time.perf_counter()
    seconds = trained(checkpoints=Checkpoints(tmp_path, 1))[1].seconds
    assert 0.2 < seconds < before + time.perf_counter() - began


def slow(epoch):
    if epoch == 3:
        raise Killed
    time.sleep(0.1)


KILLED_PROGRAM = """
import sys, time
sys.path[:0] = {path!r}
import test_resume as tests
from gpunet.resume import Checkpoints
tests.trained(epochs=60, checkpoints=Checkpoints(sys.argv[1], 2), on_epoch=lambda report: time.sleep(0.02))
"""


def test_resume_after_kill_9(tmp_path):
    """The short form of benchmarks/kill_and_resume.py: three kills, each a few epochs after the one before."""
    program = [sys.executable, "-c", KILLED_PROGRAM.format(path=sys.path), str(tmp_path)]
    draw = np.random.default_rng(0)
    for _ in range(3):
        before = set(tmp_path.glob("epoch-*"))
        with subprocess.Popen(program) as process:
            while set(tmp_path.glob("epoch-*")) <= before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
    reached = []
    actual = trained(epochs=60, checkpoints=Checkpoints(tmp_path, 2, on_resume=reached.append))
    assert_same_run(actual, trained(epochs=60))
    assert 6 <= reached[0] < 60


# When they are written


def test_checkpoints_are_two(tmp_path):
    stopped(tmp_path, 6, every=2)
    assert files(tmp_path) == ["epoch-00000002.safetensors", "epoch-00000004.safetensors"]


def test_checkpoints_wait_for_the_disk_now_and_then(tmp_path, synced, monkeypatch):
    """The one that has is kept until the next has."""
    monkeypatch.setattr(resume_module, "SYNC_SECONDS", 3600)
    stopped(tmp_path, 5)
    assert len(synced) == 1
    assert files(tmp_path) == ["epoch-00000001.safetensors", "epoch-00000004.safetensors"]
    monkeypatch.setattr(resume_module, "SYNC_SECONDS", 0)
    trained(checkpoints=Checkpoints(tmp_path, 1))
    assert len(synced) == 3
    assert files(tmp_path) == ["epoch-00000005.safetensors", "epoch-00000006.safetensors"]


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    trained(checkpoints=Checkpoints(tmp_path))
    assert files(tmp_path) == []  # a run of milliseconds is none to keep
    monkeypatch.setattr(resume_module, "SECONDS", 0)
    monkeypatch.setattr(resume_module, "WRITING_SHARE", 1e9)
    trained(checkpoints=Checkpoints(tmp_path))
    assert files(tmp_path) == ["epoch-00000005.safetensors", "epoch-00000006.safetensors"]


def test_checkpoints_take_little_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(resume_module, "SECONDS", 0)
    monkeypatch.setattr(resume_module, "WRITING_SHARE", 1e-9)  # so that after one there is time for no other
    stopped(tmp_path, 5, every=None)
    assert files(tmp_path) == ["epoch-00000001.safetensors"]


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_checkpoints_refuse_what_is_no_number_of_epochs(tmp_path, every):
    with refused("checkpoint", every):
        Checkpoints(tmp_path, every)


# What can go wrong


def cut(content):
    return content[:-7]


def changed(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("damage", [cut, changed, lambda content: b"", lambda content: b"\x80\x04N." * 30])
def test_resume_passes_over_a_damaged_checkpoint(tmp_path, caplog, damage):
    stopped(tmp_path, 5)
    newest = tmp_path / "epoch-00000004.safetensors"
    newest.write_bytes(damage(newest.read_bytes()))
    reached = []
    actual = trained(checkpoints=Checkpoints(tmp_path, 1, on_resume=reached.append))
    assert reached == [3]
    assert_same_run(actual, trained())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and str(newest) in said[0] and "damaged" in said[0] and "after epoch 3" in said[0]
    assert files(tmp_path) == ["epoch-00000005.safetensors", "epoch-00000006.safetensors"]


def test_resume_begins_anew_where_all_checkpoints_are_damaged(tmp_path, caplog):
    stopped(tmp_path, 5)
    for path in tmp_path.iterdir():
        path.write_bytes(b"nothing")
    watch = killed_after(None)
    assert_same_run(trained(checkpoints=Checkpoints(tmp_path, 1), on_epoch=watch), trained())
    assert watch.seen[0] == 1 and "begins anew" in caplog.text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 7}, "batch size"),
        ({"optimizer": Adam(0.02)}, "optimizer"),
        ({"labels": LABELS[::-1]}, "labels"),
        ({"rows": (TRAIN[1:], VALIDATION)}, "train rows"),
        ({"dropout": 0.5}, "dropout"),
        ({"ops": NumpyOps(np.float64)}, "type of numbers"),
        ({"epochs": 9}, "epochs"),
        ({"seed": (1, 3)}, "seeds"),
    ],
)
def test_resume_refuses_another_runs_checkpoints(tmp_path, options, named):
    stopped(tmp_path, 3)
    before = files(tmp_path)
    with refused(tmp_path, "another run", named):
        trained(checkpoints=Checkpoints(tmp_path, 1), **options)
    assert files(tmp_path) == before


def test_resume_says_that_another_machine_may_give_other_bits(tmp_path, caplog, monkeypatch):
    stopped(tmp_path, 3)
    monkeypatch.setattr(resume_module, "processor_name", lambda: "another one")
    trained(checkpoints=Checkpoints(tmp_path, 1))
    assert [record.getMessage() for record in caplog.records] == [
        "the run was begun elsewhere (what differs: processor): its last bits may be others"
    ]


def test_a_full_disk_is_one_warning_and_training_goes_on(tmp_path, caplog, monkeypatch):
    write, calls = resume_module.write_whole, []

    def full(path, content, **options):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content, **options)

    monkeypatch.setattr(resume_module, "write_whole", full)
    checkpoints = Checkpoints(tmp_path, 1)
    assert_same_run(trained(checkpoints=checkpoints), trained())
    assert checkpoints.failures == 4
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for words in ("epoch 3", "No space left", "training goes on", "epoch 2 stays"):
        assert words in record.getMessage()
    assert files(tmp_path) == ["epoch-00000001.safetensors", "epoch-00000002.safetensors"]
    monkeypatch.undo()
    assert_same_run(trained(checkpoints=Checkpoints(tmp_path, 1)), trained())


def test_resume_clears_away_what_was_being_written(tmp_path):
    stopped(tmp_path, 4)
    (tmp_path / ".epoch-00000004.safetensors.123.part").write_bytes(b"half")
    trained(checkpoints=Checkpoints(tmp_path, 1))
    assert files(tmp_path) == ["epoch-00000005.safetensors", "epoch-00000006.safetensors"]
