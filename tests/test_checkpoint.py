"""Model files: bit for bit there and back, readable by others, and a sentence for each that is no model."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
from model_files import as_format_1, header_of
from safetensors.numpy import load_file, save_file
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, load_model, save_model
from gpunet.ops import NumpyOps

NAMES = ("zero", "one", "two")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    """A network of 6-5-3 in a file."""
    network = MLP((6, 5, 3), "tanh", seed=7)
    save_model(path, network, NAMES, data="made up", epochs=3)
    return network


def tamper(path, *, header=None, tensors=None, **entries):
    """Rewrite a model file with other header entries or tensors; None removes one."""
    everything = {**load_file(path), **(tensors or {})}
    if header is None:
        header = json.dumps({key: value for key, value in {**header_of(path), **entries}.items() if value is not None})
    save_file({key: value for key, value in everything.items() if value is not None}, path, {"gpunet": header})


def test_model_round_trip_keeps_every_bit(ops, path):
    network = MLP((6, 5, 3), "sigmoid", seed=7, ops=ops)
    save_model(path, network, NAMES)
    loaded = load_model(path, type(ops)(ops.dtype))
    assert_same_bits(loaded.network.parameters, network.parameters)
    assert_same_bits(loaded.network.forward(IMAGES), network.forward(IMAGES))
    assert loaded.network.sizes == (6, 5, 3)
    assert (loaded.network.activation, loaded.network.loss) == ("sigmoid", "softmax_cross_entropy")
    assert loaded.class_names == NAMES


@pytest.mark.parametrize(
    ("sizes", "loss", "names"),
    [
        ((6, 1), None, ("a", "b")),
        ((6, 2), None, ("a", "b")),
        ((6, 3), "squared_error", NAMES),
        ((6, 1), "squared_error", ("a", "b")),
    ],
)
def test_model_round_trip_of_every_kind_of_output(path, sizes, loss, names):
    network = MLP(sizes, loss=loss)
    save_model(path, network, names)
    loaded = load_model(path)
    assert (loaded.network.loss, loaded.class_names) == (network.loss, names)
    np.testing.assert_array_equal(loaded.network.predict(IMAGES), network.predict(IMAGES))


def test_model_of_numpy_integer_sizes_can_be_saved(path):
    save_model(path, MLP(np.array([6, 3])), NAMES)
    assert load_model(path).network.sizes == (6, 3)


def test_model_file_holds_one_network(path):
    with pytest.raises(ValueError, match="one network"):
        save_model(path, MLP((4, 3), seed=(1, 2)), ("a", "b", "c"))
    assert not path.exists()


def test_model_files_of_one_network_are_the_same_bytes(saved, path):
    contents = set()
    for _ in range(5):
        save_model(path, saved, NAMES, data="made up")
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_model_metadata_is_kept(saved, path):
    metadata = load_model(path).metadata
    assert (metadata["data"], metadata["epochs"]) == ("made up", 3)
    assert metadata["format"] == "gpunet" and metadata["pixel_scale"] == "1/255"


def test_model_file_is_plain_safetensors(saved, path):
    tensors = load_file(path)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "0.weight": (5, 6),
        "0.bias": (5,),
        "2.weight": (3, 5),
        "2.bias": (3,),
    }
    x = IMAGES / np.float32(255)
    logits = np.tanh(x @ tensors["0.weight"].T + tensors["0.bias"]) @ tensors["2.weight"].T + tensors["2.bias"]
    np.testing.assert_allclose(logits, saved.forward(IMAGES), rtol=1e-5, atol=1e-6)
    assert header_of(path)["sizes"] == [6, 5, 3] and header_of(path)["class_names"] == list(NAMES)


def test_model_file_serves_pytorch_as_it_is(saved, path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch

    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    model.load_state_dict(load_torch(path))
    logits = model(torch.from_numpy(IMAGES / np.float32(255))).detach().numpy()
    np.testing.assert_allclose(logits, saved.forward(IMAGES), rtol=1e-5, atol=1e-6)


def test_model_of_format_1_is_read_bit_for_bit(saved, path):
    as_format_1(path)
    assert load_file(path).keys() == {"weight1", "bias1", "weight2", "bias2"}
    assert load_file(path)["weight1"].shape == (6, 5)
    loaded = load_model(path)
    assert_same_bits(loaded.network.parameters, saved.parameters)
    assert loaded.class_names == NAMES and loaded.about == {"data": "made up", "epochs": 3}


@pytest.mark.parametrize("version", [1, 2])
def test_model_of_one_format_with_the_tensors_of_the_other_is_refused(path, version):
    """Square weights, so that nothing but their names tells which way round they are."""
    save_model(path, MLP((3, 3)), NAMES)
    if version == 2:
        as_format_1(path)
    tamper(path, format_version=version)
    with refused(path, "damaged"):
        load_model(path)


def test_saving_replaces_a_file_whole_or_not_at_all(saved, path, monkeypatch):
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(path, MLP((6, 5, 3), seed=8), NAMES)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    monkeypatch.undo()
    save_model(path, MLP((6, 5, 3), seed=8), NAMES)
    assert path.read_bytes() != before


# What is no model


def test_load_refuses_what_is_not_there(path):
    with refused(path, "no model file"):
        load_model(path)
    with refused(path.parent):
        load_model(path.parent)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"PK\x03\x04 a zip file, by its first bytes",
        struct.pack("<Q", 2**62) + b"{}",  # a header of four exabytes
        struct.pack("<Q", 50) + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,',
        struct.pack("<Q", 2) + b"no",
        struct.pack("<Q", 62) + b'{"w":{"dtype":"F32","shape":[99999999],"data_offsets":[0,8]}} ' + bytes(8),
    ],
    ids=["empty", "one byte", "zip", "huge header", "cut header", "no JSON", "huge tensor"],
)
def test_load_refuses_what_is_no_safetensors_file(path, content):
    path.write_bytes(content)
    with refused(path, "safetensors"):
        load_model(path)


def test_load_refuses_every_truncation(saved, path):
    content = path.read_bytes()
    for length in (*range(1, 60, 7), len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with refused(path, "safetensors"):
            load_model(path)


def test_load_refuses_files_of_others(path):
    save_file({"weight": np.zeros((2, 2), np.float32)}, path)
    with refused(path, "not written by gpunet"):
        load_model(path)
    save_file({"weight": np.zeros((2, 2), np.float32)}, path, {"format": "pt"})
    with refused(path, "not written by gpunet"):
        load_model(path)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "no JSON",
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        pytest.param("[" * 100_000, id="deeply nested"),
    ],
)
def test_load_refuses_headers_that_are_none(saved, path, header):
    tamper(path, header=header)
    with refused(path):
        load_model(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"sizes": [6, 4, 3]},
        {"sizes": [6, 3]},
        {"sizes": [6, 5, 3, 2]},
        {"sizes": [6]},
        {"sizes": []},
        {"sizes": 6},
        {"sizes": "653"},
        {"sizes": [6.0, 5.0, 3.0]},
        {"sizes": ["6", "5", "3"]},
        {"sizes": [6, -5, 3]},
        {"sizes": [6, 10**9, 3]},
        {"sizes": [10**400, 10**400]},
        {"sizes": [6, None, 3]},
        {"sizes": {}},
        {"sizes": None},
        {"class_names": ["zero", "one"]},
        {"class_names": [*NAMES, "three"]},
        {"class_names": [0, 1, 2]},
        {"class_names": ["a", ["b"], "c"]},
        {"class_names": 3},
        {"class_names": None},
        {"activation": "gelu"},
        {"activation": ["relu"]},
        {"activation": None},
        {"loss": "hinge"},
        {"loss": "binary_cross_entropy"},
        {"loss": None},
        {"format_version": None},
    ],
    ids=str,
)
def test_load_refuses_tampered_headers(saved, path, entries):
    tamper(path, **entries)
    with refused(path, "damaged"):
        load_model(path)


@pytest.mark.parametrize("change", [{}, {"class_names": None}, {"sizes": None, "layers": [6, 5, 3]}], ids=str)
def test_load_says_when_a_format_is_newer(saved, path, change):
    """Whatever else a newer header holds or lacks."""
    tamper(path, format_version=3, **change)
    with refused(path, "format 3", "upgrade"):
        load_model(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"2.bias": None},
        {"4.weight": np.zeros((3, 3), np.float32)},
        {"0.weight": np.zeros((6, 5), np.float32)},  # gpunet's way round
        {"0.weight": np.zeros(30, np.float32)},
        {"2.weight": np.full((3, 5), np.nan, np.float32)},
        {"0.bias": np.array([0, 0, np.inf, 0, 0], np.float32)},
        {"0.bias": np.array([0, 0, 1e300, 0, 0], np.float64)},  # infinite in float32
        {"0.bias": np.ones(5, bool)},
    ],
    ids=lambda tensors: " ".join(f"{name} {getattr(tensor, 'dtype', '')}" for name, tensor in tensors.items()),
)
def test_load_refuses_tampered_tensors(saved, path, tensors):
    tamper(path, tensors=tensors)
    with refused(path, "damaged"):
        load_model(path)


def test_load_refuses_a_file_without_tensors_and_sizes(saved, path):
    nothing = dict.fromkeys(load_file(path))
    tamper(path, tensors=nothing, sizes=[], class_names=[])
    with refused(path):  # some versions of safetensors read no such file
        load_model(path)


@pytest.mark.parametrize(
    ("dtype", "shape", "length", "words"),
    [
        ("F8_E4M3", [2], 2, ["0.weight", "F8_E4M3"]),
        ("F32", [1] * 65, 4, ["0.weight", "shape"]),
        ("F32", [0, 2**62], 0, ["again"]),
    ],
)
def test_load_refuses_types_and_shapes_that_numpy_lacks(path, dtype, shape, length, words):
    entries = {"0.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, length]}}
    header = json.dumps(entries | {"__metadata__": {"gpunet": "{}"}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(length))
    with refused(path, *words):
        load_model(path)


def test_load_allocates_nothing_for_a_promise(saved, path):
    tamper(path, sizes=[6, 10**6, 10**6, 3])
    tracemalloc.start()
    try:
        with refused(path, "damaged"):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_load_takes_the_backend_it_is_given(saved, path):
    loaded = load_model(path, NumpyOps(np.float64))
    assert loaded.network.parameters.dtype == np.float64
    np.testing.assert_array_equal(loaded.network.parameters, saved.parameters)
