"""`gpunet predict`: what a trained network sees in images."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from gpunet.cli.messages import fail, note
from gpunet.cli.parser import Parser
from gpunet.errors import InputError

if TYPE_CHECKING:
    from gpunet.prediction import Prediction

MOST_LIKELY = 3  # classes shown of each image


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=(
            "Print for each image the likeliest class, its probability, and the next two.\n"
            "Images of another size are fitted into 28 x 28 pixels. The networks know light hands on black."
        ),
        epilog="All files are read before anything is predicted; if one cannot be used, nothing is.",
    )
    parser.add_argument("model", metavar="RUN", help="folder of a run, or its model.safetensors")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image file (PNG, JPEG, ...), or .npy or .npz with one or more images",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document: a list with an object an image")
    return parser


def run(arguments: argparse.Namespace) -> int:
    from gpunet.data import read_images_for_prediction
    from gpunet.prediction import load_digit_model, predict_images
    from gpunet.reporting.facts import clean

    model = load_digit_model(arguments.model)
    files, notes, errors = [], [], []
    for path in arguments.images:
        try:
            images, remarks = read_images_for_prediction(path)
        except InputError as error:
            errors.append(error)
        else:
            files.append((path, images))
            notes += remarks
    if errors:
        return max(fail(arguments.prog, error) for error in errors)
    if model.metadata.get("data_source") == "synthetic":
        notes.append("this network was trained on drawn hands only: what it says of real ones is not to be relied on")
    if model.network.loss == "squared_error":
        notes.append("this network was trained on the squared error, which gives no probabilities")
    for remark in notes:
        note(arguments.prog, remark)

    predictions = [(path, predict_images(model, images)) for path, images in files]
    if arguments.json:
        documents = [_document(path, index, each) for path, group in predictions for index, each in enumerate(group)]
        print(json.dumps(documents, indent=2, allow_nan=False))
    else:
        for path, group in predictions:
            for index, each in enumerate(group):
                print(clean(f"{path if len(group) == 1 else f'{path}[{index}]'}: {_in_words(each)}"))
    return 0


def _document(path: str, index: int, prediction: Prediction) -> dict[str, Any]:
    """index: of the image in its file, from 0."""
    return {
        "file": path,
        "index": index,
        "class": prediction.class_name,
        "probability": prediction.probability,
        "top": [{"class": name, "probability": probability} for name, probability in _top(prediction)],
    }


def _in_words(prediction: Prediction) -> str:
    best, *others = [
        name if probability is None else f"{name} ({100 * probability:.1f} %)" for name, probability in _top(prediction)
    ]
    return f"{best}, then {', '.join(others)}"


def _top(prediction: Prediction) -> list[tuple[str, float | None]]:
    names = prediction.classes[:MOST_LIKELY]
    return list(zip(names, prediction.probabilities or (None,) * len(names), strict=False))
