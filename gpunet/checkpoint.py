"""A trained network in one safetensors file: its weights, and in the header what is needed to predict with it.

The tensors are weight1 ``[I, O]``, bias1 ``[O]``, weight2, ...: a layer computes ``x @ weight + bias``, PyTorch's
Linear keeps the transpose. The header is plain JSON, so that other programs can read both without gpunet.
"""

from __future__ import annotations

import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.atomic import write_whole
from gpunet.errors import InputError
from gpunet.network import MLP
from gpunet.parameters import ParameterLayout

FORMAT_VERSION = 1


@dataclass(frozen=True)
class SavedModel:
    """A network read from a file, and what the file says of it: classes, data, training."""

    network: MLP
    class_names: tuple[str, ...]
    metadata: dict[str, Any]


def save_model(path: str | os.PathLike, network: MLP, class_names: tuple[str, ...], **about: Any) -> None:
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
    tensors = {
        name: np.ascontiguousarray(network.ops.to_host(array)[0]) for name, array in network.named_parameters.items()
    }
    write_whole(Path(path), save(tensors, {"gpunet": json.dumps(metadata)}))


def load_model(path: str | os.PathLike, ops: Any = None) -> SavedModel:
    """Read a network that `save_model` wrote. Raises `InputError` for a missing, damaged or foreign file."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no model file {path}: give a run's folder or its model.safetensors")
    try:
        with safe_open(path, framework="numpy") as file:
            header = (file.metadata() or {}).get("gpunet")
            tensors = {name: file.get_tensor(name) for name in file.keys()} if header else {}
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        # The last two by tensors of a type that NumPy lacks, such as bfloat16.
        raise InputError(
            f"{path} is no readable safetensors file ({_first_line(error)}): train or copy it again"
        ) from error
    if header is None:
        raise InputError(f"{path} was not written by gpunet (its header has no 'gpunet' entry): give a gpunet model")
    return _rebuild(path, header, tensors, ops)


def _rebuild(path: Path, header: str, tensors: dict[str, np.ndarray], ops: Any) -> SavedModel:
    def damaged(what: str) -> InputError:
        return InputError(f"{path} is damaged ({what}): train or copy it again")

    unreadable = "its gpunet header cannot be read"
    try:
        metadata = json.loads(header)
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(unreadable) from error
    if version != FORMAT_VERSION:  # asked first: the rest of another format may be anything
        raise InputError(
            f"{path} has the format {version}, but this gpunet reads format {FORMAT_VERSION}: upgrade it or train again"
        )
    # The tensors' shapes are checked before a network is made: a header alone must not make anyone allocate memory.
    try:
        sizes, class_names = tuple(metadata["sizes"]), tuple(metadata["class_names"])
        activation, loss = metadata["activation"], metadata["loss"]
        expected = {}
        for index, layer in enumerate(ParameterLayout(sizes).layers, start=1):
            expected[f"weight{index}"], expected[f"bias{index}"] = (layer.inputs, layer.outputs), (layer.outputs,)
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
    for name, view in network.named_parameters.items():
        with np.errstate(over="ignore"):  # a float64 may be infinite in float32
            values = tensors[name].astype(network.parameters.dtype)
        if tensors[name].dtype.kind != "f" or not np.isfinite(values).all():
            raise damaged(f"{name} holds values that are no finite numbers")
        view[0] = network.ops.asarray(values)
    return SavedModel(network, class_names, metadata)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
