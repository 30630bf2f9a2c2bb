"""A network of each kind that the page may be made of, and 100 images."""

from __future__ import annotations

from made_up import images_and_labels

from gpunet.checkpoint import SavedModel
from gpunet.network import MLP

# name -> (layer sizes, activation, loss)
KINDS = {
    "no hidden layer": ((784, 10), "relu", None),
    "one hidden layer": ((784, 64, 10), "relu", None),
    "two hidden layers, tanh": ((784, 12, 9, 10), "tanh", None),
    "three hidden layers, sigmoid": ((784, 8, 7, 6, 3), "sigmoid", None),
    "two outputs, identity": ((784, 5, 2), "identity", None),
    "binary": ((784, 10, 1), "sigmoid", None),
    "binary without hidden layer": ((784, 1), "relu", None),
    "squared error": ((784, 6, 4), "relu", "squared_error"),
    "squared error, one output": ((784, 5, 1), "tanh", "squared_error"),
}
IMAGES, _ = images_and_labels(100, classes=10)


def model(kind: str, class_names: tuple[str, ...] | None = None, **metadata) -> SavedModel:
    """An untrained network whose weights are large enough for it to be sure of some images."""
    sizes, activation, loss = KINDS[kind]
    network = MLP(sizes, activation, seed=1, loss=loss)
    for name, values in network.named_parameters.items():
        values *= 4 if name.startswith("weight") else 2
    return SavedModel(network, class_names or tuple(map(str, range(max(2, sizes[-1])))), metadata)
