"""Model files, read and rewritten as a person could, without gpunet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["gpunet"])


def as_format_1(path: Path) -> None:
    """Rewrite a model file as gpunet's first ones were: weight1 ``[I, O]``, bias1 ``[O]``, weight2, ..."""
    renamed = {
        f"{kind}{int(number) // 2 + 1}": np.ascontiguousarray(tensor.T)
        for name, tensor in load_file(path).items()
        for number, kind in [name.split(".")]
    }
    save_file(renamed, path, {"gpunet": json.dumps(header_of(path) | {"format_version": 1})})
