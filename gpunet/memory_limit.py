"""Whether a run's data set goes into memory, stays in its file, or neither will do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from gpunet.data import Dataset, Split
from gpunet.errors import InputError
from gpunet.footprint import training_footprint
from gpunet.ops.host_memory import available_bytes
from gpunet.parameters import ParameterLayout

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SHARE_OF_FREE = 0.5  # is given where nobody says how much: the rest is for other programs

# Of each image besides its pixels (measured at five million): while the data are split, which scikit-learn does by way
# of lists of Python's integers; and later its label, its place in the split, and what the shuffle hashes.
SPLITTING_BYTES = 92
KEPT_BYTES = 40


def byte_count(text: str) -> int:
    """Bytes from a size as people write it: 512MB, 1.5 GB, 256MiB, or a plain number. Raises `InputError` otherwise."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", text, re.ASCII)
    unit = UNITS.get(found[2].upper()) if found and len(text) < 40 else None
    if unit is None or float(found[1]) * unit < 1:
        raise InputError(f"a size of memory is a positive number and a unit, such as 512MB or 1.5GB, not {text[:40]!r}")
    return int(float(found[1]) * unit)


def size_text(count: float) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def within_limit(
    dataset: Dataset,
    split: Split,
    ops: Any,
    layout: ParameterLayout,
    max_memory: int | None,
    *,
    augments: bool,
    epochs: int,
    batch_size: int,
) -> Dataset:
    """The data set in memory if training on it there keeps within max_memory bytes; else in its file, if it is in one.

    max_memory: of the data set and of all that training works on; the interpreter and its libraries come on top. None:
    no limit for what is in memory already, and half of what is free for what is in a file. augments: whether images are
    changed in each epoch, which is done in memory alone.
    Raises `InputError` if neither will do; the sentence says what would be needed.
    """
    if max_memory is None and not dataset.is_streamed:
        return dataset
    limit = int(SHARE_OF_FREE * available_bytes()) if max_memory is None else max_memory
    given = f"{size_text(limit)} {'of memory may be used' if max_memory is None else 'is what --max-memory gives it'}"
    work = _work_bytes(dataset, split, ops, layout, epochs, batch_size)
    whole = work + _images_bytes(dataset.images, ops, augments)
    if whole <= limit:
        return dataset.in_memory() if dataset.is_streamed else dataset
    needs = f"training on {dataset.source} in memory needs about {size_text(whole)}, and {given}"
    if not dataset.is_streamed:
        raise InputError(f"{needs}; only a folder with images.npy and labels.npy can be read a batch at a time")
    if augments:
        raise InputError(f"{needs}; images read a batch at a time cannot be augmented: give more, or --no-augment")
    if not ops.takes_streams:
        raise InputError(f"{needs}; backend {ops.name} reads no images from a file: give more, or --backend numpy")
    if work > limit:
        raise InputError(
            f"training on {dataset.source} needs about {size_text(work)} even if its images stay in their file, and "
            f"{given}: give more, or make batches, epochs or hidden layers smaller"
        )
    return dataset


def _work_bytes(dataset: Dataset, split: Split, ops: Any, layout: ParameterLayout, epochs: int, batch_size: int) -> int:
    """All but images in memory: the most that either the split takes or training, with what is kept of each image."""
    footprint = training_footprint(
        ops,
        layout,
        train_rows=len(split.train),
        validation_rows=len(split.validation),
        epochs=epochs,
        batch_size=batch_size,
        evaluate_training=True,
    )
    return max(len(dataset) * SPLITTING_BYTES, len(dataset) * KEPT_BYTES + footprint.run)


def _images_bytes(images: Any, ops: Any, augments: bool) -> int:
    """Images in memory: as they are loaded, with those to test copied, as the backend lays them, and augmented."""
    pixel = 1 if images.dtype == np.uint8 else ops.dtype.itemsize
    return int(1.2 * images.nbytes) + images.shape[0] * images.shape[1] * pixel * (1 + augments)
