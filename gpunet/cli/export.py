"""`gpunet export`: a trained network for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.cli.output_file import output_file, write_output
from gpunet.cli.parser import Parser
from gpunet.errors import InputError

if TYPE_CHECKING:
    from gpunet.checkpoint import SavedModel

ENDINGS = {"onnx": ".onnx", "torch": ".safetensors"}


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=(
            "Write a trained network as an ONNX model, or for PyTorch, and print how it is loaded.\n"
            "PyTorch loads a run's model.safetensors as it is; --format torch prints by which torch.nn.Sequential."
        ),
    )
    parser.add_argument("model", metavar="RUN", help="folder of a run, or its model.safetensors")
    parser.add_argument("--format", choices=ENDINGS, default="onnx", help="onnx (default) or torch")
    parser.add_argument(
        "--input",
        choices=("uint8", "float"),
        help="of an ONNX model: uint8 pixels, which it scales (default), or float32, of which 1 is the brightest",
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="have an ONNX model give probabilities in place of logits"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="what to write (default: RUN/model.onnx; for PyTorch nothing, where the run's own file loads)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    from gpunet.checkpoint import load_model
    from gpunet.prediction import MODEL_FILE

    path = Path(arguments.model)
    path = path / MODEL_FILE if path.is_dir() else path
    export = _to_torch if arguments.format == "torch" else _to_onnx
    print(export(arguments, path, load_model(path)))
    return 0


def _to_onnx(arguments: argparse.Namespace, path: Path, model: SavedModel) -> str:
    """Write it; returns what to say."""
    from gpunet.atomic import write_whole
    from gpunet.exchange.onnx_model import OPSET, make_onnx_model
    from gpunet.reporting.facts import clean

    out = output_file(arguments.out or path.with_suffix(".onnx"), ENDINGS["onnx"])
    inputs = arguments.input or "uint8"
    made = make_onnx_model(
        model.network, model.class_names, inputs=inputs, probabilities=arguments.probabilities, about=model.about
    )
    write_output(out, lambda file: write_whole(file, made.SerializeToString()))
    output, columns = made.graph.output[0].name, made.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    kind = {"uint8": "uint8", "float": "float32"}[inputs]
    return (
        f"{clean(str(out))}: ONNX, opset {OPSET}; images {kind} [n, {model.network.sizes[0]}] to {output} float32 "
        f"[n, {columns}]\n\n"
        "import onnxruntime\n\n"
        f"session = onnxruntime.InferenceSession({str(out)!r})\n"
        f'({output},) = session.run(None, {{"images": images}})'
    )


def _to_torch(arguments: argparse.Namespace, path: Path, model: SavedModel) -> str:
    """Write it, unless the model's own file will do; returns what to say."""
    from gpunet import torch_layout
    from gpunet.checkpoint import FORMAT_VERSION, save_model
    from gpunet.reporting.facts import clean

    if arguments.input or arguments.probabilities:
        raise InputError("--input and --probabilities are for --format onnx: PyTorch gets weights alone")
    if arguments.out is None and model.metadata["format_version"] == FORMAT_VERSION:
        out, said = path, f"{clean(str(path))} has PyTorch's names and layout already"
    else:
        out = output_file(arguments.out or path.with_name(f"{path.stem}-torch.safetensors"), ENDINGS["torch"])
        write_output(out, lambda file: save_model(file, model.network, model.class_names, **model.about))
        said = f"{clean(str(out))}: the weights in PyTorch's names and layout"
    network = model.network
    return (
        f"{said}\n\n"
        "import torch\n"
        "from safetensors.torch import load_file\n\n"
        f"model = {torch_layout.sequential(network.sizes, network.activation)}\n"
        f"model.load_state_dict(load_file({str(out)!r}))\n"
        f"logits = model(images / 255)  # images: uint8 [n, {network.sizes[0]}]"
    )
