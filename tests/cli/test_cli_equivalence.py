"""gpunet equivalence: what it shows, keeps and returns, with sound arithmetic and with faults."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet.ops import NumpyOps

NUMPY = ("--backend", "numpy", "--hidden", "8", "--batch-size", "32", "--steps", "6")


def results(folder) -> dict:
    return json.loads((folder / "equivalence.json").read_text())


def test_equivalence_shows_and_keeps_what_it_finds(gpunet, digits, own_folder):
    outcome = gpunet("equivalence", "--data", digits, "--seed", "3", *NUMPY)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "multiclass exp2: hidden 8; adam 0.003, batch 32, seed 3"
    assert lines[2].endswith("8 steps on 128 images, epochs: 2")
    assert lines[3] == "unlike the experiment: hidden 8 instead of 64; batch size 32 instead of 128"
    assert "AGREES: numpy computes what NumPy in float64 computes." in lines
    assert "DISAGREES" not in outcome.out
    folder = own_folder / "runs" / "equivalence-numpy"
    assert sorted(path.name for path in folder.iterdir()) == ["equivalence.json", "equivalence.png"]
    found = results(folder)
    assert found["agrees"] and found["experiment"]["sizes"] == [784, 8, 10]
    assert found["experiment"]["data"] == "digits.npz" and str(digits.parent) not in json.dumps(found)
    table = [line.split()[:1] for line in lines]
    for row in found["operations"]:
        assert [row["operation"]] in table


def test_equivalence_writes_the_documented_keys(gpunet, digits, own_folder):
    assert gpunet("equivalence", "--data", digits, *NUMPY, "--out", "here").status == 0
    assert gpunet("equivalence", "--data", digits, *NUMPY, "--out", "here").status == 0  # again, in the same place
    found = results(own_folder / "here")
    assert list(found) == [
        "what", "date", "backend", "device", "versions", "experiment", "agrees", "stopped", "operations", "steps",
        "free_running", "repeat", "seconds",
    ]  # fmt: skip
    assert found["experiment"].keys() == {
        "task", "exp", "sizes", "activation", "loss", "optimizer", "learning_rate", "batch_size", "dropout", "seed",
        "data", "images", "epochs", "steps",
    }  # fmt: skip
    assert len(found["steps"]) == found["experiment"]["steps"] == 8
    assert found["operations"][0].keys() == {"operation", "where", "shapes", "calls", "errors", "error", "agrees"}
    assert found["steps"][0].keys() == {"step", "loss", "errors", "error", "agrees"}
    assert found["free_running"]["allowed"] == 4
    for name in ("losses", "weights"):
        assert found["free_running"][name].keys() == {"distance", "numpy_float32", "least", "ratio", "error", "agrees"}
    assert found["repeat"] == {"same_bits": True, "agrees": True}
    import gpunet.equivalence

    for row in (found, found["experiment"], found["operations"][0], found["steps"][0]):
        assert all(name in gpunet.equivalence.__doc__ for name in row)


def test_equivalence_names_the_faulty_operation(gpunet, digits, own_folder, monkeypatch):
    dense_backward = NumpyOps.dense_backward

    def faulty(self, dz, weight, a, out, **options):
        dense_backward(self, dz, weight, a, out, **options)
        if self.dtype == np.float32:
            out *= np.float32(1.001)

    monkeypatch.setattr(NumpyOps, "dense_backward", faulty)
    outcome = gpunet("equivalence", "--data", digits, *NUMPY, "--out", "here")
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert "  dense_head (layer 2)" in lines and "  dense_backward (layer 2)" in lines
    assert sum(line.endswith("<- DISAGREES") for line in lines if line.startswith("dense_")) == 2
    assert not results(own_folder / "here")["agrees"]


def test_equivalence_ends_with_1_when_a_faulty_run_stops(gpunet, digits, own_folder, monkeypatch):
    adam = NumpyOps.adam

    def faulty(self, state, step):
        adam(self, state, step)
        if self.dtype == np.float32 and step.index == 1 and state.parameters.base is None:
            state.parameters[0, 500] = np.nan

    monkeypatch.setattr(NumpyOps, "adam", faulty)
    # NumPy in float32 stands beside the backend as well: here it is sound.
    monkeypatch.setattr("gpunet.equivalence.comparison.NumpyOps", Sound)
    outcome = gpunet("equivalence", "--data", digits, *NUMPY, "--out", "here")
    assert outcome.status == 1
    assert "DISAGREES: numpy" in outcome.out and "It stopped: the loss was no finite number" in outcome.out
    found = results(own_folder / "here")
    assert found["free_running"]["weights"]["ratio"] is None and found["stopped"]


class Sound(NumpyOps):
    adam = NumpyOps.adam


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backend", "auto"], ["'auto'", "cuda, sim, numpy"]),
        (["--backend", "cuda"], ["cuda", "because"]),
        (["--steps", "0"], ["steps", "0"]),
        (["--batch-size", "0"], ["batch_size", "0"]),
        (["--hidden", "0"], ["hidden"]),
        (["--task", "ternary"], ["ternary"]),
        (["--exp", "exp9"], ["exp9"]),
        (["--data", "nowhere.npz"], ["nowhere.npz"]),
        (["--out", "a file"], ["a file"]),
    ],
)
def test_equivalence_refuses(refused, digits, own_folder, monkeypatch, options, words):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")  # rules CUDA out even where there is a device
    (own_folder / "a file").write_text("")
    backend = () if "--backend" in options else ("--backend", "numpy")
    refused("equivalence", "--data", digits, *backend, *options, words=words)


def test_equivalence_script_is_the_command():
    script = Path(__file__).resolve().parents[2] / "scripts" / "equivalence.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: gpunet equivalence")


# The kernels, in the simulator


@pytest.fixture
def few_threads(monkeypatch):
    """Tiles of few threads, each of which does a lot: for 784 inputs, that is what the simulator does quickest."""
    pytest.importorskip("numba.cuda")
    from gpunet.kernels import dense_backward, dense_forward, dense_head, dense_update, tiles
    from gpunet.kernels.launch import SIMULATOR

    if not SIMULATOR:
        pytest.skip("plants faults that only the simulator runs")
    product = tiles.Tile(rows=4, columns=4, thread_rows=2, thread_columns=2, slices=2, depth=8)
    head = dense_head.Tile(rows=4, slab=32, whole=False, outputs=8, threads=32)
    update = dense_update.Tile(6, 2, down=2, across=1, chunks=1)
    for module, tile in (
        (dense_forward, product),
        (dense_backward, product),
        (dense_head, head),
        (dense_update, update),
    ):
        monkeypatch.setattr(module, "VARIANTS", dict.fromkeys(module.VARIANTS, tile))


SIMULATED = ("--task", "binary", "--hidden", "2", "--seed", "6", "--batch-size", "4", "--steps", "2", "--out", "here")


@pytest.fixture
def pairs(own_folder):
    """An .npz file of a few 4s and 9s."""
    images, labels = images_and_labels(30, classes=2)
    np.savez(own_folder / "pairs.npz", dataset=images, labels=np.where(labels, "9", "4"))
    return own_folder / "pairs.npz"


def test_equivalence_of_the_kernels_agrees(gpunet, pairs, own_folder, few_threads):
    outcome = gpunet("equivalence", "--data", pairs, *SIMULATED)
    assert (outcome.status, outcome.err) == (0, "")
    found = results(own_folder / "here")
    assert found["backend"] == "sim" and found["repeat"] is None
    names = {row["operation"] for row in found["operations"]}
    assert names == {
        "shuffle", "dense_forward", "dense_head", "dense_update", "batch_sums", "advance", "binary_cross_entropy",
        "dense_backward", "dense_gradient", "clip_gradient", "adam",
    }  # fmt: skip


def test_equivalence_with_a_broken_kernel_names_the_operation(gpunet, pairs, own_folder, few_threads, monkeypatch):
    from gpunet.kernels import dense_forward
    from gpunet.ops import cuda_ops

    source, bias = inspect.getsource(dense_forward), "shift = bias[w_network + column]"
    assert source.count(bias) == 1
    broken = types.ModuleType("gpunet.kernels.dense_forward")
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    exec(compile(source.replace(bias, "shift = bias[w_network]"), "broken", "exec"), broken.__dict__)
    broken.VARIANTS = {name: broken.Tile(*tile) for name, tile in dense_forward.VARIANTS.items()}
    monkeypatch.setattr(cuda_ops, "dense_forward", broken.dense_forward)
    outcome = gpunet("equivalence", "--data", pairs, *SIMULATED)
    assert outcome.status == 1
    assert "  dense_forward (layer 1)" in outcome.out.splitlines()
    wrong = [row["operation"] for row in results(own_folder / "here")["operations"] if not row["agrees"]]
    assert wrong == ["dense_forward"]
