"""What tells one run from another: a short hash of everything that decides its outcome."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

BLOCK = 16 << 20  # bytes: of arrays that are in a file yet, no more is read at a time
LENGTH = 16  # hexadecimal digits: nobody forges these, and two runs are seldom compared
PLAIN = (bool, int, float, str, type(None), np.generic)


def fingerprints(things: Mapping[str, Any]) -> dict[str, str]:
    """{name: hash} of arrays (their bytes, shape and type, whether in memory or read from a file by slices), numbers,
    strings, None, and sequences and dataclasses of these. Of any other object its type counts."""
    return {name: _fingerprint(thing) for name, thing in things.items()}


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """The names whose hashes differ or that one of the two lacks, in order."""
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def content_of(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, row-major, for a hash: uint8 ``[bytes]``."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _fingerprint(thing: Any) -> str:
    digest = hashlib.sha256()
    _add(digest, thing)
    return digest.hexdigest()[:LENGTH]


def _add(digest: Any, thing: Any) -> None:
    if isinstance(thing, PLAIN):
        digest.update(repr(thing.item() if isinstance(thing, np.generic) else thing).encode())
    elif hasattr(thing, "dtype") and hasattr(thing, "shape"):
        _add_array(digest, thing)
    elif is_dataclass(thing):
        digest.update(type(thing).__name__.encode())
        for field in fields(thing):
            digest.update(field.name.encode())
            _add(digest, getattr(thing, field.name))
    elif isinstance(thing, (list, tuple, range)):
        digest.update(f"{len(thing)} of ".encode())
        for each in thing:
            _add(digest, each)
            digest.update(b",")
    else:
        digest.update(type(thing).__qualname__.encode())


def _add_array(digest: Any, array: Any) -> None:
    dtype = np.dtype(array.dtype)
    digest.update(f"{dtype.str}{tuple(array.shape)}".encode())
    rows = max(1, BLOCK // max(1, dtype.itemsize * math.prod(array.shape[1:])))
    for start in range(0, array.shape[0] if array.shape else 0, rows):
        digest.update(content_of(array[start : start + rows]))
