"""What is compiled ahead of time is what a run launches."""

from __future__ import annotations

import pytest
from sentences import refused

from gpunet.experiments import EXPERIMENTS, find_experiment
from gpunet.kernels.epoch import shuffle_kernel
from gpunet.kernels.launch import SIMULATOR, Launch
from gpunet.ops.backend import make_backend
from gpunet.runs import RunConfig, run
from gpunet.warmup import _blank_images, choose_experiments, compile_kernels

pytestmark = pytest.mark.skipif(not SIMULATOR, reason="there is a device, which would compile")


IN_EVERY_RUN = {"shuffle_kernel", "dense_forward_kernel", "dense_head_kernel", "batch_sums_kernel", "advance_kernel"}


@pytest.fixture
def launched(monkeypatch):
    """The kernels that were launched; not a thread of them runs."""
    found = set()
    monkeypatch.setattr(Launch, "__call__", lambda launch, stream=0: found.add(kernel_of(launch)))
    return found


@pytest.fixture
def compiled(monkeypatch):
    """The kernels that were compiled, if only for the sake of the argument: the simulator has nothing to compile."""
    found = set()
    monkeypatch.setattr(Launch, "compile", lambda launch: found.add(kernel_of(launch)))
    return found


def kernel_of(launch):
    """A kernel and the types of its arguments: together they are compiled once."""
    return launch.kernel, tuple(str(getattr(each, "dtype", type(each))) for each in launch.arguments)


@pytest.mark.parametrize(("task", "exp"), [("multiclass", "exp2"), ("multiclass", "augmented"), ("binary", "numpy")])
def test_warmup_compiles_what_a_run_launches(launched, compiled, monkeypatch, task, exp):
    compile_kernels(find_experiment(task, exp), make_backend("sim").ops)
    once = exp == "numpy"  # its rows are shuffled once, before anything is recorded
    assert {kernel for kernel, _ in launched} == ({shuffle_kernel} if once else set())
    ahead = compiled | launched
    launched.clear()
    config = RunConfig.from_experiment(task, exp, backend="sim", epochs=2)
    all_classes = RunConfig.from_experiment("multiclass", "base")
    monkeypatch.setattr("gpunet.runs.load_data", lambda source, **options: _blank_images(all_classes))
    run(config)
    assert launched == ahead
    names = {kernel.fn.__name__ for kernel, _ in ahead}
    assert names >= IN_EVERY_RUN and ("augment_kernel" in names) == (exp == "augmented")


def test_warmup_chooses_experiments():
    assert choose_experiments() == list(EXPERIMENTS)
    names = ("base", "numpy", "relu", "softmax")
    assert choose_experiments("binary") == [find_experiment("binary", name) for name in names]
    assert [experiment.task for experiment in choose_experiments(exp="base")] == ["multiclass", "binary"]
    assert choose_experiments("multiclass", "exp2") == [find_experiment("multiclass", "exp2")]


def test_warmup_refuses_unknown_experiments():
    with refused("'ternary'", "multiclass, binary"):
        choose_experiments("ternary")
    with refused("'exp9'", "base, exp1, exp2, numpy", "deep"):
        choose_experiments(exp="exp9")
    with refused("'exp2'", "base, numpy"):
        choose_experiments("binary", "exp2")
