"""From arrays as people save them to the pixels and labels of a Dataset, or to the reason why that cannot be."""

from __future__ import annotations

import numpy as np

from gpunet.data.dataset import IMAGE_SIDE, PIXELS, Dataset
from gpunet.data.naming import listed, sort_names
from gpunet.errors import InputError


def dataset_from_arrays(images: np.ndarray, labels: np.ndarray, *, where: str, source: str, note: str) -> Dataset:
    """Check both arrays and make a data set of them.

    images: ``[N, 784]`` or ``[N, 28, 28]``; integers 0..255, floats 0..1 or whole floats 0..255. labels: ``[N]``,
    strings, bytes, integers or whole floats. where: the file that they came from; it begins each error sentence.
    Raises InputError for anything else, and for labels of one class only.
    """
    if images.shape[1:] not in ((PIXELS,), (IMAGE_SIDE, IMAGE_SIDE)):
        raise InputError(
            f"{where}: the array 'dataset' has shape {images.shape}, but images must be "
            f"[N, {PIXELS}] or [N, {IMAGE_SIDE}, {IMAGE_SIDE}]"
        )
    if len(images) == 0:
        raise InputError(f"{where}: the array 'dataset' holds no images")
    if labels.ndim != 1:
        raise InputError(
            f"{where}: the array 'labels' has shape {labels.shape}, but it must be [N], one label an image"
        )
    if len(labels) != len(images):
        raise InputError(f"{where}: there are {len(images)} images but {len(labels)} labels")
    pixels = to_uint8(images, f"{where}: the array 'dataset'").reshape(len(images), PIXELS)
    indices, class_names = to_classes(labels, f"{where}: the array 'labels'")
    return Dataset(np.ascontiguousarray(pixels), indices, class_names, source, note)


def to_uint8(values: np.ndarray, where: str) -> np.ndarray:
    """Pixels of any accepted type as uint8, in the same shape; `values` holds at least one.

    Floats of which none is above 1 are taken to mean 0..1 and scaled to 0..255.
    Raises InputError, its sentence beginning with `where`, for other types and values.
    """
    kind = values.dtype.kind
    if kind not in "iuf":
        raise InputError(
            f"{where} has pixels of type {values.dtype}, but they must be integers 0 to 255 or floats 0 to 1"
        )
    if kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{where} has pixels that are NaN or infinite")
    low, high = values.min(), values.max()
    if low < 0 or high > 255:
        raise InputError(
            f"{where} has pixels from {low:g} to {high:g}, but they must lie in 0 to 255 (or floats 0 to 1)"
        )
    if kind == "f" and high <= 1:
        return np.rint(values * 255).astype(np.uint8)
    if kind == "f" and (values != np.floor(values)).any():
        raise InputError(
            f"{where} has fractional pixels up to {high:g}, but floats must lie in 0 to 1 or be whole numbers"
        )
    return values.astype(np.uint8)


def to_classes(labels: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels ``[N]`` as int64 indices ``[N]`` into class names, which come in natural order.

    Raises InputError for labels that name no classes (fractions, NaN, blanks, other types) and for one class only.
    """
    kind = labels.dtype.kind
    if kind not in "USiuf":
        raise InputError(f"{where} has labels of type {labels.dtype}, but they must be strings or whole numbers")
    if kind == "f" and not (np.isfinite(labels) & (labels == np.floor(labels))).all():
        raise InputError(f"{where} has labels that are NaN, infinite or fractions, but they must name classes")
    if kind == "U" and labels.dtype.itemsize and not _is_text(labels):
        raise InputError(f"{where} has labels that are no text, so that the file is damaged or was written wrongly")
    values, indices = np.unique(labels, return_inverse=True)
    try:
        names = [_class_name(value) for value in values]
    except UnicodeDecodeError as error:
        raise InputError(f"{where} has labels of bytes that are not UTF-8 text") from error
    if not all(name.strip() for name in names):
        raise InputError(f"{where} has blank labels, but each image needs the name of its class")
    if len(names) == 1:
        raise InputError(f"{where} has one class only ({listed(names)}), but a classifier needs two at least")
    class_names = sort_names(names)
    place = {name: index for index, name in enumerate(class_names)}
    to_sorted = np.array([place[name] for name in names], dtype=np.int64)
    return to_sorted[indices], tuple(class_names)


def _is_text(labels: np.ndarray) -> bool:
    """Whether strings ``[N]`` are of characters that there are: NumPy's are 32-bit numbers, which may be any."""
    codes = np.ascontiguousarray(labels).view(labels.dtype.byteorder.replace("|", "=") + "u4")
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any()


def _class_name(value: np.generic) -> str:
    if isinstance(value, np.bytes_):
        return value.decode()
    return str(value) if isinstance(value, np.str_) else str(int(value))
