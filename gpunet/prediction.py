"""What a saved network makes of images that nobody has labelled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpunet.checkpoint import SavedModel, load_model
from gpunet.data import IMAGE_SIDE, PIXELS
from gpunet.errors import InputError
from gpunet.network import probabilities

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Prediction:
    """The classes of one image, the likeliest first, and their probabilities (0..1), or None where the network was
    trained on the squared error and gives none."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...] | None

    @property
    def class_name(self) -> str:
        return self.classes[0]

    @property
    def probability(self) -> float | None:
        return None if self.probabilities is None else self.probabilities[0]


def load_digit_model(path: str | os.PathLike) -> SavedModel:
    """The network in a run's folder or in a model file, for images of 28 x 28 pixels.

    Raises `InputError` if there is none, if it is damaged or foreign, and if it takes other inputs.
    """
    path = Path(path)
    model = load_model(path / MODEL_FILE if path.is_dir() else path)
    inputs = model.network.sizes[0]
    if inputs != PIXELS:
        raise InputError(
            f"{path} was trained on {inputs} inputs, but images are read as {IMAGE_SIDE} x {IMAGE_SIDE} = {PIXELS} "
            "pixels: use its network in Python (gpunet.load_model)"
        )
    return model


def predict_images(model: SavedModel, images: np.ndarray) -> list[Prediction]:
    """One prediction an image. images: uint8 ``[n, 784]`` with n > 0.

    Raises `InputError` if the network's outputs are no finite numbers.
    """
    network = model.network
    logits = network.logits(images).astype(np.float64)
    if not np.isfinite(logits).all():
        raise InputError("the network's outputs are no finite numbers: its weights are damaged, so train it again")
    if network.loss == "squared_error":
        # The outputs themselves rank the classes; a single one stands for the second class from 1/2 on.
        scores = logits if logits.shape[1] > 1 else np.hstack([1 - logits, logits])
        shares = None
    else:
        scores = shares = probabilities(logits)
    order = np.argsort(-scores, axis=1, kind="stable")
    names = np.array(model.class_names, dtype=object)
    return [
        Prediction(tuple(names[best]), None if shares is None else tuple(shares[row, best].tolist()))
        for row, best in enumerate(order)
    ]
