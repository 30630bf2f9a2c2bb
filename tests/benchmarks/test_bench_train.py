"""bench_train: what it refuses to time, whom it lists, and what it writes.

Contenders here are gpunet, scikit-learn and stand-ins, in this process unless the process itself is what is held; times
mean nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import bench_train
import made_up
import numpy as np
import pytest
from measuring import results_path
from PIL import Image
from sentences import refused
from training import figure as training_figure
from training.agreement import COMPARED_STEPS, EPS_A_STEP, Agreement
from training.contenders import CONTENDERS, Contender
from training.contenders.gpunet_forms import losses as gpunet_losses
from training.contenders.problem import Problem
from training.process import ContenderFailed, Entrant, TrainingProcess
from training.task import Task
from training.worker import Session

from gpunet import NumpyOps

ROWS = 300  # 192 to train on: two steps an epoch of exp2, of which the second is short
BY_NAME = {each.name: each for each in CONTENDERS}
NUMPY, JAX, SKLEARN = (BY_NAME[name] for name in ("gpunet (NumPy)", "JAX", "scikit-learn"))
PEER = Contender("PyTorch made up", "made_up_form", "right", "numpy", each_thread_count=True)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "made_up.npz"
    images, labels = made_up.images_and_labels(ROWS, 10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return str(path)


@pytest.fixture(scope="session")
def exp2(data):
    return Problem.of(Task.load(data, "multiclass", "exp2"))


class InThisProcess:
    """A `TrainingProcess` that is none."""

    def __init__(self, entrant: Entrant, caches: Path) -> None:
        self.name, self.session = entrant.name, Session(entrant.contender, entrant.device)

    def ask(self, do, **arguments):
        try:
            return json.loads(json.dumps(getattr(self.session, do)(**arguments)))
        except ArithmeticError as error:
            raise ContenderFailed(self.name, str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def made_up_form():
    """NumPy in float32 as a peer, whose variant says what is wrong with it."""

    def prepare(problem, variant, device):
        def run(epochs, order):
            if variant == "fails":
                raise ArithmeticError("no such instruction")
            if variant == "another order" and order is not None:
                order = order[::-1].copy()
            network = problem.network(NumpyOps())
            if variant == "other weights":
                network.layers[1][0][0, 5, 3] += 0.01
            found = gpunet_losses(problem, network, problem.pixels, epochs, order)
            if variant == "not a number" or (variant == "not a number later" and order is None):
                found[-1] = np.nan
            return found[:-1] if variant == "a step too few" else found

        return run

    return SimpleNamespace(prepare=prepare, why_not=lambda variant, device: "it is shy" if variant == "shy" else None)


@pytest.fixture
def run(monkeypatch, data, tmp_path):
    """Runs the command with these contenders; returns the exit status, and the path of the results."""
    monkeypatch.setitem(sys.modules, "training.contenders.made_up_form", made_up_form())
    monkeypatch.setattr(bench_train, "TrainingProcess", InThisProcess)
    path = tmp_path / "new" / "train.json"

    def main(contenders, *arguments):
        monkeypatch.setattr(bench_train, "CONTENDERS", contenders)
        words = ["--data", data, "--rounds", "1", "--out", str(path), "--only", "exp2", *arguments]
        return bench_train.main(words), path

    return main


def peer(variant):
    return Contender("PyTorch made up", "made_up_form", variant, "numpy")


# The whole command


def test_bench_train_compares_times_and_draws(run, capsys):
    contenders = (NUMPY, PEER, SKLEARN, Contender("no such peer", "nowhere", "", "no-such-distribution"), peer("shy"))
    contenders += tuple(each for each in CONTENDERS if each.on_device)
    status, path = run(contenders, "--threads", "1", "2")
    assert status == 0
    results = json.loads(path.read_text())
    entry = results["experiments"][0]
    names = ["gpunet (NumPy)", "PyTorch made up, 1 thread", "PyTorch made up, 2 threads", "scikit-learn"]
    assert list(entry["us_per_step"]) == list(entry["loss_errors"]) == list(results["cold"]) == names
    assert all(0 <= error < 0.1 for error in entry["loss_errors"].values())
    assert all(0 < times["p20"] <= times["median"] <= times["p80"] for times in entry["us_per_step"].values())
    assert list(entry["times_gpunet"]["gpunet (NumPy)"]) == names[1:]
    for runs in results["cold"].values():
        assert 0 < runs["first"]["us_per_step"] and 0 < runs["second"]["us_per_step"]
    assert results["not_run"]["no such peer"] == "no-such-distribution is not installed"
    assert results["not_run"]["PyTorch made up"] == "it is shy"
    assert results["device"] is None and results["not_run"]["TrainKernel"].startswith("no GPU is used, because ")
    assert not results["complete"] and entry["sizes"] == [784, 64, 10] and entry["rows"] == 192
    printed = capsys.readouterr().out
    assert "PyTorch made up: it is shy" in printed and "multiclass exp2: 784-64-10, batch 128" in printed
    with Image.open(path.with_suffix(".png")) as figure:
        assert figure.width > 1000 and figure.convert("L").getextrema() == (0, 255)
    drawn = path.with_suffix(".png").read_bytes()
    path.with_suffix(".png").unlink()
    assert bench_train.main(["--figure", str(path)]) == 0 and path.with_suffix(".png").read_bytes() == drawn


@pytest.mark.parametrize("fault", ["another order", "other weights", "not a number", "a step too few"])
def test_bench_train_refuses_to_time_what_is_not_equal(run, capsys, fault):
    status, path = run((NUMPY, peer(fault)), "--quick")
    assert status == 1 and not path.exists()
    error = capsys.readouterr().err
    assert "multiclass exp2: PyTorch made up trains something else" in error and error.count("\n") == 1


def test_bench_train_refuses_a_wrong_first_run_and_losses_that_are_no_numbers_while_timing(run, capsys):
    assert run((NUMPY, peer("other weights")))[0] == 1
    assert "nothing of it is timed" in capsys.readouterr().err
    status, path = run((NUMPY, peer("not a number later")), "--quick")
    assert status == 1 and not path.exists() and "a loss is no finite number" in capsys.readouterr().err


def test_bench_train_goes_on_without_a_peer_that_fails_but_not_without_gpunet(run, capsys):
    status, path = run((NUMPY, peer("fails")), "--quick")
    entry = json.loads(path.read_text())["experiments"][0]
    assert status == 0 and entry["not_run"] == {"PyTorch made up": "no such instruction"}
    assert list(entry["us_per_step"]) == ["gpunet (NumPy)"]
    path.unlink()
    ours = SimpleNamespace(**vars(peer("fails")) | {"name": "gpunet (made up)", "is_gpunet": True})
    status, path = run((NUMPY, ours), "--quick")
    assert status == 1 and not path.exists()
    assert capsys.readouterr().err == "bench_train: gpunet (made up): no such instruction\n"


def test_bench_train_interrupted_keeps_what_it_has(run, monkeypatch, capsys):
    measure, calls = bench_train.measure, []

    def interrupted_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(bench_train, "measure", interrupted_at_the_second)
    status, path = run((NUMPY,), "multiclass base")
    assert status == 130 and len(json.loads(path.read_text())["experiments"]) == 1
    assert "interrupted; the experiments measured so far are kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--only", "convolution"), "--only convolution: no experiment and no contender is called so"),
        (("--figure", "nothing.json"), "--figure nothing.json"),
    ],
)
def test_bench_train_refuses_in_a_sentence(capsys, arguments, words):
    assert bench_train.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_bench_train_chooses_experiments_and_contenders_by_their_names():
    experiments, contenders = bench_train.chosen(["exp2", "JAX", "(jit)"], quick=False)
    assert [each.name for each in experiments] == ["exp2"]
    assert [each.name for each in contenders] == ["gpunet (jit)", "JAX", "JAX, CUDA"]
    experiments, contenders = bench_train.chosen(None, quick=True)
    assert [each.name for each in experiments] == ["exp2"] and not any("compiled" in each.name for each in contenders)
    with refused("--only exp1", "no experiment"):
        bench_train.chosen(["exp1"], quick=True)


def test_bench_train_never_writes_a_part_over_the_whole():
    assert results_path("train", None, complete=True).name == "train-cpu.json"
    assert results_path("train", "NVIDIA H100", complete=False).name == "train-nvidia-h100-part.json"


# What agrees


def test_agreement_bites_at_its_bound(exp2):
    agreement = Agreement(exp2)
    expected = gpunet_losses(
        exp2, exp2.network(NumpyOps(np.float64)), exp2.pixels, agreement.epochs, exp2.order()
    )  # from weights that are not rounded
    assert agreement.epochs == COMPARED_STEPS // 2 and agreement.error(NUMPY, list(expected), agreement.epochs) < 0.05
    for step in (0, 7, COMPARED_STEPS - 1):
        for share in (0.9, 1.1):
            losses = expected.copy()
            losses[step] += share * EPS_A_STEP * 2**-23 * (step + 1) * max(1, losses[step])
            assert (agreement.error(NUMPY, list(losses), agreement.epochs) > 1) == (share > 1)


def test_agreement_of_epochs_is_that_of_their_rows(exp2):
    agreement = Agreement(exp2)
    steps = gpunet_losses(exp2, exp2.network(NumpyOps()), exp2.pixels, agreement.epochs, exp2.order()).reshape(-1, 2)
    epochs = (steps * [128, 64]).sum(axis=1) / 192
    assert agreement.error(NUMPY, list(epochs), agreement.epochs) < 0.05
    assert agreement.error(NUMPY, list(steps.mean(axis=1)), agreement.epochs) > 1


def test_scikit_learn_adds_eps_first_and_agrees_only_so(exp2):
    from training.contenders import sklearn_form

    agreement, train = Agreement(exp2), sklearn_form.prepare(exp2, "fit", None)
    losses = list(train(agreement.epochs, exp2.order()))
    assert agreement.error(SKLEARN, losses, agreement.epochs) < 0.1
    assert losses == list(train(agreement.epochs, exp2.order()))  # it starts anew
    assert agreement.error(JAX, losses, agreement.epochs) > 1


@pytest.mark.parametrize("module, variant", [("torch", "eager"), ("torch", "fused"), ("jax", "scan")])
@pytest.mark.parametrize("task, name", [("multiclass", "exp2"), ("binary", "numpy")])
def test_peers_train_what_gpunet_trains(data, module, variant, task, name):
    pytest.importorskip(module)
    form = pytest.importorskip(f"training.contenders.{module}_forms")
    problem = Problem.of(Task.load(data, task, name))
    agreement, train = Agreement(problem), form.prepare(problem, variant, None)
    assert form.why_not(variant, None) is None
    for _ in range(2):  # each run starts anew
        assert agreement.error(PEER, list(train(agreement.epochs, problem.order())), agreement.epochs) < 0.5
    assert len(train(1, None)) == problem.steps


def test_pytorch_graph_takes_the_rows_in_their_order(exp2, monkeypatch):
    torch = pytest.importorskip("torch")
    from training.contenders import torch_forms

    def not_captured(self, batch_size):
        offsets = torch.arange(batch_size)
        return SimpleNamespace(replay=lambda: self._next_step(offsets))

    monkeypatch.setattr(torch_forms.GraphLoop, "_captured", not_captured)
    agreement, train = Agreement(exp2), torch_forms.prepare(exp2, "graph", None)
    for _ in range(2):
        assert agreement.error(PEER, list(train(agreement.epochs, exp2.order())), agreement.epochs) < 0.5


# What is timed


def test_training_on_a_device_is_a_long_run_without_a_short_one(exp2):
    asked = []

    class Process:
        def ask(self, do, epochs):
            asked.append(epochs)
            return {"seconds": 10 + epochs * exp2.steps * 3e-6, "losses": [0.5]}

    graph = BY_NAME["gpunet (CUDA graph)"]
    us = bench_train.us_per_step(bench_train.Running(Entrant(graph, 1, 0), Process()), exp2)
    assert us == pytest.approx(3) and asked == [1, 2, 2502]
    cpu = bench_train.us_per_step(bench_train.Running(Entrant(NUMPY, 1, None), Process()), exp2)
    assert asked[3:] == [1, 10] and cpu == pytest.approx(3 + 10e6 / 20)


def test_training_figure_shows_the_fastest_number_of_threads():
    us = {"JAX, 1 thread": 3, "JAX, 2 threads": 2, "PyTorch fused, CUDA": 1, "gpunet (NumPy)": 9}
    fastest = training_figure.fastest_by_threads({name: {"median": median} for name, median in us.items()})
    assert list(fastest) == ["PyTorch fused, CUDA", "JAX, 2 threads", "gpunet (NumPy)"]


# The processes


def test_training_process_trains_and_says_what_failed(data, tmp_path):
    with TrainingProcess(Entrant(NUMPY, 1, None), tmp_path) as process:
        assert process.ask("start")["why_not"] is None
        assert process.ask("open", data=data, task="multiclass", name="exp2")["seconds"] > 0
        reply = process.ask("train", epochs=2, given_order=True)
        assert len(reply["losses"]) == 4 and reply["seconds"] > 0
        with pytest.raises(ContenderFailed, match=r"gpunet \(NumPy\): InputError: .*exp9"):
            process.ask("open", data=data, task="multiclass", name="exp9")
        assert process.ask("train", epochs=1)["losses"]  # it lives on
        process._process.kill()
        with pytest.raises(ContenderFailed, match="its process ended with status -9"):
            process.ask("train", epochs=1)


def test_training_process_gives_each_entrant_its_threads_and_caches(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(
        "training.process.subprocess.Popen", lambda command, env, **options: given.update(env=env, command=command)
    )
    TrainingProcess(Entrant(PEER, 2, None), tmp_path)
    assert given["command"][1:] == ["-m", "training.worker", "PyTorch made up"]
    assert given["env"]["JAX_PLATFORMS"] == "cpu"
    TrainingProcess(Entrant(PEER, 3, 1), tmp_path)
    assert given["command"][3:] == ["PyTorch made up", "1"]
    assert given["env"]["OMP_NUM_THREADS"] == given["env"]["NPROC"] == "3"
    assert given["env"]["NUMBA_CACHE_DIR"].startswith(str(tmp_path))
