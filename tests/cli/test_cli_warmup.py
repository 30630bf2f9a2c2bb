"""gpunet warmup: what it says, and when it refuses. What it compiles: see test_warmup.py and test_kernel_cache.py."""

from __future__ import annotations

import re

import pytest

from gpunet.experiments import EXPERIMENTS
from gpunet.kernels import kernel_cache
from gpunet.ops import backend


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """An empty cache for compiled kernels."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("GPUNET_CACHE", str(folder))
    monkeypatch.setattr(kernel_cache, "counts", kernel_cache.Counts())
    kernel_cache._folder.cache_clear()
    yield folder
    kernel_cache._folder.cache_clear()


@pytest.fixture
def device(monkeypatch):
    """A device, as far as it goes: number 1. The first experiment has three kernels to compile, the others find one."""
    counts = kernel_cache.counts

    def compile_kernels(experiment, ops):
        assert ops == "operations"
        if counts.compiled == 0 and counts.loaded == 0:
            counts.compiled += 3
        else:
            counts.loaded += 1

    monkeypatch.setattr(backend, "why_no_cuda", lambda number: None if number == 1 else f"there is no device {number}")
    made = {("cuda", 1): backend.Backend("operations", "CUDA on a device")}
    monkeypatch.setattr(backend, "make_backend", lambda name, number: made[name, number])
    monkeypatch.setattr("gpunet.warmup.compile_kernels", compile_kernels)


def without_seconds(text):
    return re.sub(r"\d+\.\d s", "# s", text)


def test_warmup_says_what_it_compiled(gpunet, device, kernels):
    outcome = gpunet("warmup", "--device", "1", "--task", "multiclass")
    assert (outcome.status, outcome.err) == (0, "")
    first, *others = [experiment.name for experiment in EXPERIMENTS if experiment.task == "multiclass"]
    assert without_seconds(outcome.out).splitlines() == [
        "on CUDA on a device",
        f"multiclass {first}: 3 kernels compiled in # s",
        *(f"multiclass {name}: 1 kernel there already in # s" for name in others),
        f"3 kernels compiled, {len(others)} there already in # s, kept in {kernels}",
    ]


def test_warmup_says_that_all_was_there(gpunet, device, kernels):
    kernel_cache.counts.loaded = 4
    outcome = gpunet("warmup", "--device", "1", "--exp", "exp2")
    assert without_seconds(outcome.out).splitlines()[-1] == f"5 kernels there already in # s, kept in {kernels}"


def test_warmup_quietly(gpunet, device):
    assert gpunet("warmup", "--device", "1", "--quiet") == (0, "", "")


def test_warmup_without_a_device_is_one_sentence(refused, monkeypatch, kernels):
    monkeypatch.setattr(backend, "why_no_cuda", lambda number: f"the driver reports no device {number}")
    outcome = refused("warmup", "--device", "3", words=["no GPU", "the driver reports no device 3"])
    assert outcome.out == "" and not kernels.exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--exp", "exp9"], ["'exp9'", "base, exp1, exp2, numpy"]),
        (["--task", "ternary"], ["'ternary'", "multiclass, binary"]),
        (["--device", "first"], ["'first'", "whole number"]),
        (["--device", "2"], ["there is no device 2"]),
        (["all"], ["all"]),
    ],
)
def test_warmup_refuses_what_it_does_not_know(refused, device, argv, words):
    assert refused("warmup", *argv, words=words).out == ""


def test_warmup_refuses_a_cache_that_cannot_be_written(refused, device, kernels):
    """Kernels would be compiled and forgotten."""
    kernels.write_text("a file where the folder should be")
    assert refused("warmup", "--device", "1", words=[kernels, "Not a directory", "GPUNET_CACHE"]).out == ""
