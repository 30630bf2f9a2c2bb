"""A folder with one sub-folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gpunet.data.dataset import Dataset
from gpunet.data.images import read_image, readable_formats
from gpunet.data.naming import sort_names
from gpunet.errors import InputError


def load_folder(folder: str | Path) -> Dataset:
    """The data set in a folder: the names of its sub-folders are the classes, the images in them (read_image) the rows.

    Rows come by class, then by file name, in natural order. Hidden files are skipped, and so are files that by their
    extension are no images; the note says how many.
    Raises InputError for fewer than two classes, a class without images, and an image that cannot be read.
    """
    folder = Path(folder)
    try:
        class_names = _class_folders(folder)
        files = {name: _visible(folder / name, os.path.isfile) for name in class_names}
    except OSError as error:
        raise InputError(f"{folder} cannot be read as a folder of images ({error.strerror})") from error
    if len(class_names) < 2:
        raise InputError(
            f"{folder} needs one sub-folder of images for each class, and two classes at least, "
            f"but has {len(class_names)}"
        )

    extensions = _image_extensions()
    images, labels, skipped = [], [], 0
    for label, name in enumerate(class_names):
        readable = [file for file in files[name] if Path(file).suffix.lower() in extensions]
        if not readable:
            raise InputError(f"{folder / name} holds no images (files of other kinds: {len(files[name])})")
        images += [read_image(folder / name / file)[0] for file in readable]
        labels += [label] * len(readable)
        skipped += len(files[name]) - len(readable)
    note = "images of the user's own; their licence is not known here"
    if skipped:
        note += f"; files skipped because by their extension they are no images: {skipped}"
    return Dataset(np.stack(images), np.array(labels, dtype=np.int64), tuple(class_names), str(folder), note)


def _class_folders(folder: Path) -> list[str]:
    # A link back to the folder itself, or to one above it, is no class.
    above = [folder.resolve(), *folder.resolve().parents]
    return [name for name in _visible(folder, os.path.isdir) if (folder / name).resolve() not in above]


def _visible(folder: Path, is_wanted: Callable[[str], bool]) -> list[str]:
    """The names in a folder, in natural order, of what is wanted and not hidden."""
    hidden = (".", "__MACOSX")
    return sort_names(
        name for name in os.listdir(folder) if not name.startswith(hidden) and is_wanted(os.path.join(folder, name))
    )


def _image_extensions() -> set[str]:
    from PIL import Image

    formats = readable_formats()
    return {extension for extension, file_format in Image.registered_extensions().items() if file_format in formats}
