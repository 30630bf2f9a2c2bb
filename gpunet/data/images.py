"""One image file to 28 x 28 grey pixels; and whatever file a prediction is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpunet.data.arrays import to_uint8
from gpunet.data.dataset import IMAGE_SIDE, PIXELS
from gpunet.data.files import NpzFile, check_file, npy_array
from gpunet.data.naming import listed
from gpunet.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SIZE = (IMAGE_SIDE, IMAGE_SIDE)

# Of all formats that Pillow reads those that people keep pictures in. The others are many decoders that hardly anybody
# looks after, and one of them, EPS, is handed to an interpreter and run.
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "TGA", "ICO")

PIXELS_AT_A_TIME = 1 << 20  # of a large image on its way to grey, so that one that is safe to open is safe to convert


def read_image(path: str | Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    """An image file as uint8 ``[784]``, and the (width, height) that it was resized from, or None if it was 28 x 28.

    Of a format in `FORMATS`, if Pillow was built with it. The camera's orientation (EXIF) is honoured, transparent
    parts become black, colours grey; 16-bit and float pixels are brought to 0..255. Another size is fitted into 28 x
    28, its proportions kept, on black.
    Raises InputError, naming the file, if it is missing, unreadable or has more pixels than Pillow thinks safe.
    """
    from PIL import Image, ImageOps

    check_file(path)
    try:
        with warnings.catch_warnings():
            # Damaged metadata is of no interest here. Too many pixels is, and Pillow only warns up to twice its limit.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=readable_formats()) as opened:
                file_format = opened.format
                ImageOps.exif_transpose(opened, in_place=True)
                image = _to_grey(opened, file_format)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large: an image may have {Image.MAX_IMAGE_PIXELS:,} pixels at most") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise InputError(
            f"{path} cannot be read as an image: it is damaged, truncated or none of {', '.join(readable_formats())}"
        ) from error
    return _fit(image), None if image.size == SIZE else image.size


@cache
def readable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def read_images_for_prediction(path: str | Path) -> tuple[np.ndarray, list[str]]:
    """The images in an image, .npy or .npz file as uint8 ``[n, 784]``, and notes on what a person should know about it.

    Arrays may be ``[784]``, ``[784, 1]``, ``[28, 28]``, ``[n, 784]``, ``[n, 28, 28]``, or of another size, ``[h, w]``
    or ``[n, h, w]``, which is resized with a note. A two-dimensional array with 784 columns always means an image a
    row, never a picture 784 pixels wide. An .npz file gives its array ``dataset``, or the only one in it. Pixels may be
    what to_uint8 accepts.
    Raises InputError, naming the file, for anything else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz"):
        pixels, resized_from = read_image(path)
        return pixels[np.newaxis], [] if resized_from is None else [_resize_note(path, resized_from)]

    values = npy_array(path) if suffix == ".npy" else _npz_array_for_prediction(path)
    where = f"{path}: the array"
    pictures = to_uint8(_as_pictures(values, where), where)
    count, height, width = pictures.shape
    notes = []
    if values.shape == (PIXELS, PIXELS):
        notes.append(f"{path}: read as {PIXELS} images, one a row; for one picture of that size, save it as [1, h, w]")
    if (width, height) == SIZE:
        return np.ascontiguousarray(pictures).reshape(count, PIXELS), notes

    from PIL import Image

    notes.append(_resize_note(path, (width, height)))
    return np.stack([_fit(Image.fromarray(picture)) for picture in np.ascontiguousarray(pictures)]), notes


def _npz_array_for_prediction(path: Path) -> np.ndarray:
    with NpzFile(path) as file:
        if "dataset" in file.names:
            return file.array("dataset")
        if len(file.names) != 1:
            found = listed(file.names) or "none"
            raise InputError(f"{path} must hold an array 'dataset' or one array only; the arrays in it are {found}")
        return file.array(file.names[0])


