"""A folder with images.npy and labels.npy: the form for data sets of any size, which can be read a batch at a time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gpunet.data.arrays import to_classes
from gpunet.data.dataset import IMAGE_SIDE, PIXELS, Dataset
from gpunet.data.files import npy_array
from gpunet.data.streamed import ROWS_AT_A_TIME, StreamedImages
from gpunet.errors import InputError

IMAGES_FILE, LABELS_FILE = "images.npy", "labels.npy"
NOTE = "files of the user's own; their licence is not known here"


def is_npy_folder(folder: str | Path) -> bool:
    return os.path.isfile(os.path.join(folder, IMAGES_FILE))


def load_npy_folder(folder: str | Path) -> Dataset:
    """The data set of a folder's images.npy and labels.npy; its images are `StreamedImages`, read when they are needed.

    images.npy: ``[N, 784]`` or ``[N, 28, 28]``, uint8 or float in 0..1, which stays float. labels.npy: ``[N]``, as in
    an .npz file.
    Raises InputError, with a sentence that names the file, for anything else.
    """
    folder = Path(folder)
    images, labels = StreamedImages(folder / IMAGES_FILE), npy_array(folder / LABELS_FILE)
    if images.shape[1] != PIXELS:
        raise InputError(
            f"{images.path} has images of {images.shape[1]} pixels, but they must be [N, {PIXELS}] or "
            f"[N, {IMAGE_SIDE}, {IMAGE_SIDE}]"
        )
    if labels.shape != (len(images),):
        raise InputError(
            f"{folder / LABELS_FILE} has shape {labels.shape}, but there are {len(images):,} images: it must be "
            f"[{len(images)}], one label an image"
        )
    indices, class_names = to_classes(labels, str(folder / LABELS_FILE))
    if images.dtype.kind == "f":
        _check_pixels(images)
    return Dataset(images, indices, class_names, str(folder), NOTE)


def _check_pixels(images: StreamedImages) -> None:
    """Raise InputError unless all lie in 0..1. Bytes cannot be wrong; of floats the whole file is read once."""
    for start in range(0, len(images), ROWS_AT_A_TIME):
        pixels = np.asarray(images[start : start + ROWS_AT_A_TIME])
        if not ((pixels >= 0) & (pixels <= 1)).all():  # NaN is neither
            raise InputError(
                f"{images.path} has pixels of type {images.dtype} that do not lie in 0 to 1: divide them by the "
                "largest there can be, or save them as uint8 (0 to 255)"
            )
