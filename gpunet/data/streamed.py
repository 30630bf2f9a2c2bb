"""Images that stay in their .npy file: a data set larger than memory, of which each batch is read as it is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.files import check_file, unreadable
from gpunet.errors import InputError

ROWS_AT_A_TIME = 1024  # that the system is told of before they are read, so that a disk fetches many at once


class StreamedImages:
    """The images of an .npy file, read row by row: uint8 or float ``[N, I]``; ``[N, H, W]`` counts as ``[N, H * W]``.

    It stands in for the array wherever gpunet reads a data set on the CPU, with the same results bit for bit:

        train(network, StreamedImages("images.npy"), labels, ...)

    `images[i]` and `take` read rows; a slice or an array of rows gives another StreamedImages, which reads nothing yet
    and remembers which rows it has; `np.asarray(images)` reads them all. Rows are read, not mapped: the pages of a
    mapped file would count as this program's memory for as long as the system likes, and a file cut off meanwhile would
    end the program.

    Raises `InputError` for a file that is missing, damaged, or holds something else.
    """

    ndim = 2

    def __init__(self, path: str | Path) -> None:
        check_file(path)
        try:
            header = np.lib.format.open_memmap(path, mode="r")  # refuses a file that is shorter than its header says
        except Exception as error:  # NumPy's header parser raises types of its own
            raise unreadable(str(path), error) from error
        if header.dtype != np.uint8 and header.dtype.kind != "f":
            raise InputError(f"{path} has images of type {header.dtype}: save them as uint8 (0 to 255) or float32")
        if header.ndim not in (2, 3) or 0 in header.shape:
            raise InputError(f"{path} has shape {header.shape}, but images must be [N, I] or [N, height, width]")
        if not header.flags.c_contiguous:
            raise InputError(f"{path} is in Fortran order, its images interleaved: save np.ascontiguousarray of it")
        self.path, self.dtype = Path(path), header.dtype
        self._begin = header.offset
        self._inputs = int(np.prod(header.shape[1:]))
        self._rows: np.ndarray | None = None  # of the file; None: all of them
        self._count = len(header)
        # Without a buffer of Python's, which would be filled anew for each row; closed when the last reader is gone.
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115

    def __len__(self) -> int:
        return self._count if self._rows is None else len(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self._inputs

    @property
    def nbytes(self) -> int:
        """What the array would take in memory."""
        return len(self) * self._row_bytes

    def __getitem__(self, key: Any) -> Any:
        """One image ``[I]``, read, for a whole number; for a slice or an array of rows those, unread."""
        if isinstance(key, (int, np.integer)):
            return self.take(np.array([range(len(self))[key]]))[0]
        part = object.__new__(type(self))
        vars(part).update(vars(self))
        if self._rows is not None:
            part._rows = self._rows[key]
        elif isinstance(key, slice):
            part._rows = np.arange(*key.indices(self._count))
        else:
            part._rows = np.arange(self._count)[key]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("images in a file cannot become an array without being read")
        values = self.take(np.arange(len(self)))
        return values if dtype is None else values.astype(dtype, copy=False)

    def take(self, rows: Any, axis: int = 0, out: np.ndarray | None = None, mode: str = "clip") -> np.ndarray:
        """Read these rows, in their order, as `numpy.ndarray.take` would.

        rows: integers of any shape, 0 to N - 1. out: of the shape ``[*rows.shape, I]`` and the file's own type; what it
        has of each leading index lies in one piece. axis and mode: of no account, they are those of NumPy's method.
        Raises `InputError` if the file has become shorter or cannot be read any more.
        """
        rows = np.asarray(rows)
        if out is None:
            out = np.empty((*rows.shape, self._inputs), self.dtype)
        if rows.ndim > 1:
            for part, own in zip(rows, out, strict=True):
                self.take(part, out=own)
            return out
        rows = rows if self._rows is None else self._rows[rows]
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            self._read(rows[start : start + ROWS_AT_A_TIME], out[start : start + ROWS_AT_A_TIME])
        return out

    @property
    def _row_bytes(self) -> int:
        return self._inputs * self.dtype.itemsize

    def _read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Rows of the file into out ``[n, I]``, those that follow each other by one call."""
        breaks = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
        starts, stops = [0, *breaks], [*breaks, len(rows)]
        places = (self._begin + rows[starts].astype(np.int64) * self._row_bytes).tolist()
        into = memoryview(out.view(np.uint8)).cast("B")  # refuses what does not lie in one piece
        pieces = [into[start * self._row_bytes : stop * self._row_bytes] for start, stop in zip(starts, stops)]  # noqa: B905
        try:
            if len(pieces) > 1 and hasattr(os, "posix_fadvise"):  # of a single one the system reads ahead by itself
                for place, piece in zip(places, pieces):  # noqa: B905
                    os.posix_fadvise(self._file.fileno(), place, len(piece), os.POSIX_FADV_WILLNEED)
            for place, piece in zip(places, pieces):  # noqa: B905
                self._file.seek(place)
                if self._file.readinto(piece) != len(piece):
                    raise InputError(f"{self.path} has become shorter while it was read: nothing may write to it then")
        except OSError as error:
            raise InputError(f"{self.path} cannot be read any more ({error.strerror or error})") from error
