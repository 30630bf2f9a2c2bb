"""A network as an ONNX model, for runtimes that know nothing of gpunet.

    images uint8 [batch, I]    Cast, Mul by 1/255, then per layer Gemm and the activation    logits float32 [batch, O]
    images float32 [batch, I]  the same without the first two: pixels are 0 to 1 already

and, if probabilities are asked for, Softmax, of a single output z with a 0 in front of it: float32
``[batch, classes]``, as `MLP.predict_proba` gives them. Weights have PyTorch's names and layout; Gemm transposes them.
Opset 13 is what runtimes since 2020 read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gpunet
from gpunet import torch_layout
from gpunet.atomic import write_whole
from gpunet.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from gpunet.network import MLP

OPSET = 13
IR_VERSION = 7  # of the file, as it was with that opset
LARGEST = 2_000_000_000  # bytes of weights: a protobuf message ends at 2 GiB
INPUTS = ("uint8", "float")
OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}


def export_onnx(path: str | os.PathLike, network: MLP, class_names: Sequence[str], **options: Any) -> None:
    """Write a network as an ONNX file, which appears whole or not at all. options: those of
    `make_onnx_model`."""
    write_whole(Path(path), make_onnx_model(network, class_names, **options).SerializeToString())


def make_onnx_model(
    network: MLP,
    class_names: Sequence[str],
    *,
    inputs: str = "uint8",
    probabilities: bool = False,
    about: Mapping[str, Any] | None = None,
) -> ModelProto:
    """The ONNX model of a single network, shapes inferred and checked by onnx itself.

    inputs: "uint8" (pixels 0 to 255, scaled in the model) or "float" (taken as they are). probabilities: whether they
    are the output, in place of the logits. about: further facts for the model's metadata, as JSON values.
    Raises `InputError` if the package onnx is missing, the network gives no probabilities or is too large for a file.
    """
    if not network.single:
        raise ValueError("an ONNX model holds one network: pick one of the population")
    if inputs not in INPUTS:
        raise InputError(f"inputs {inputs!r} are not known: use one of {', '.join(INPUTS)}")
    if probabilities and network.loss == "squared_error":
        raise InputError("a network trained on the squared error gives no probabilities: export its logits")
    if 4 * network.layout.count > LARGEST:
        raise InputError(f"{network.layout.count:,} parameters are too many for an ONNX file, which ends at 2 GiB")
    onnx = _import_onnx()
    model = onnx.helper.make_model(
        _graph(network, class_names, inputs, probabilities),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gpunet",
        producer_version=gpunet.__version__,
        doc_string=_description(network, inputs, probabilities),
    )
    facts = {
        **(about or {}),
        "class_names": list(class_names),
        "sizes": network.sizes,
        "activation": network.activation,
        "loss": network.loss,
        "pixel_scale": "1/255, in the model" if inputs == "uint8" else "1/255, before the model",
    }
    onnx.helper.set_model_props(model, {_text(name): _text(fact) for name, fact in facts.items()})
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise InputError(f'an ONNX model needs the package onnx ({error}): pip install "gpunet[onnx]"') from error
    return onnx


def _graph(network: MLP, class_names: Sequence[str], inputs: str, probabilities: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        name: values.astype(np.float32, copy=False) for name, values in torch_layout.state_dict(network).items()
    }
    nodes, x = [], "images"
    if inputs == "uint8":
        constants["pixel_scale"] = np.array(1 / 255, np.float32)
        nodes += [_node("Cast", [x], "pixels", to=TensorProto.FLOAT), _node("Mul", ["pixels", "pixel_scale"], "x0")]
        x = "x0"
    for layer in range(len(network.layers)):
        last = layer == len(network.layers) - 1
        z = "logits" if last else f"z{layer + 1}"
        nodes.append(_node("Gemm", [x, *torch_layout.names_of(layer)], z, transB=1))
        if not last:
            x = f"x{layer + 1}"
            nodes.append(_node(OPERATORS[network.activation], [z], x))
    output, width = "logits", network.sizes[-1]
    if probabilities:
        nodes += _probability_nodes(width, constants)
        output, width = "probabilities", len(class_names)
    kind = TensorProto.UINT8 if inputs == "uint8" else TensorProto.FLOAT
    return helper.make_graph(
        nodes,
        "gpunet",
        [helper.make_tensor_value_info("images", kind, ["batch", network.sizes[0]])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )


def _probability_nodes(outputs: int, constants: dict[str, np.ndarray]) -> list[NodeProto]:
    """Of the logits, a column a class. The sigmoid of a single one is the softmax of 0 and it, which keeps the digits
    of both classes; onnxruntime's Sigmoid is 0 below -18."""
    if outputs > 1:
        return [_node("Softmax", ["logits"], "probabilities", axis=-1)]
    constants["zero_in_front"] = np.array([0, 1, 0, 0], np.int64)  # before rows, before columns, behind either
    return [
        _node("Pad", ["logits", "zero_in_front"], "both"),
        _node("Softmax", ["both"], "probabilities", axis=-1),
    ]


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    from onnx import helper

    return helper.make_node(operator, inputs, [output], name=f"{operator} {output}", **attributes)


def _text(fact: Any) -> str:
    """Text as it is, everything else as JSON; without the half characters that JSON may have held."""
    text = fact if isinstance(fact, str) else json.dumps(fact)
    return text.encode("utf-8", "replace").decode("utf-8")


def _description(network: MLP, inputs: str, probabilities: bool) -> str:
    given = "uint8, 0 to 255" if inputs == "uint8" else "float32, 0 to 1"
    got = "probabilities: float32 [batch, classes]" if probabilities else "logits: float32 [batch, outputs]"
    return f"A multilayer perceptron, {'-'.join(map(str, network.sizes))}. images: {given}; {got}."
