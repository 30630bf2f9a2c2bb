"""Safetensors files, read whole: text and tensors of numbers, and never anything that could run."""

from __future__ import annotations

import json
import reprlib
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.errors import InputError
from gpunet.regular_file import read_regular

MAX_BYTES = 2 * 1024**3  # of a file; half a billion parameters
LONGEST_REASON = 200  # characters of what safetensors says, which quotes the file

# What the format calls them. BF16, the upper half of a float32, NumPy lacks.
NUMPY_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


class TensorFile(NamedTuple):
    """What is in a file. tensors: arrays by name, bfloat16 as float32. types: what the format calls each, such as
    "BF16". metadata: the header's own text."""

    tensors: dict[str, np.ndarray]
    types: dict[str, str]
    metadata: dict[str, str]


def read_tensor_file(path: Path) -> TensorFile:
    """Read a safetensors file.

    Nothing is allocated that the file only promises: its header is held against its length first. Raises `InputError`
    if it cannot be read, is damaged or none, or holds a type of number that is not in `NUMPY_TYPES`.
    """
    from safetensors import SafetensorError, deserialize

    try:
        content = read_regular(path, MAX_BYTES)
        found = deserialize(content)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is no readable safetensors file ({_first_line(error)}): copy or make it again"
        ) from error
    types = {name: tensor["dtype"] for name, tensor in found}
    tensors = {name: _array(path, name, tensor) for name, tensor in found}
    return TensorFile(tensors, types, _metadata(content))


def _array(path: Path, name: str, tensor: dict[str, Any]) -> np.ndarray:
    kind = tensor["dtype"]
    if kind not in NUMPY_TYPES:
        raise InputError(
            f"{path} holds {reprlib.repr(name)} in the type {kind}, which is not read: convert it to float32"
        )
    values = np.frombuffer(tensor["data"], NUMPY_TYPES[kind])
    if kind == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    try:
        return values.reshape(tensor["shape"])
    except (ValueError, OverflowError) as error:  # more dimensions than NumPy's, or an empty one beside a huge one
        raise InputError(
            f"{path} holds {reprlib.repr(name)} in a shape that no array has: copy or make it again"
        ) from error


def _metadata(content: bytes) -> dict[str, str]:
    """Of a file that `deserialize` has found sound: 8 bytes of length, then the header as JSON."""
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]).get("__metadata__") or {}


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."
