"""Everything that gpunet writes to be read again: how it is written, and what a reader makes of what is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet import MLP, load_model, save_model
from gpunet.errors import InputError


class Writer(NamedTuple):
    """write: (folder, version) writes one version of its content. read: (folder) returns the version that it finds,
    None where there is none; a mixture of two, or half of one, raises. silent: a disk that fails is nobody's business,
    as what is written there can be made again."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], int | None]
    silent: bool = False


def _save_model(folder: Path, version: int) -> None:
    network = MLP((40, 9, 3), seed=1)
    network.parameters[:] = version
    save_model(folder / "model.safetensors", network, ("a", "b", "c"), version=version)


def _load_model(folder: Path) -> int | None:
    if not (folder / "model.safetensors").exists():
        return None
    model = load_model(folder / "model.safetensors")
    (value,) = {float(value) for views in model.network.layers for view in views for value in np.unique(view)}
    assert value == model.metadata["version"]
    return int(value)


def _cache_arrays(folder: Path, version: int) -> None:
    """A cached data set is written where there is none."""
    from gpunet.data.cache import cached_arrays

    os.environ["GPUNET_DATA"] = str(folder)
    if (folder / "set.npz").exists():
        (folder / "set.npz").unlink(missing_ok=True)
    images, _ = cached_arrays("set.npz", lambda: (np.full((40, 784), version, np.uint8), np.arange(40) % 4))
    assert len(np.unique(images)) == 1  # another process may have been faster


def _cached_arrays(folder: Path) -> int | None:
    from gpunet.data.files import load_npz

    try:
        dataset = load_npz(folder / "set.npz")
    except InputError as error:  # another process may take it away at any moment
        if (folder / "set.npz").exists() or "there is no file" not in str(error):
            assert isinstance(error.__cause__, FileNotFoundError) or "there is no file" in str(error), error
        return None
    (value,) = np.unique(dataset.images)
    assert dataset.images.shape == (40, 784) and (dataset.labels == np.arange(40) % 4).all()
    return int(value)


def _plan() -> Any:
    from gpunet.runs import RunConfig
    from gpunet.sweep.plan import make_plan

    rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2)]
    return make_plan(RunConfig.from_experiment(data="none.npz", backend="numpy"), 2, rates)


def _keep_sweep(folder: Path, version: int) -> None:
    from gpunet.sweep.folder import SweepFolder
    from gpunet.sweep.groups import FIGURES

    record = {"diverged": [False, False], **dict.fromkeys(FIGURES, [float(version)] * 2)}
    SweepFolder(folder / "sweep", _plan(), "ab" * 32, 1).keep({0: record, 1: record})


def _kept_sweep(folder: Path) -> int | None:
    from gpunet.sweep.folder import SweepFolder

    if not (folder / "sweep" / "sweep.json").exists():
        return None
    written = (folder / "sweep" / "finished" / "cells-00000.json").exists()
    records = SweepFolder(folder / "sweep", _plan(), "ab" * 32, 1).records()
    assert len(records) == 2 * written, "what was written is damaged"
    values = {value for record in records.values() for value in record["train_loss"]}
    return int(values.pop()) if len(values) == 1 else None


def _write_page(folder: Path, version: int) -> None:
    from gpunet.demo.page import GENERATOR, write_demo_page

    write_demo_page(folder / "page.html", GENERATOR + json.dumps([version] * 2000))


def _read_page(folder: Path) -> int | None:
    from gpunet.demo.page import GENERATOR

    if not (folder / "page.html").exists():
        return None
    (version,) = set(json.loads((folder / "page.html").read_text().removeprefix(GENERATOR)))
    return version


class _Code:
    """What stands for a compiled kernel: can be pickled, and knows what device it is for."""

    signature = ("array(float32, 1d, C)",)

    def __init__(self, version: int) -> None:
        self.code = [version] * 5000
        self.target_context = _Target()


class _Target:
    def codegen(self) -> Any:
        return self

    def magic_tuple(self) -> tuple:
        return (12, 9), (7, 5)


class _Dispatcher:
    targetoptions: dict = {}

    @staticmethod
    def py_func(x: Any) -> None:
        x[0] = 1


def _kernels(folder: Path) -> Any:
    from gpunet.kernels import kernel_cache

    os.environ["GPUNET_CACHE"] = str(folder / "kernels")
    kernel_cache._folder.cache_clear()
    kernel_cache.TRUSTED.add(__name__)
    return kernel_cache.KernelCache(_Dispatcher())


def _keep_kernel(folder: Path, version: int) -> None:
    _kernels(folder).save_overload(_Code.signature, _Code(version))


def _kept_kernel(folder: Path) -> int | None:
    kernel = _kernels(folder).load_overload(_Code.signature, _Target())
    if kernel is None:
        assert not list((folder / "kernels").rglob("py_func-*.kernel")), "what was written is damaged"
        return None
    (version,) = set(kernel.code)
    return version


WRITERS = {
    "model": Writer(_save_model, _load_model),
    "data cache": Writer(_cache_arrays, _cached_arrays, silent=True),
    "sweep": Writer(_keep_sweep, _kept_sweep),
    "page": Writer(_write_page, _read_page),
    "kernel": Writer(_keep_kernel, _kept_kernel, silent=True),
}
REFUSALS = (OSError, InputError)
