"""Files made to do harm. Each function gives the bytes of one; those that are slow to make are made once."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

Crafted = Callable[[Random], bytes]


class Trap:
    """Unpickled, it makes a folder: the proof that somebody did."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


# Archives of arrays


def npz(compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    """An archive with these members, whatever they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def npy_header(descr: Any, shape: tuple[int, ...], fortran: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return file.getvalue()


LABELS = npy(np.array(list("0123456789") * 2))

SHAPES = ((20, 784), (10**15, 784), (-1, 784), (-20, -784), (2**62, 4), (0, 784), (20, 28, 28), (1,) * 60, (10**9,), ())
TYPES = ("|u1", "<f8", "|O", "|S0", "<U0", "<U99999999", "|V784", "<M8[s]", "<c16", "|b1", "<f2", ">i8")


def odd_array(rng: Random) -> bytes:
    """An .npy file whose header says anything, over a few bytes."""
    body = rng.choice((b"", bytes(15680), b"\xff" * 200_000, np.full(15680, np.nan).tobytes()))
    return npy_header(rng.choice(TYPES), rng.choice(SHAPES), rng.random() < 0.3) + body


def odd_archive(rng: Random) -> bytes:
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    dataset, labels = odd_array(rng), rng.choice((LABELS, odd_array(rng)))
    return npz(method, dataset=dataset, labels=labels)


def planted_arrays(marker: Path) -> tuple[Crafted, ...]:
    """Archives and arrays with a pickle in them."""
    objects = np.array([Trap(marker)] * 20, dtype=object)
    return (
        lambda rng: npz(dataset=npy(objects), labels=LABELS),
        lambda rng: npz(dataset=npy(np.zeros((20, 784), np.uint8)), labels=npy(objects)),
        lambda rng: npz(dataset=pickle.dumps(Trap(marker)), labels=LABELS),
        lambda rng: npy(objects),
        lambda rng: pickle.dumps(Trap(marker), rng.randrange(6)),
    )


@cache
def _zip_bomb(descr: str, rows: int) -> bytes:
    """Zeros, of which a thousand bytes take one."""
    size, block = rows * 784 * np.dtype(descr).itemsize, bytes(1 << 24)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("dataset.npy", "w") as member:
            member.write(npy_header(descr, (rows, 784)))
            for start in range(0, size, len(block)):
                member.write(block[: size - start])
        archive.writestr("labels.npy", npy((np.arange(rows) % 2).astype(np.uint8)))
    return file.getvalue()


def zip_bomb(rng: Random) -> bytes:
    """It unpacks to 1.3 GB, or to 0.3 GB that would be several times as much on the way to pixels."""
    return _zip_bomb(*rng.choice((("|u1", 1_700_000), ("<f2", 200_000))))


# Images


@cache
def _png(width: int, height: int, bits: int, colour: int) -> bytes:
    """A black one, whatever its size: colour 0 is grey, 2 RGB, 3 a palette, 6 RGBA."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1 + (width * channels * bits + 7) // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"PLTE", bytes(3)), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
        if name != b"PLTE" or colour == 3
    )


def picture_bomb(rng: Random) -> bytes:
    """Few bytes, many pixels: as many as Pillow takes to be safe, and some that it does not."""
    width, height = rng.choice(((9400, 9400), (89_000_000, 1), (1, 80_000_000), (20_000, 3000), (13_000, 13_000)))
    if max(width, height) > 10**6:  # a row each would take long to make
        return b"P5 %d %d 255\n" % (width, height) + bytes(1000)
    return _png(width, height, *rng.choice(((8, 0), (16, 0), (8, 6), (8, 3), (1, 0), (8, 2))))


def promising_picture(rng: Random) -> bytes:
    """A header of any size, and nothing behind it."""
    width, height = (rng.choice((0, 1, 28, 9000, 65535, 10**9, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    return rng.choice(
        (
            b"P5 %d %d 65535\n" % (width, height),
            b"P6 %d %d 255\n" % (width, height) + bytes(3000),
            b"Pf %d %d -1.0\n" % (width, height) + b"\x00\x00\xc0\x7f" * 784,
            b"GIF89a" + struct.pack("<HHBBB", width & 0xFFFF, height & 0xFFFF, 0x80, 0, 0) + bytes(200),
            b"BM" + struct.pack("<IIIIIIHHIIIIII", 99, 0, 54, 40, width, height, 1, 32, 0, 0, 0, 0, 0, 0) + bytes(500),
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 1) + bytes(99),
            b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 0xFFFF) + bytes(4000),
        )
    )


def planted_program(marker: Path) -> tuple[Crafted, ...]:
    """PostScript, which is a program: it would write a file if anybody handed it to an interpreter."""
    script = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n("
        + os.fsencode(marker)
        + b") (w) file closefile\nshowpage\n%%EOF\n"
    )
    return (
        lambda rng: script,
        lambda rng: b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(script)) + bytes(20) + script,
    )


# Text


def odd_json(rng: Random) -> bytes:
    return rng.choice(
        (
            b"[" * 200_000,
            b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            b"null",
            b"NaN",
            b"[]",
            b"{}",
            b'"' + b"x" * 1_000_000 + b'"',
            b"9" * 10_000,
            b"\xff\xfe" + "{}".encode("utf-16-le"),
            b"\xef\xbb\xbf{}",
            b'{"a": 1, "a": 2}',
            b"\x00" * 1000,
            b'"\\ud800"',
        )
    )


def odd_safetensors(rng: Random) -> bytes:
    """A length of the header, and a header, that do not fit what follows."""
    entry = {"dtype": rng.choice(("F32", "F64", "BF16", "F8_E4M3", "U8", "?")), "shape": rng.choice(_SHAPES)}
    entry["data_offsets"] = rng.choice(([0, 0], [0, 4], [4, 0], [0, 2**63], [-1, 3], [0, 10**30], []))
    deep = rng.choice(("1", "[" * 100_000, '{"gpunet":' * 50_000))
    header = rng.choice(
        (
            json.dumps({"0.weight": entry, "0.bias": entry}).encode(),
            json.dumps({"__metadata__": {"gpunet": deep}, "0.weight": entry}).encode(),
            b'{"__metadata__": ' + deep.encode(),
            b" " * 1_000_000 + b"{}",
            json.dumps({f"{index}.weight": entry for index in range(20_000)}).encode(),
        )
    )
    length = rng.choice((len(header), len(header), len(header), 0, 1, 10**8, 2**63, 2**64 - 1))
    return struct.pack("<Q", length) + header + bytes(rng.choice((0, 4, 4096)))


_SHAPES = ([], [0], [1], [2**32, 2**32], [-1], [1] * 70, [0, 2**62], [1.5], "x")


# Compiled kernels


def planted_kernels(marker: Path) -> tuple[Crafted, ...]:
    """What a kernel's file looks like, and is something else."""
    return (
        lambda rng: zlib.compress(pickle.dumps(Trap(marker), rng.randrange(6))),
        lambda rng: zlib.compress(pickle.dumps([Trap(marker)]))[: rng.randrange(10, 200)],
        lambda rng: zlib.compress(pickle.dumps(rng.choice((None, 1, "kernel", [], {})))),
        lambda rng: zlib.compress(b"\x80\x05" + bytes(rng.randrange(256) for _ in range(50))),
        lambda rng: _zlib_bomb(),
    )


@cache
def _zlib_bomb() -> bytes:
    """It unpacks to 4 GB."""
    packer, block = zlib.compressobj(1), bytes(1 << 24)
    return b"".join(packer.compress(block) for _ in range(256)) + packer.flush()
