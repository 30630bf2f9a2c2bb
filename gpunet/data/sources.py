"""From what a user writes after --data to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from gpunet.data.arrays import dataset_from_arrays
from gpunet.data.cache import cached_arrays
from gpunet.data.dataset import Dataset
from gpunet.data.files import MAX_BYTES, load_npz
from gpunet.data.folder import load_folder
from gpunet.data.mnist5k import load_mnist5k
from gpunet.data.naming import quoted
from gpunet.data.npy_folder import is_npy_folder, load_npy_folder
from gpunet.data.signs import AUTO, SignsUnavailable, load_signs
from gpunet.data.subset import limit_images
from gpunet.errors import InputError


def load_data(source: str, *, limit: int | None = None, seed: int = 0, stream: bool = False) -> Dataset:
    """The data set that `source` names: one of SOURCES, the path of an .npz file, a folder of images by class, or one
    with images.npy and labels.npy.

    limit: take only so many images, the classes balanced, drawn by `seed`, which changes nothing else: a source is the
    same data in every run. A folder that bears the name of a source is written ./signs. stream: leave the images of an
    .npy file there (`StreamedImages`), instead of reading them all.
    Raises InputError, one sentence, for an unknown source and for data that cannot be used.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit of images must be positive, not {limit}")  # before a download, not after
    dataset = SOURCES[source]() if source in SOURCES else _load_path(source)
    dataset = dataset if limit is None else limit_images(dataset, limit, seed=seed)
    return dataset if stream else _in_memory(dataset)


def _in_memory(dataset: Dataset) -> Dataset:
    if dataset.is_streamed and dataset.images.nbytes > MAX_BYTES:
        raise InputError(
            f"{dataset.source} has {dataset.images.nbytes:,} bytes of images, and at most {MAX_BYTES:,} are read into "
            "memory here: gpunet train, with one seed, reads them a batch at a time"
        )
    return dataset.in_memory() if dataset.is_streamed else dataset


def _load_path(source: str) -> Dataset:
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return load_npy_folder(path) if is_npy_folder(path) else load_folder(path)
    if not os.path.isfile(path):
        raise InputError(
            f"there is no data source, file or folder called {quoted(source)}; choose {', '.join(SOURCES)}, "
            "the path of an .npz file, or a folder with one sub-folder of images for each class or with images.npy and "
            "labels.npy"
        )
    return load_npz(path)


def _load_auto() -> Dataset:
    """The reports' file if it can be had soon, else drawn hands, whose note says what happened."""
    try:
        return load_signs(AUTO)
    except SignsUnavailable as unavailable:
        drawn = _load_synthetic()
        return replace(
            drawn, note=f"DRAWN images instead of the reports' own file, because {unavailable.reason}. {drawn.note}"
        )


def _load_synthetic() -> Dataset:
    from gpunet.data import synthetic

    seed = 0  # always: the drawn hands are one data set, as the reports' file is
    name = f"synthetic-v{synthetic.VERSION}-seed{seed}.npz"
    images, labels = cached_arrays(name, lambda: synthetic.synthetic_digits(seed=seed))
    return dataset_from_arrays(images, labels, where="the drawn hands", source="synthetic", note=synthetic.NOTE)


SOURCES: dict[str, Callable[[], Dataset]] = {
    "auto": _load_auto,
    "signs": load_signs,
    "synthetic": _load_synthetic,
    "mnist5k": load_mnist5k,
}
