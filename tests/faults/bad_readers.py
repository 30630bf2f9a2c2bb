"""Kinds of files whose readers do what no reader may: the fuzz test has to notice each."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

from fuzzing.crafted import Trap
from fuzzing.kinds import LOADED, Kind

from gpunet.errors import InputError

SOUND = pickle.dumps([1, 2, 3])


def _kind(marker: Path, read: Callable[[bytes], object]) -> Kind:
    planted = pickle.dumps(Trap(marker))

    def read_file(folder: Path, target: str) -> str:
        path = folder / target
        if path.is_file() and path.stat().st_size < 10**6:
            read(path.read_bytes())
        return LOADED

    return Kind({"file": SOUND}, ("file",), read_file, aware=(lambda rng, content: planted,))


def sound(scratch: Path, marker: Path) -> Kind:
    return _kind(marker, lambda content: None)


def unpickles(scratch: Path, marker: Path) -> Kind:
    def read(content: bytes) -> None:
        try:
            pickle.loads(content)
        except Exception:
            raise InputError("it is damaged") from None

    return _kind(marker, read)


def _on_damage(marker: Path, act: Callable[[], object]) -> Kind:
    return _kind(marker, lambda content: None if content == SOUND else act())


def raises(scratch: Path, marker: Path) -> Kind:
    return _on_damage(marker, lambda: {}["missing"])


def hangs(scratch: Path, marker: Path) -> Kind:
    return _on_damage(marker, lambda: time.sleep(60))


def dies(scratch: Path, marker: Path) -> Kind:
    return _on_damage(marker, lambda: os._exit(11))


def gorges(scratch: Path, marker: Path) -> Kind:
    return _on_damage(marker, lambda: bytearray(2**31))


def gorges_quietly(scratch: Path, marker: Path) -> Kind:
    def act() -> None:
        try:
            bytearray(2**31)
        except MemoryError as error:
            raise InputError("the file is damaged") from error

    return _on_damage(marker, act)


def chatters(scratch: Path, marker: Path) -> Kind:
    def act() -> None:
        raise InputError("word " * 1000)

    return _on_damage(marker, act)


def stammers(scratch: Path, marker: Path) -> Kind:
    def act() -> None:
        raise InputError("one line\nand another")

    return _on_damage(marker, act)
