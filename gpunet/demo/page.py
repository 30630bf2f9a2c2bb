"""The page put together: the frame, the style, the scripts, and as JSON the network and its examples."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import gpunet
from gpunet.atomic import write_whole
from gpunet.checkpoint import SavedModel
from gpunet.data import IMAGE_SIDE, PIXELS
from gpunet.demo.examples import Examples
from gpunet.errors import InputError
from gpunet.reporting.facts import DRAWN_WARNING, source_name
from gpunet.reporting.html import STYLE, e

SCRIPTS = ("network.js", "image.js", "page.js")
GENERATOR = '<meta name="generator" content="gpunet demo" />'  # in page.html: by it an earlier page is recognised
HEAD = 1000  # bytes of a page in which that stands


def write_demo_page(path: Path, page: str) -> None:
    """Write the page; it appears whole or not at all. An earlier demo page is replaced.

    Raises `InputError` if the place cannot be written or holds another file.
    """
    try:
        if path.exists() and not _is_demo_page(path):
            raise InputError(f"{path} is no page of gpunet demo and is not overwritten: name another with --out")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): name another with --out") from error


def _is_demo_page(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(HEAD)


def demo_page(model: SavedModel, examples: Examples | None = None) -> str:
    """The whole page. The network must take 784 inputs, images of 28 x 28 pixels. examples: to click on.

    The page forbids itself any connection, and any script and style but its own, by a content security policy.
    """
    style, script = STYLE + _file("page.css"), "\n".join(map(_file, SCRIPTS))
    contents = {
        "title": e(_title(model)),
        "facts": e(", ".join(_facts(model))),
        "warning": _warning(model),
        "version": e(gpunet.__version__),
        "style": style,
        "style_hash": content_hash(style),
        "script": script,
        "script_hash": content_hash(script),
        "model": _json(model, examples),
    }
    # In one pass, so that nothing that is put in is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: contents[place[1]], _file("page.html"))


def content_hash(text: str) -> str:
    """How a content security policy names a script or style that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def saved_network(model: SavedModel) -> dict[str, Any]:
    """What network.js calls a network, as JSON values: arrays as base64 of little-endian float32."""
    network = model.network
    return {
        "sizes": network.sizes,
        "activation": network.activation,
        "loss": network.loss,
        "classNames": model.class_names,
        "layers": [
            {"weight": _floats(network.ops.to_host(weight)[0]), "bias": _floats(network.ops.to_host(bias)[0])}
            for weight, bias in network.layers
        ],
    }


def _json(model: SavedModel, examples: Examples | None) -> str:
    if model.network.sizes[0] != PIXELS:
        raise ValueError(f"the page is for images of {IMAGE_SIDE} x {IMAGE_SIDE} pixels")
    pairs = [] if examples is None else zip(examples.images, examples.labels.tolist(), strict=True)
    document = saved_network(model) | {
        "examples": [{"pixels": _base64(pixels.tobytes()), "label": label} for pixels, label in pairs]
    }
    # A class may be called "</script>", and JSON is the same with its letters written as numbers.
    return json.dumps(document, allow_nan=False).replace("<", "\\u003c")


def _title(model: SavedModel) -> str:
    facts = model.metadata
    return f"{facts['task']} {facts['exp']}" if {"task", "exp"} <= facts.keys() else "A network to try"


def _facts(model: SavedModel) -> list[str]:
    network, about = model.network, model.metadata
    sizes = "-".join(map(str, network.sizes))
    facts = [
        sizes if len(network.sizes) == 2 else f"{sizes} {network.activation}",
        f"{network.layout.count:,} parameters",
    ]
    if isinstance(source := about.get("data_source"), str):
        facts.append(f"trained on {source_name(source)}")
    if isinstance(accuracy := about.get("test_accuracy"), float) and math.isfinite(accuracy):
        facts.append(f"{accuracy:.1%} of its test images read right")
    return facts


def _warning(model: SavedModel) -> str:
    if model.metadata.get("data_source") != "synthetic":
        return ""
    return f'<p class="warning"><strong>{e(DRAWN_WARNING)}</strong></p>'


def _floats(values: np.ndarray) -> str:
    return _base64(np.ascontiguousarray(values, dtype="<f4").tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _file(name: str) -> str:
    return files("gpunet.demo").joinpath(name).read_text(encoding="utf-8")