def _as_pictures(values: np.ndarray, where: str) -> np.ndarray:
    """The same values as ``[n, h, w]``."""
    if values.size == 0:
        raise InputError(f"{where} of shape {values.shape} holds no pixels")
    if values.ndim == 3 and values.shape[2] in (3, 4) and min(values.shape[:2]) > 4:
        raise InputError(
            f"{where} of shape {values.shape} looks like a colour picture; save it as an image file or in grey"
        )
    if values.shape in ((PIXELS,), (PIXELS, 1)) or (values.ndim == 2 and values.shape[1] == PIXELS):
        return values.reshape(-1, *SIZE)
    if values.ndim == 2:
        return values[np.newaxis]
    if values.ndim == 3:
        return values
    raise InputError(
        f"{where} has shape {values.shape}, but images must be [{PIXELS}], [n, {PIXELS}], [h, w] or [n, h, w]"
    )


def _resize_note(path: Path, size: tuple[int, int]) -> str:
    return f"{path}: resized from {size[0]} x {size[1]} to {IMAGE_SIDE} x {IMAGE_SIDE}"


def _to_grey(image: Image.Image, file_format: str | None) -> Image.Image:
    """The image in Pillow's mode L: one byte a pixel."""
    if image.mode[0] in "IF":  # I;16, I;16B, I (32-bit integers), F (floats): convert("L") would only clip them at 255
        # A PNG or PGM file that Pillow opens as 32-bit integers held 16-bit ones.
        sixteen_bits = image.mode.startswith("I;16") or file_format in ("PNG", "PPM")
        low, high = (0, 65535) if sixteen_bits else _range(image)
        return _by_strips(image, lambda strip: _deep_to_grey(strip, sixteen_bits, low, high))
    if "A" in image.getbands() or "transparency" in image.info:
        return _by_strips(image, _on_black)
    # By way of RGB, because Pillow has no direct path to grey from every mode (CMYK, palettes, YCbCr).
    return image if image.mode == "L" else _by_strips(image, lambda strip: strip.convert("RGB").convert("L"))


def _by_strips(image: Image.Image, to_grey: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What to_grey makes of the image, a few rows at a time."""
    from PIL import Image

    width, height = image.size
    rows = max(1, PIXELS_AT_A_TIME // width)
    if rows >= height:
        return to_grey(image)
    grey = Image.new("L", image.size)
    for top in range(0, height, rows):
        grey.paste(to_grey(image.crop((0, top, width, min(top + rows, height)))), (0, top))
    return grey


def _on_black(image: Image.Image) -> Image.Image:
    from PIL import Image

    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB").convert("L")


def _deep_to_grey(image: Image.Image, sixteen_bits: bool, low: float, high: float) -> Image.Image:
    from PIL import Image

    return Image.fromarray(_deep_to_uint8(np.asarray(image, dtype=np.float64), sixteen_bits, low, high))


def _range(image: Image.Image) -> tuple[float, float]:
    """Its smallest and its largest value. Raises ValueError for one that is no number."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())  # NaN if any is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("pixels that are NaN or infinite")
    return low, high


def _deep_to_uint8(values: np.ndarray, sixteen_bits: bool, low: float, high: float) -> np.ndarray:
    """Grey values of more than 8 bits, float64 ``[h, w]``, as uint8: by the range of their type where that is known,
    else by that of the whole image, low to high."""
    if sixteen_bits:
        values = values / 257  # 65535 / 255
    elif low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        # 32-bit files say nothing about their range, so what is there becomes black to white.
        values = (values - low) * (255 / max(high - low, 1e-9))
    return np.rint(values).astype(np.uint8)


def _fit(image: Image.Image) -> np.ndarray:
    """A grey image of any size as uint8 ``[784]``: scaled to fit, centred on black."""
    from PIL import Image

    if image.size != SIZE:
        scale = IMAGE_SIDE / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        canvas = Image.new("L", SIZE)
        # Bilinear in Pillow averages over all source pixels when it shrinks, and never overshoots.
        small = image.resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(small, ((IMAGE_SIDE - width) // 2, (IMAGE_SIDE - height) // 2))
        image = canvas
    return np.array(image, dtype=np.uint8).reshape(PIXELS)
