"""What a data set is: images, labels, the names of the classes, and where it all came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gpunet.errors import InputError

IMAGE_SIDE = 28
PIXELS = IMAGE_SIDE * IMAGE_SIDE
HASHED_AT_A_TIME = 4096  # images
RESERVED_NAMES = {"accuracy", "macro avg", "weighted avg"}  # scikit-learn's report has rows of these names


@dataclass(frozen=True)
class Dataset:
    """Labelled 28 x 28 grey images.

    images: uint8 ``[N, 784]``, row-major, 0 is black; from .npy files also float, 0..1, and either kind may lie in its
    file still (`StreamedImages`). labels: int64 ``[N]``, indices into class_names.
    source: what the user asked for ("signs", "synthetic", "mnist5k" or a path). note: licence and provenance,
    and for drawn images that they are drawn; shown in the console and written into every artifact.
    Raises `InputError` for class names that scikit-learn's classification report uses itself.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    note: str

    def __post_init__(self) -> None:
        taken = sorted(set(self.class_names) & RESERVED_NAMES)
        if taken:
            raise InputError(f"{self.source}: a class cannot be called {taken[0]!r}, which reports use: rename it")

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: np.ndarray, note: str | None = None) -> Dataset:
        """The data set of these rows, in their order."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], note=note or self.note)

    @property
    def is_streamed(self) -> bool:
        """Whether the images are in their file, to be read as they are needed."""
        return not isinstance(self.images, np.ndarray)

    def in_memory(self) -> Dataset:
        """The same data set with its images in memory, where they can be."""
        return replace(self, images=np.asarray(self.images))

    def grey(self, rows: np.ndarray | int) -> np.ndarray:
        """Images of these rows to look at: uint8 ``[..., 784]``, whatever type they have."""
        images = np.asarray(self.images[rows])
        return images if images.dtype == np.uint8 else np.rint(images * 255).astype(np.uint8)

    def sha256(self) -> str:
        """Hash of pixels, labels and class names: the same content gives the same hash, wherever it lay."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        digest.update(repr((self.images.shape, self.class_names)).encode())
        for start in range(0, len(self.images), HASHED_AT_A_TIME):
            digest.update(np.ascontiguousarray(self.images[start : start + HASHED_AT_A_TIME]))
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8"))
        return digest.hexdigest()
