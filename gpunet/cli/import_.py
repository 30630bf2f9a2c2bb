"""`gpunet import`: PyTorch's weights as a model. (A module cannot be called import.)"""

from __future__ import annotations

import argparse

from gpunet.cli.messages import note
from gpunet.cli.output_file import output_file, write_output
from gpunet.cli.parser import Parser, number


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=(
            "Make a model, for gpunet predict and export, of linear layers that PyTorch has trained.\n"
            "The file is a state dict: safetensors.torch.save_file(model.state_dict(), FILE). Layers are numbered, as\n"
            "in a torch.nn.Sequential; activations and dropout between them may count. Pickles are never opened."
        ),
        epilog=(
            "Networks are given pixels from 0 to 1. If this one was trained on normalized pixels, --mean and --std\n"
            "go into its first layer."
        ),
    )
    parser.add_argument("weights", metavar="FILE", help="a .safetensors file of weights and biases")
    parser.add_argument("--out", metavar="MODEL", required=True, help="the model to write, a .safetensors file")
    parser.add_argument(
        "--activation", help="of the hidden layers, which weights do not tell: relu, sigmoid, tanh or identity"
    )
    parser.add_argument(
        "--loss",
        help="softmax_cross_entropy (default), binary_cross_entropy (default for a single output) or squared_error: "
        "tells what the outputs mean",
    )
    parser.add_argument(
        "--mean",
        type=number,
        default=0.0,
        help="what was subtracted from its pixels (default: 0)",
    )
    parser.add_argument("--std", type=number, default=1.0, help="what they were then divided by (default: 1)")
    parser.add_argument(
        "--class-names", metavar="A,B,...", type=_names, help="names of the classes in their order (default: 0,1,...)"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    from gpunet.checkpoint import save_model
    from gpunet.exchange.from_torch import import_torch
    from gpunet.reporting.facts import clean

    out = output_file(arguments.out, ".safetensors")
    model = import_torch(
        arguments.weights,
        arguments.activation,
        loss=arguments.loss,
        class_names=arguments.class_names,
        mean=arguments.mean,
        std=arguments.std,
    )
    converted = [name for name in model.metadata["imported_types"] if name != "F32"]
    if converted:
        note(arguments.prog, f"{arguments.weights} holds {' and '.join(converted)}, which became float32")
    network = model.network
    write_output(out, lambda file: save_model(file, network, model.class_names, **model.about))
    layers = f"{'-'.join(map(str, network.sizes))} {network.activation if len(network.sizes) > 2 else ''}".rstrip()
    print(clean(f"{out}: {layers}, {network.loss}, classes {', '.join(model.class_names)}"))
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]
