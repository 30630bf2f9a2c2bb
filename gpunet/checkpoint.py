"""A trained network in one safetensors file: its weights, and in the header what is needed to predict with it.

The tensors have PyTorch's names and layout: "0.weight" ``[O, I]``, "0.bias" ``[O]``, "2.weight", ... (see
`gpunet.torch_layout`), so that torch.nn.Sequential loads them as they are. The header's entry "gpunet" is plain JSON,
so that other programs can read both without gpunet. Files of format 1 are read as well; they have gpunet's own layout:
weight1 ``[I, O]``, bias1 ``[O]``, weight2, ...
"""

from __future__ import annotations

import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet import torch_layout
from gpunet.atomic import write_whole
from gpunet.errors import InputError
from gpunet.network import MLP
from gpunet.parameters import ParameterLayout
from gpunet.tensor_file import read_tensor_file

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
ENTRIES = ("format", "format_version", "sizes", "activation", "loss", "class_names", "pixel_scale")  # of every header


@dataclass(frozen=True)
class SavedModel:
    """A network read from a file, and what the file says of it: classes, data, training."""

    network: MLP
    class_names: tuple[str, ...]
    metadata: dict[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the file says beyond the network and its classes, as `save_model` takes it: data source, experiment,
        ..."""
        return {name: fact for name, fact in self.metadata.items() if name not in ENTRIES}


def save_model(path: str | os.PathLike, network: MLP, class_names: tuple[str, ...], /, **about: Any) -> None:
    """Write a single network; the file appears whole or not at all.

    about: further facts for the header (data source, experiment, ...), as JSON values.
    """
    if not network.single:
        raise ValueError("a model file holds one network: pick one of the population")
    from safetensors.numpy import save

    metadata = {
        "format": "gpunet",
        "format_version": FORMAT_VERSION,
        "sizes": network.sizes,
        "activation": network.activation,
        "loss": network.loss,
        "class_names": class_names,
        "pixel_scale": "1/255",
        **about,
    }
    # A single entry: safetensors writes several in an order that differs from file to file.
    write_whole(Path(path), save(torch_layout.state_dict(network), {"gpunet": json.dumps(metadata)}))


def load_model(path: str | os.PathLike, ops: Any = None) -> SavedModel:
    """Read a network that `save_model` wrote. Raises `InputError` for a missing, damaged or foreign file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no model file {path}: give a run's folder or its model.safetensors")
    file = read_tensor_file(path)
    if "gpunet" not in file.metadata:
        raise InputError(
            f"{path} was not written by gpunet (its header has no 'gpunet' entry): give a gpunet model, or make one of "
            "PyTorch's weights with `gpunet import`"
        )
    return _rebuild(path, file.metadata["gpunet"], file.tensors, ops)


def _rebuild(path: Path, header: str, tensors: dict[str, np.ndarray], ops: Any) -> SavedModel:
    def damaged(what: str) -> InputError:
        return InputError(f"{path} is damaged ({what}): train or copy it again")

    unreadable = "its gpunet header cannot be read"
    try:
        metadata = json.loads(header)
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(unreadable) from error
    if version not in READABLE_VERSIONS:  # asked first: the rest of another format may be anything
        raise InputError(
            f"{path} has the format {reprlib.repr(version)}, but this gpunet reads formats 1 and 2: upgrade it or "
            "train again"
        )
    # The tensors' shapes are checked before a network is made: a header alone must not make anyone allocate memory.
    try:
        sizes, class_names = tuple(metadata["sizes"]), tuple(metadata["class_names"])
        activation, loss = metadata["activation"], metadata["loss"]
        expected = _expected_shapes(version, ParameterLayout(sizes))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(unreadable) from error
    if not expected or {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise damaged(f"its tensors do not fit the sizes {reprlib.repr(list(sizes))}")
    if len(class_names) != max(2, sizes[-1]) or not all(isinstance(name, str) for name in class_names):
        raise damaged("its class names do not fit its outputs")
    try:
        network = MLP(sizes, activation, loss=loss, ops=ops)
    except (InputError, TypeError) as error:
        raise damaged("its gpunet header describes no network") from error
    for layer, views in enumerate(network.layers):
        for name, view in zip(_names_of(version, layer), views, strict=True):
            with np.errstate(over="ignore"):  # a float64 may be infinite in float32
                values = tensors[name].astype(network.parameters.dtype)
            if tensors[name].dtype.kind != "f" or not np.isfinite(values).all():
                raise damaged(f"{name} holds values that are no finite numbers")
            view[0] = network.ops.asarray(values if version == 1 else np.ascontiguousarray(values.T))
    return SavedModel(network, class_names, metadata)


def _expected_shapes(version: int, layout: ParameterLayout) -> dict[str, tuple[int, ...]]:
    expected = {}
    for index, layer in enumerate(layout.layers):
        weight, bias = _names_of(version, index)
        expected[weight] = (layer.inputs, layer.outputs) if version == 1 else (layer.outputs, layer.inputs)
        expected[bias] = (layer.outputs,)
    return expected


def _names_of(version: int, layer: int) -> tuple[str, str]:
    """The names of a layer's weight and bias in a file of that format, the layers counted from 0."""
    return (f"weight{layer + 1}", f"bias{layer + 1}") if version == 1 else torch_layout.names_of(layer)
