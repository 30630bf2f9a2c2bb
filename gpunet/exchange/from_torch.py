"""PyTorch's weights as a network: a state dict of linear layers, saved as safetensors.

The names are those of a torch.nn.Sequential, "0.weight", "0.bias", "2.weight", ..., or of any module whose layers
are numbered: "net.0.weight", "fc1.weight", ... The numbers give the order and may leave gaps, as dropout and
activations do. Nothing is ever unpickled: a .pt file can run code of whoever made it.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpunet.checkpoint import SavedModel
from gpunet.errors import InputError
from gpunet.network import MLP
from gpunet.tensor_file import TensorFile, read_tensor_file

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")  # what torch.save's files are called
FLOATS = ("F64", "F32", "F16", "BF16")
NAME = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<number>[0-9]{1,6})\.(?P<kind>weight|bias)", re.DOTALL)


class Layer(NamedTuple):
    """One linear layer as PyTorch has it: its number, weight ``[O, I]`` and bias ``[O]``, float32."""

    name: str
    number: int
    weight: np.ndarray
    bias: np.ndarray


def import_torch(
    path: str | os.PathLike,
    activation: str | None = None,
    *,
    loss: str | None = None,
    class_names: Sequence[str] | None = None,
    mean: float = 0.0,
    std: float = 1.0,
) -> SavedModel:
    """A network with PyTorch's weights, which `save_model` can keep.

    path: a safetensors file of linear layers with biases, float32 (float64, float16 and bfloat16 are converted: the
    metadata's "imported_types" tells). activation: of the hidden layers, which weights do not tell; needed if there are
    any. loss: what the outputs mean, as `MLP` takes it. class_names: "0", "1", ... by default.
    mean, std: how the network's inputs were normalized, (pixel - mean) / std of pixels from 0 to 1, as torchvision's
    Normalize does; the first layer takes this over, because gpunet feeds it the pixels themselves.
    Raises `InputError` for anything that is not just that.
    """
    path = Path(path)
    file = _read(path)
    layers = _layers(path, file)
    _check_chain(path, layers)
    _check_activation(path, layers, activation)
    sizes = (layers[0].weight.shape[1], *(len(layer.bias) for layer in layers))
    class_names = _class_names(class_names, max(2, sizes[-1]))
    layers[0] = _taking_pixels(path, layers[0], mean, std)
    network = MLP(sizes, activation or "identity", loss=loss)
    for layer, (weight, bias) in zip(layers, network.layers, strict=True):
        weight[0], bias[0] = layer.weight.T, layer.bias
    return SavedModel(
        network, class_names, {"imported_from": path.name, "imported_types": sorted(set(file.types.values()))}
    )


def _read(path: Path) -> TensorFile:
    if not path.is_file():
        raise InputError(f"there is no file {path}: give a state dict of PyTorch's, saved as safetensors")
    pickled = InputError(
        f"{path} is a pickle, which could run any code and so is never opened: in PyTorch, save the weights by "
        f"safetensors.torch.save_file(model.state_dict(), {path.with_suffix('.safetensors').name!r})"
    )
    if path.suffix.lower() in PICKLES:
        raise pickled
    try:
        file = read_tensor_file(path)
    except InputError:
        if _looks_pickled(path):
            raise pickled from None
        raise
    if "gpunet" in file.metadata:
        raise InputError(f"{path} is a model of gpunet's already: use it as it is")
    return file


def _looks_pickled(path: Path) -> bool:
    """Whether a file, which is no safetensors file, begins as torch.save's do: they are zip archives, or were
    pickles."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith((b"PK\x03\x04", b"\x80"))
    except OSError:
        return False


def _layers(path: Path, file: TensorFile) -> list[Layer]:
    """In the order of their numbers, every tensor of the file in one of them."""
    found: dict[str, dict[str, np.ndarray]] = {}
    numbers, prefixes = {}, set()
    for name, values in file.tensors.items():
        match = NAME.fullmatch(name)
        if match is None:
            raise InputError(
                f"{path} holds {_short(name)}, but only numbered linear layers can be imported, such as '0.weight' and "
                "'0.bias': rename them, or leave out what is no linear layer"
            )
        layer = name.rpartition(".")[0]
        numbers[layer] = int(match["number"])
        prefixes.add(match["prefix"])
        found.setdefault(layer, {})[match["kind"]] = _float32(path, name, file.types[name], values)
    if not found:
        raise InputError(f"{path} holds no tensors: save the state dict of a trained model")
    if len(prefixes) > 1 or len(set(numbers.values())) < len(numbers):
        raise InputError(
            f"the layers in {path} ({_short(sorted(found))}) are not numbered in one row, so that their order is not "
            "known: rename them as a torch.nn.Sequential does ('0.weight', '2.weight', ...)"
        )
    return [_layer(path, name, numbers[name], found[name]) for name in sorted(found, key=numbers.__getitem__)]


def _layer(path: Path, name: str, number: int, tensors: dict[str, np.ndarray]) -> Layer:
    for kind, dimensions in (("weight", 2), ("bias", 1)):
        full_name = f"{name}.{kind}"
        if kind not in tensors:
            other = "weight" if kind == "bias" else "bias"
            zeros = ": add one of zeros" if kind == "bias" else ""
            raise InputError(f"{path} holds {_short(f'{name}.{other}')} but no {_short(full_name)}{zeros}")
        shape = tensors[kind].shape
        if len(shape) != dimensions or 0 in shape:
            raise InputError(
                f"{_short(full_name)} in {path} has the shape {_short(list(shape))}, but a linear layer's {kind} is "
                f"{'[outputs, inputs]' if kind == 'weight' else '[outputs]'}: only linear layers can be imported"
            )
    weight, bias = tensors["weight"], tensors["bias"]
    if len(weight) != len(bias):
        raise InputError(
            f"{_short(name)} in {path} has a weight {list(weight.shape)} and a bias {list(bias.shape)}, which do not "
            "fit each other: save the model again"
        )
    return Layer(name, number, weight, bias)


def _float32(path: Path, name: str, kind: str, values: np.ndarray) -> np.ndarray:
    if kind not in FLOATS:
        raise InputError(f"{_short(name)} in {path} is of the type {kind}: convert it to float32")
    with np.errstate(over="ignore"):  # a float64 may be infinite in float32
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{_short(name)} in {path} holds values that are no finite numbers: train the model again")
    return values


def _taking_pixels(path: Path, first: Layer, mean: float, std: float) -> Layer:
    """The layer that makes of pixels x what `first` makes of (x - mean) / std."""
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise InputError(f"mean must be a number and std a positive one, not {mean} and {std}")
    if (mean, std) == (0, 1):
        return first
    with np.errstate(over="ignore", invalid="ignore"):  # of a tiny std: refused below
        weight = first.weight.astype(np.float64) / std
        bias = first.bias - mean * weight.sum(axis=1)
    kinds = {"weight": weight, "bias": bias}
    return first._replace(
        **{kind: _float32(path, f"{first.name}.{kind}", "F64", values) for kind, values in kinds.items()}
    )


def _check_chain(path: Path, layers: Sequence[Layer]) -> None:
    for before, after in pairwise(layers):
        outputs, inputs = len(before.bias), after.weight.shape[1]
        if inputs != outputs:
            raise InputError(
                f"{_short(before.name)} in {path} has {outputs} outputs, but {_short(after.name)}, which follows it, "
                f"{inputs} inputs: only layers that follow each other can be imported"
            )


def _check_activation(path: Path, layers: Sequence[Layer], activation: str | None) -> None:
    if activation is None and len(layers) > 1:
        raise InputError(
            f"the weights in {path} do not tell the activation between its {len(layers)} layers: name it (relu, "
            "sigmoid, tanh or identity)"
        )
    for before, after in pairwise(layers):
        # In a bare Sequential everything has a number, so that nothing lies between two that follow each other.
        if before.name.isdecimal() and after.number == before.number + 1 and activation != "identity":
            raise InputError(
                f"{before.name!r} and {after.name!r} in {path} follow each other without an activation: only identity "
                f"fits, not {activation}"
            )


def _class_names(names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    if names is None:
        return tuple(map(str, range(classes)))
    if len(names) != classes or not all(names) or len(set(names)) < classes:
        raise InputError(f"the outputs stand for {classes} classes: give as many different names, not {_short(names)}")
    return tuple(names)


def _short(value: object) -> str:
    """What a file or a person may have made long, in a sentence."""
    return reprlib.repr(value)
