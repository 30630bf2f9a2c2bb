"""Where fetched and drawn data sets are kept between runs."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gpunet.data.files import load_npz
from gpunet.errors import InputError

UNFINISHED = ".unfinished-"  # how the names of temporary folders begin
ABANDONED = 3600  # seconds after which a temporary folder is one of a process that was killed

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder that `GPUNET_DATA` names, else the user's cache folder for gpunet. It need not exist yet."""
    chosen = os.environ.get("GPUNET_DATA")
    if chosen:
        return Path(os.path.expanduser(chosen))
    try:
        from platformdirs import user_cache_dir
    except ImportError:  # nothing else needs it: then where it would be on Linux
        return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "gpunet"
    return Path(user_cache_dir("gpunet"))


def cached_arrays(name: str, make: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from the cached file `name`, or made, and then cached if the folder can be written.

    A cached file that is damaged is made again.
    """
    path = cache_folder() / name
    try:
        cached = load_npz(path)
        return cached.images, cached.labels
    except InputError:
        images, labels = make()
    try:
        _save_npz(path, images, labels)
    except OSError as error:
        logger.warning("%s cannot be written (%s), so it will be made again in the next run", path, error.strerror)
    return images, labels


def _save_npz(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write the file so that other processes see it complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in path.parent.glob(f"{UNFINISHED}*"):
        if time.time() - folder.stat().st_mtime > ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)
    # A temporary folder, because a temporary file would keep its private permissions, and caches are shared.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder:
        complete = Path(folder) / path.name
        np.savez_compressed(complete, dataset=images, labels=labels)
        os.replace(complete, path)
