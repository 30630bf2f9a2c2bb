"""Disks that fail: full after so many bytes, or not to be written at all."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def full_after(count: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: the system's own refusal (EFBIG), in the midst of a write as ENOSPC is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be created, written, renamed or removed. Not by permissions, which root does not
    feel."""
    opened, os_opened, os_made, os_replaced, os_removed = builtins.open, os.open, os.mkdir, os.replace, os.unlink

    def refuse(path: object) -> None:
        # A temporary file of the system's has a number or lies elsewhere.
        if isinstance(path, (str, os.PathLike)) and Path(path).absolute().is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open_file(path, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            refuse(path)
        return opened(path, mode, *arguments, **options)

    def open_descriptor(path, flags, *arguments, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse(path)
        return os_opened(path, flags, *arguments, **options)

    def guarded(function):
        def call(path, *arguments, **options):
            refuse(path)
            return function(path, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(builtins, "open", open_file)
        patched.setattr(io, "open", open_file)
        patched.setattr(os, "open", open_descriptor)
        patched.setattr(os, "mkdir", guarded(os_made))
        patched.setattr(os, "replace", guarded(os_replaced))
        patched.setattr(os, "unlink", guarded(os_removed))
        yield


def contents(folder: Path) -> dict[str, bytes]:
    """{path within the folder: content} of all files, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
