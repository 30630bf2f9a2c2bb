"""A sound file's bytes damaged, and a file's place taken by something else."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

HOLE = 64 << 30  # bytes that a sparse file claims to have, and the disk does not

STRANGE_NUMBERS = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
STRANGE_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**64,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a\nb",
    "\ud800",
    "\x00",
    "../" * 50,
    "x" * 100_000,
    [],
    {},
    [[]],
    [None],
    {"": {}},
    list(range(1000)),
)


def damaged(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes after one to four accidents. others: what may be spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(DAMAGES)(rng, content, others)
    return content


def _flip_bits(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 1, 8, 64)) if content else 0):
        flipped[_place(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _truncate(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _cut_out(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    start, length = _place(rng, content), rng.choice((1, 4, 64, 4096))
    return content[:start] + content[start + length :]


def _repeat(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    start, length = _place(rng, content), rng.choice((1, 4, 64, 4096))
    return content[: start + length] + content[start:]


def _overwrite(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    start, length = _place(rng, content), rng.choice((1, 4, 64))
    return content[:start] + bytes([rng.choice((0, 0xFF, 0x20, 0x5B))]) * length + content[start + length :]


def _put_number(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A length, a count or an offset that nobody expects: of 1 to 8 bytes, in either order."""
    start, size = _place(rng, content), rng.choice((1, 2, 4, 8))
    number = rng.choice(STRANGE_NUMBERS) & (1 << 8 * size) - 1
    return content[:start] + number.to_bytes(size, rng.choice(("little", "big"))) + content[start + size :]


def _splice(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _replace(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return rng.choice(others)


def _empty(rng: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return b""


DAMAGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip_bits,
    _flip_bits,
    _truncate,
    _cut_out,
    _repeat,
    _overwrite,
    _put_number,
    _put_number,
    _splice,
    _replace,
    _empty,
)


def _place(rng: Random, content: bytes) -> int:
    """Anywhere, and half of the time near the beginning or the end, where headers and directories are."""
    if not content:
        return 0
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randrange(min(len(content), 128))
    return len(content) - 1 - rng.randrange(min(len(content), 256)) if kind == 1 else rng.randrange(len(content))


# JSON


def damaged_json(rng: Random, content: bytes) -> bytes:
    """The document with one to three values replaced, removed or renamed: still JSON, but of another shape."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        document = _changed(rng, document)
    return json.dumps(document).encode()


def _changed(rng: Random, value: Any) -> Any:
    if not value or not isinstance(value, (dict, list)) or rng.random() < 0.1:
        return rng.choice(STRANGE_VALUES)
    changed = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(changed)) if isinstance(changed, dict) else rng.randrange(len(changed))
    if rng.random() < 0.15:
        del changed[key]
    elif isinstance(changed, dict) and rng.random() < 0.1:
        changed[rng.choice(("", "-1", "999999", "é"))] = changed.pop(key)
    else:
        changed[key] = _changed(rng, changed[key])
    return changed


def damaged_safetensors(rng: Random, content: bytes) -> bytes:
    """A safetensors file whose header says something else, and whose length of the header is right."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    inner = header.get("__metadata__", {})
    if "gpunet" in inner and rng.random() < 0.6:
        inner["gpunet"] = damaged_json(rng, inner["gpunet"].encode()).decode()
        changed = json.dumps(header).encode()
    else:
        changed = damaged_json(rng, json.dumps(header).encode())
    return struct.pack("<Q", len(changed)) + changed + content[8 + length :]


# Places


def occupy(rng: Random, path: Path) -> str:
    """Put something that is no sound file where one was, and say what."""
    path.unlink()
    name = rng.choice(tuple(PLACES))
    PLACES[name](path)
    return name


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(HOLE)


PLACES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "an empty file": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to its folder": lambda path: path.symlink_to("."),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a pipe that nobody writes": lambda path: os.mkfifo(path),
    "a hole of 64 GB": _sparse,
}
