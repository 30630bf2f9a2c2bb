"""Arrays in .npz and .npy files, read safely: nothing is unpickled and nothing huge is unpacked."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from gpunet.data.arrays import dataset_from_arrays
from gpunet.data.dataset import Dataset
from gpunet.data.naming import listed
from gpunet.errors import InputError

# What a file may unpack to. 5,000 images take 31 MB as float64, while a small archive can declare terabytes.
MAX_BYTES = 2 * 1024**3


def load_npz(path: str | Path) -> Dataset:
    """The data set in an .npz file: the arrays ``dataset`` and ``labels``, in the forms of dataset_from_arrays.

    Raises InputError, with a sentence that names the path, for a file or an array that cannot be used.
    """
    names = npz_names(path)
    missing = [key for key in ("dataset", "labels") if key not in names]
    if missing:
        raise InputError(f"{path} has no array {listed(missing)}; the arrays in it are {listed(names) or 'none'}")
    images, labels = npz_array(path, "dataset"), npz_array(path, "labels")
    return dataset_from_arrays(
        images,
        labels,
        where=str(path),
        source=str(path),
        note="a file of the user's own; its licence is not known here",
    )


def npz_names(path: str | Path) -> list[str]:
    """The names of the arrays in an .npz file.

    Raises InputError for a file that is missing, empty or no .npz file, and for one that would unpack to too much.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # a damaged directory of the archive raises many types
        raise InputError(f"{path} is not an .npz file, or it is damaged or truncated") from error
    size = sum(member.file_size for member in members)
    if size > MAX_BYTES:
        raise InputError(f"{path} would unpack to {size:,} bytes, but at most {MAX_BYTES:,} are accepted")
    return [member.filename.removesuffix(".npy") for member in members]


def npz_array(path: str | Path, name: str) -> np.ndarray:
    """One array of an .npz file that npz_names has accepted. Raises InputError if it is damaged or pickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive[name]
    except Exception as error:  # zipfile, zlib and NumPy's header parser each raise types of their own
        raise _unreadable(f"{path}: the array {name!r}", error) from error
    if not isinstance(array, np.ndarray):  # NumPy hands out a member that is no array as bytes
        raise InputError(f"{path}: the member {name!r} is not a NumPy array")
    return array


def npy_array(path: str | Path) -> np.ndarray:
    """The array in an .npy file. Raises InputError if it is missing, too large, damaged, pickled or something else."""
    check_file(path)
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size:,} bytes, but at most {MAX_BYTES:,} are accepted")
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:
        raise _unreadable(str(path), error) from error


def check_file(path: str | Path) -> None:
    """Raise InputError unless the path is a file with something in it."""
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder, but a file is needed")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty")


def _unreadable(what: str, error: Exception) -> InputError:
    # NumPy tells pickled arrays from damaged ones only in its message.
    if "pickle" in str(error):
        return InputError(
            f"{what} holds pickled Python objects, which are never loaded because they can run code; "
            "save plain numbers or strings instead"
        )
    return InputError(f"{what} cannot be read: it is damaged, truncated or not an array")
