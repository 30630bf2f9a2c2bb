"""The reports' own file of sign digits: fetched once from Google Drive, checked, then cached.

Google Drive may be slow, may refuse a popular file, or may not be there at all, and gdown then blocks, raises or hands
over a web page. So the download runs in a thread and a folder of its own and is watched: as long as something arrives
it may go on, and when nothing does it is left behind. Only a file that has been read and checked enters the cache.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gpunet.data.cache import cache_folder
from gpunet.data.dataset import Dataset
from gpunet.data.files import load_npz
from gpunet.errors import InputError

DRIVE_ID = "1-0fhqH8tXKPb60C_b4aUHT7f-J4O6Ezq"
FILE_NAME = "dataset_labels.npz"
NOTE = (
    "the course reports' own file: 5,000 segmented images of hands signing 0 to 9 "
    f"(Google Drive {DRIVE_ID}); its licence is not stated"
)

ATTEMPTS = 3
FIRST_PAUSE = 0.5  # seconds between the first two attempts; doubled after each
POLL = 0.05  # seconds between two looks at a download
DOWNLOAD_PREFIX = "signs-download-"  # of the temporary folders that downloads go to


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: in all while nothing arrives, and in all."""

    silence: float
    total: float


# `auto` promises an answer within 10 s where there is no connection; what is left of them is for the pauses.
# Who asks for `signs` by name has nothing to fall back to and waits longer.
AUTO = Patience(silence=8, total=600)
EXPLICIT = Patience(silence=60, total=1800)


class SignsUnavailable(InputError):
    """The file is not cached and cannot be fetched. reason: why, in words that repeat from run to run."""

    def __init__(self, reason: str):
        super().__init__(
            f"the reports' file of sign digits cannot be had because {reason}; "
            "name a local copy (--data dataset_labels.npz) or train on drawn hands (--data synthetic)"
        )
        self.reason = reason


def load_signs(patience: Patience = EXPLICIT) -> Dataset:
    """The reports' data set, from the cache or else from Google Drive.

    Two processes at once download it once. Raises SignsUnavailable, at the latest when patience ends.
    """
    path = cached_path()
    cached = _read_if_complete(path)
    if cached is not None:
        return cached
    if os.environ.get("GPUNET_OFFLINE", "0") not in ("", "0"):
        raise SignsUnavailable("it is not cached and GPUNET_OFFLINE forbids the download")
    missing = [name for name in ("gdown", "filelock") if _is_missing(name)]
    if missing:
        raise SignsUnavailable(f"it is not cached and the download needs what is not installed: {', '.join(missing)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        watch = _Watch(path.parent, patience)
        with _locked(path.with_suffix(".lock"), watch):
            # Another process may have fetched it while this one waited.
            return _read_if_complete(path) or _fetch(path, watch)
    except OSError as error:
        raise SignsUnavailable(
            f"the cache folder {path.parent} cannot be written ({error.strerror}), but GPUNET_DATA can name another"
        ) from error


def _is_missing(module: str) -> bool:
    """Whether it cannot be imported, found out without doing so, since gdown alone takes half a second."""
    return sys.modules[module] is None if module in sys.modules else find_spec(module) is None


def cached_path() -> Path:
    """Where the file lies once it has been fetched."""
    return cache_folder() / FILE_NAME


def _read_if_complete(path: Path) -> Dataset | None:
    """The data set in the file, or None if the file is missing, damaged or another one."""
    try:
        dataset = load_npz(path)
    except InputError:
        return None
    digits = tuple("0123456789")
    if dataset.class_names != digits or np.bincount(dataset.labels).tolist() != [500] * 10:
        return None
    return replace(dataset, source="signs", note=NOTE)


def _fetch(path: Path, watch: _Watch) -> Dataset:
    """Download into the cache, in a few attempts. The caller holds the lock."""
    for left_over in path.parent.glob(f"{DOWNLOAD_PREFIX}*"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt > 0:
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        # The folder is removed even under a download left behind, which then fails quietly in its own thread.
        with _download_folder(path.parent) as folder:
            download = _Download(folder / FILE_NAME)
            download.start()
            while download.is_alive():
                download.join(POLL)
                verdict = watch.verdict()
                if verdict and download.is_alive():
                    raise SignsUnavailable(verdict)
            dataset = _read_if_complete(download.output)
            if dataset is not None:
                if path.exists():  # a damaged file, or somebody's own: not ours to delete
                    os.replace(path, path.with_name(path.name + ".damaged"))
                os.replace(download.output, path)
                return dataset
            reason = download.why_not()
        if watch.verdict():
            break
    raise SignsUnavailable(reason) from download.error


class _Download(threading.Thread):
    """gdown in a thread that may hang (in a name look-up, for example) without keeping the process from ending."""

    def __init__(self, output: Path):
        super().__init__(daemon=True, name="gpunet-download")
        self.output = output
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            import gdown

            gdown.download(id=DRIVE_ID, output=str(self.output), quiet=True)
        except Exception as error:  # noqa: BLE001 (whatever it is, why_not tells it, and no traceback on the terminal)
            self.error = error

    def why_not(self) -> str:
        """Why there is no data set, when the thread has ended and there is none."""
        if type(self.error).__name__ == "FileURLRetrievalError":
            return "Google Drive refuses the file at present, as it does when many people ask for it"
        if self.error is not None:
            return f"the download failed ({type(self.error).__name__})"
        if _begins_like_html(self.output):
            return "Google Drive sent a web page instead of the file, as it does when many people ask for it"
        return "what Google Drive sent is not the reports' file"


def _begins_like_html(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip().startswith(b"<")
    except OSError:
        return False


class _Watch:
    """Sees whether any process's download into the cache folder moves, and when patience ends."""

    def __init__(self, folder: Path, patience: Patience):
        self._folder = folder
        self._patience = patience
        self._arrived = self._look()
        self._started = self._moved = time.monotonic()

    def verdict(self) -> str:
        """Why it is time to give up, or an empty string while it is not."""
        now = time.monotonic()
        arrived = self._look()
        if arrived != self._arrived:
            self._arrived, self._moved = arrived, now
        if now - self._moved > self._patience.silence:
            return f"nothing arrived from Google Drive for {self._patience.silence:g} seconds"
        if now - self._started > self._patience.total:
            return f"the download has not ended after {self._patience.total:g} seconds"
        return ""

    def _look(self) -> list[tuple[str, int]]:
        # gdown creates a file when Google Drive answers and lets it grow from then on.
        found = []
        for path in self._folder.glob(f"{DOWNLOAD_PREFIX}*/*"):
            try:
                found.append((path.name, path.stat().st_size))
            except OSError:  # renamed or removed in the meantime
                continue
        return sorted(found)


@contextmanager
def _download_folder(cache: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=DOWNLOAD_PREFIX, dir=cache, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _locked(path: Path, watch: _Watch) -> Iterator[None]:
    """Hold the lock file; wait for whoever holds it as long as their download moves."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL)
        except Timeout:
            verdict = watch.verdict()
            if verdict:
                raise SignsUnavailable(f"another process is fetching it and {verdict}") from None
    try:
        yield
    finally:
        lock.release()
