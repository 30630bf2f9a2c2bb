"""gpunet predict: classes of images, and what is said about files that cannot be used."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from made_up import images_and_labels
from PIL import Image

from gpunet.checkpoint import save_model
from gpunet.network import MLP

IMAGES, LABELS = images_and_labels(200, classes=10)  # those of the fixture `digits`
SEVEN = IMAGES[LABELS == 7][0]


def picture(name="seven.png", side=28):
    """An image file of a 7."""
    Image.fromarray(SEVEN.reshape(28, 28)).resize((side, side), Image.Resampling.NEAREST).save(name)
    return name


def test_predict_prints_class_probability_and_the_next_two(gpunet, trained):
    outcome = gpunet("predict", trained, picture())
    assert outcome.status == 0 and outcome.err == ""
    assert outcome.out.startswith("seven.png: 7 (") and outcome.out.count("%") == 3


def test_predict_takes_the_model_file_as_well(gpunet, trained):
    picture()
    assert gpunet("predict", trained / "model.safetensors", "seven.png") == gpunet("predict", trained, "seven.png")


def test_predict_numbers_the_images_of_a_file(gpunet, trained):
    np.save("two.npy", np.stack([SEVEN, SEVEN]))
    lines = gpunet("predict", trained, "two.npy", picture()).out.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["two.npy[0]: 7", "two.npy[1]: 7", "seven.png: 7"]


def test_predict_json_is_one_strict_document(gpunet, trained):
    np.savez("all.npz", dataset=IMAGES)
    outcome = gpunet("predict", "--json", trained, "all.npz", picture(side=56))
    assert "resized from 56 x 56" in outcome.err

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    documents = json.loads(outcome.out, parse_constant=refuse)
    assert [(each["file"], each["index"]) for each in documents] == [("all.npz", i) for i in range(200)] + [
        ("seven.png", 0)
    ]
    right = [each["class"] == str(label) for each, label in zip(documents, [*LABELS, 7], strict=True)]
    assert np.mean(right) > 0.9
    for each in documents:
        probabilities = [top["probability"] for top in each["top"]]
        assert len(probabilities) == 3 and probabilities == sorted(probabilities, reverse=True)
        assert each["top"][0] == {"class": each["class"], "probability": each["probability"]}
        assert 0 < sum(probabilities) <= 1 + 1e-12


def test_predict_resizes_an_image_of_another_size_with_a_note(gpunet, trained):
    outcome = gpunet("predict", trained, picture(side=84))
    assert outcome.status == 0
    assert outcome.out.startswith("seven.png: 7 (")
    assert outcome.err == "gpunet predict: note: seven.png: resized from 84 x 84 to 28 x 28\n"


def test_predict_with_two_classes(gpunet):
    save_model("binary.safetensors", MLP((784, 1), seed=1), ("cat", "dog"))
    outcome = gpunet("predict", "binary.safetensors", picture())
    assert outcome.status == 0
    assert {"cat", "dog"} <= set(outcome.out.replace("(", " ").split()) and outcome.out.count("%") == 2


def test_predict_says_that_a_network_knows_drawn_hands_only(gpunet):
    save_model("drawn.safetensors", MLP((784, 2)), ("a", "b"), data_source="synthetic")
    outcome = gpunet("predict", "drawn.safetensors", picture())
    assert outcome.status == 0 and "note: this network was trained on drawn hands only" in outcome.err


@pytest.mark.parametrize(("outputs", "names"), [(3, ("a", "b", "c")), (1, ("a", "b"))])
def test_predict_without_probabilities_ranks_by_the_outputs(gpunet, outputs, names):
    """A network of the squared error, whose outputs its biases alone decide."""
    network = MLP((784, outputs), loss="squared_error")
    network.parameters[:] = 0
    network.named_parameters["bias1"][0] = [0.1, 0.9, 0.5][:outputs] if outputs > 1 else [0.7]
    save_model("squared.safetensors", network, names)
    outcome = gpunet("predict", "--json", "squared.safetensors", picture())
    assert "gives no probabilities" in outcome.err
    (document,) = json.loads(outcome.out)
    assert document["class"] == "b" and document["probability"] is None
    assert [top["class"] for top in document["top"]] == (["b", "c", "a"] if outputs > 1 else ["b", "a"])
    assert gpunet("predict", "squared.safetensors", "seven.png").out.startswith("seven.png: b, then ")


def test_predict_names_every_unusable_file_before_it_predicts_any(gpunet, trained):
    picture()
    with open("broken.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\nnot really")
    outcome = gpunet("predict", trained, "seven.png", "broken.png", "missing.png")
    assert outcome.status == 2 and outcome.out == ""
    lines = outcome.err.splitlines()
    assert len(lines) == 2 and "broken.png" in lines[0] and "missing.png" in lines[1]


def huge_image(path):
    Image.new("1", (20_000, 20_000)).save(path)


UNUSABLE = {
    "missing.png": lambda path: None,
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("no picture"),
    "truncated.png": lambda path: (
        Image.effect_noise((200, 200), 90).save(path),
        path.write_bytes(path.read_bytes()[:900]),
    ),
    "huge.png": huge_image,
    "pickled.npy": lambda path: np.save(path, np.array([{"a": 1}], dtype=object)),
    "pickle.npz": lambda path: path.write_bytes(pickle.dumps([1, 2, 3])),
    "nan.npy": lambda path: np.save(path, np.full((28, 28), np.nan)),
    "range.npy": lambda path: np.save(path, np.full((28, 28), 1000)),
    "words.npy": lambda path: np.save(path, np.full((28, 28), "word")),
    "shape.npy": lambda path: np.save(path, np.zeros((1, 2, 3, 4))),
    "nothing.npy": lambda path: np.save(path, np.zeros((0, 784))),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_predict_refuses_unusable_images(refused, trained, own_folder, name):
    UNUSABLE[name](own_folder / name)
    assert refused("predict", trained, name, words=[name]).out == ""


def damaged_model(path, trained):
    content = bytearray((trained / "model.safetensors").read_bytes())
    path.write_bytes(content[: len(content) // 2])


def foreign_model(path, trained):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros((2, 2), np.float32)}, path)


def overflowing_model(path, trained):
    network = MLP((784, 2), loss="softmax_cross_entropy")
    network.named_parameters["weight1"][:] = 3e38
    save_model(path, network, ("a", "b"))


UNUSABLE_MODELS = {
    "missing.safetensors": (lambda path, trained: None, "missing.safetensors"),
    "folder": (lambda path, trained: path.mkdir(), "model.safetensors"),
    "empty.safetensors": (lambda path, trained: path.write_bytes(b""), "empty.safetensors"),
    "text.safetensors": (lambda path, trained: path.write_text("no model" * 10), "text.safetensors"),
    "damaged.safetensors": (damaged_model, "damaged.safetensors"),
    "foreign.safetensors": (foreign_model, "not written by gpunet"),
    "small.safetensors": (
        lambda path, trained: save_model(path, MLP((20, 2)), ("a", "b")),
        "trained on 20 inputs, but images are read as 28 x 28 = 784",
    ),
    "overflowing.safetensors": (overflowing_model, "no finite numbers"),
}


@pytest.mark.parametrize("name", UNUSABLE_MODELS)
def test_predict_refuses_unusable_models(refused, trained, own_folder, name):
    make, word = UNUSABLE_MODELS[name]
    make(own_folder / name, trained)
    assert refused("predict", name, picture(), words=[word]).out == ""


def test_predict_needs_an_image(refused, trained):
    refused("predict", trained, words=["IMAGE", "gpunet predict --help"])


@pytest.mark.parametrize("name", ["sie\udcffben.png", "sie\x1b[31mben.png", "sie\nben.png"])
def test_predict_prints_names_that_a_terminal_cannot(gpunet, trained, own_folder, name):
    picture()
    (own_folder / "seven.png").rename(own_folder / name)
    outcome = gpunet("predict", trained, name)
    assert outcome.status == 0
    assert len(outcome.out.splitlines()) == 1 and outcome.out.strip().isprintable()
    assert json.loads(gpunet("predict", "--json", trained, name).out)[0]["file"] == name
