"""`gpunet import`: PyTorch's weights become a model that the other commands take."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from safetensors.numpy import load_file, save_file

from gpunet import load_model

IMAGES = images_and_labels(8, 10)[0]


@pytest.fixture
def state():
    """A state dict of 784-5-3, of the float type that is asked for, in weights.safetensors."""
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (5, 784), "0.bias": (5,), "3.weight": (3, 5), "3.bias": (3,)}
    state = {name: rng.uniform(-0.1, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(state, "weights.safetensors")
    return state


def test_import_makes_a_model_that_predicts(gpunet, state):
    outcome = gpunet(
        *("import", "weights.safetensors", "--activation", "tanh", "--class-names", "a, b,c"),
        *("--out", "new/model.safetensors"),
    )
    assert outcome == (0, "new/model.safetensors: 784-5-3 tanh, softmax_cross_entropy, classes a, b, c\n", "")
    model = load_model("new/model.safetensors")
    expected = np.tanh(IMAGES / 255 @ state["0.weight"].T + state["0.bias"]) @ state["3.weight"].T + state["3.bias"]
    np.testing.assert_allclose(model.network.logits(IMAGES), expected, rtol=1e-4, atol=1e-6)
    # Dropout's number is not kept: gpunet's own files have none.
    assert load_file("new/model.safetensors").keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    np.save("images.npy", IMAGES)
    names = "abc"[int(expected[0].argmax())]
    assert gpunet("predict", "new", "images.npy").out.startswith(f"images.npy[0]: {names} (")


def test_import_notes_what_it_converts(gpunet, state):
    save_file({name: values.astype(np.float16) for name, values in state.items()}, "weights.safetensors")
    outcome = gpunet("import", "weights.safetensors", "--activation", "relu", "--out", "model.safetensors")
    assert outcome.status == 0
    assert outcome.err == "gpunet import: note: weights.safetensors holds F16, which became float32\n"
    assert load_file("model.safetensors")["0.weight"].dtype == np.float32


def test_import_takes_normalization_along(gpunet, state):
    options = ("--activation", "relu", "--mean", "-0.5", "--std", "0.25")
    assert gpunet("import", "weights.safetensors", *options, "--out", "model.safetensors").status == 0
    x = (IMAGES / 255 + 0.5) / 0.25
    expected = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0) @ state["3.weight"].T + state["3.bias"]
    logits = load_model("model.safetensors").network.logits(IMAGES)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["weights.safetensors"], ["--out"]),
        (["weights.safetensors", "--out", "model.safetensors"], ["activation", "relu"]),
        (["weights.safetensors", "--activation", "gelu", "--out", "model.safetensors"], ["'gelu'"]),
        (["weights.safetensors", "--activation", "relu", "--out", "weights.safetensors"], ["already"]),
        (["weights.safetensors", "--activation", "relu", "--out", "model.pt"], [".safetensors", "model.pt"]),
        (["nothing.safetensors", "--activation", "relu", "--out", "model.safetensors"], ["no file nothing"]),
        (["model.pt", "--activation", "relu", "--out", "model.safetensors"], ["model.pt", "pickle", "save_file"]),
        (
            ["weights.safetensors", "--activation", "relu", "--class-names", "a,b", "--out", "model.safetensors"],
            ["3 classes"],
        ),
        (["weights.safetensors", "--activation", "relu", "--std", "0", "--out", "model.safetensors"], ["std"]),
        (["weights.safetensors", "--activation", "relu", "--std", "x", "--out", "model.safetensors"], ["--std"]),
    ],
    ids=str,
)
def test_import_refuses_what_cannot_be_used(refused, state, own_folder, options, words):
    (own_folder / "model.pt").write_bytes(b"PK\x03\x04")
    refused("import", *options, words=words)
    assert sorted(each.name for each in own_folder.iterdir()) == ["model.pt", "weights.safetensors"]
