"""Arrays in .npz and .npy files, read safely: nothing is unpickled and nothing huge is unpacked."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from gpunet.data.arrays import dataset_from_arrays
from gpunet.data.dataset import Dataset
from gpunet.data.naming import listed, quoted
from gpunet.errors import InputError

# What a file may unpack to. 5,000 images take 31 MB as float64, while a small archive can declare terabytes.
MAX_BYTES = 2 * 1024**3

# And in relation to itself: drawn hands are packed to a seventh, zeros to a thousandth.
MAX_BYTES_OF_SMALL_FILES = 128 * 1024**2
MAX_RATIO = 50

NPY = b"\x93NUMPY"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


def load_npz(path: str | Path) -> Dataset:
    """The data set in an .npz file: the arrays ``dataset`` and ``labels``, in the forms of dataset_from_arrays.

    Raises InputError, with a sentence that names the path, for a file or an array that cannot be used.
    """
    with NpzFile(path) as file:
        missing = [key for key in ("dataset", "labels") if key not in file.names]
        if missing:
            found = listed(file.names) or "none"
            raise InputError(f"{path} has no array {listed(missing)}; the arrays in it are {found}")
        images, labels = file.array("dataset"), file.array("labels")
    return dataset_from_arrays(
        images,
        labels,
        where=str(path),
        source=str(path),
        note="a file of the user's own; its licence is not known here",
    )


class NpzFile:
    """An .npz file, opened once: what is read of it is of one version, whatever is put in its place meanwhile.

    names: of the arrays in it. Raises InputError for a file that is missing, empty or no .npz file, and for one that
    would unpack to too much.
    """

    def __init__(self, path: str | Path) -> None:
        check_file(path)
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory of the archive raises many types
            raise InputError(f"{path} is not an .npz file, or it is damaged or truncated") from error
        try:
            self._check()
        except InputError:
            self._archive.close()
            raise
        self._members = {member.filename.removesuffix(".npy"): member for member in self._archive.infolist()}
        self.names = list(self._members)

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._archive.close()

    def array(self, name: str) -> np.ndarray:
        """One of the arrays. Raises InputError if it is damaged, pickled or something else."""
        member = self._members[name]
        try:
            with self._archive.open(member) as file:
                array = None
                if file.read(len(NPY)) == NPY:
                    file.seek(0)
                    array = _read_array(file, member.file_size)
                    if file.read(1):  # at the end the archive's checksum is compared
                        raise ValueError("more than the array")
        except Exception as error:  # zipfile, zlib and NumPy's header parser each raise types of their own
            raise unreadable(f"{self._path}: the array {quoted(name)}", error) from error
        if array is None:
            raise InputError(f"{self._path}: the member {quoted(name)} is not a NumPy array")
        return array

    def _check(self) -> None:
        members = self._archive.infolist()
        size = sum(member.file_size for member in members)
        most = min(MAX_BYTES, max(MAX_BYTES_OF_SMALL_FILES, MAX_RATIO * os.path.getsize(self._path)))
        if size > most:
            raise InputError(f"{self._path} would unpack to {size:,} bytes, but at most {most:,} are accepted")
        if not all(member.compress_type in METHODS for member in members):
            raise InputError(f"{self._path} is packed in a way that NumPy does not: save it again with numpy.savez")


def npy_array(path: str | Path) -> np.ndarray:
    """The array in an .npy file. Raises InputError if it is missing, too large, damaged, pickled or something else."""
    check_file(path)
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size:,} bytes, but at most {MAX_BYTES:,} are accepted")
    try:
        with open(path, "rb") as file:
            return _read_array(file, size)
    except Exception as error:
        raise unreadable(str(path), error) from error


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in an .npy file of that size. Raises ValueError if it says that it is a larger one, which NumPy would
    allocate first, and whatever NumPy raises."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read_header:  # the others are for structures of fields
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects")
    if min(shape, default=0) < 0 or max(1, dtype.itemsize) * math.prod(shape) > size:
        raise ValueError("more than there is")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def check_file(path: str | Path) -> None:
    """Raise InputError unless the path is a file with something in it."""
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder, but a file is needed")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty")


def unreadable(what: str, error: Exception) -> InputError:
    """Why something with an array in it cannot be read, from what NumPy raised."""
    # NumPy tells pickled arrays from damaged ones only in its message.
    if "pickle" in str(error) or "Python objects" in str(error):
        return InputError(
            f"{what} holds pickled Python objects, which are never loaded because they can run code; "
            "save plain numbers or strings instead"
        )
    return InputError(f"{what} cannot be read: it is damaged, truncated or not an array")
