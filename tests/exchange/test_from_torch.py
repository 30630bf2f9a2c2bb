"""PyTorch's weights as a network, made by safetensors alone; and a sentence for each file that is something else."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sentences import refused
from tolerances import assert_same_bits

from gpunet import MLP, load_model, save_model
from gpunet.exchange import import_torch

RNG = np.random.default_rng(0)
W1, B1 = RNG.standard_normal((5, 6)).astype(np.float32), RNG.standard_normal(5).astype(np.float32)
W2, B2 = RNG.standard_normal((3, 5)).astype(np.float32), RNG.standard_normal(3).astype(np.float32)
STATE = {"0.weight": W1, "0.bias": B1, "2.weight": W2, "2.bias": B2}
X = RNG.random((4, 6), np.float32)
LOGITS = np.maximum(X @ W1.T + B1, 0) @ W2.T + B2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def renamed(*names):
    return dict(zip(names, STATE.values(), strict=True))


def write_raw(path, entries, content):
    """A safetensors file whose header says what it likes."""
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)


@pytest.mark.parametrize(
    "state",
    [
        STATE,
        renamed("0.weight", "0.bias", "3.weight", "3.bias"),  # dropout counted
        renamed("1.weight", "1.bias", "12.weight", "12.bias"),  # a Flatten in front; 12 comes behind 1 and not before 2
        renamed("2.weight", "2.bias", "10.weight", "10.bias"),  # 10 behind 2
        renamed("net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"),
        renamed("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"),
    ],
    ids=lambda state: next(reversed(state)),
)
def test_import_takes_numbered_layers_in_their_order(path, state):
    save_file(state, path)
    model = import_torch(path, "relu")
    assert model.network.sizes == (6, 5, 3) and model.network.activation == "relu"
    assert model.class_names == ("0", "1", "2")
    np.testing.assert_allclose(model.network.logits(X), LOGITS, rtol=1e-5, atol=1e-6)
    assert model.metadata == {"imported_from": "weights.safetensors", "imported_types": ["F32"]}


def test_import_can_be_saved_and_loaded(path, tmp_path):
    save_file(STATE, path)
    model = import_torch(path, "tanh", loss="squared_error", class_names=["a", "b", "c"])
    save_model(tmp_path / "model.safetensors", model.network, model.class_names, **model.about)
    loaded = load_model(tmp_path / "model.safetensors")
    assert_same_bits(loaded.network.parameters, model.network.parameters)
    assert (loaded.network.loss, loaded.class_names) == ("squared_error", ("a", "b", "c"))
    assert loaded.about["imported_from"] == "weights.safetensors"


def test_import_of_one_layer_needs_no_activation(path):
    save_file({"0.weight": W1[:1], "0.bias": B1[:1]}, path)
    model = import_torch(path)
    assert (model.network.sizes, model.network.loss) == ((6, 1), "binary_cross_entropy")
    assert model.class_names == ("0", "1")


@pytest.mark.parametrize(("dtype", "kind"), [(np.float64, "F64"), (np.float16, "F16")])
def test_import_converts_other_floats(path, dtype, kind):
    save_file({name: values.astype(dtype) for name, values in STATE.items()}, path)
    model = import_torch(path, "relu")
    assert model.metadata["imported_types"] == [kind]
    assert model.network.parameters.dtype == np.float32
    np.testing.assert_array_equal(model.network.layers[0][0][0], W1.T.astype(dtype).astype(np.float32))


def test_import_converts_bfloat16(path):
    """Which NumPy lacks: the upper halves of float32, 1 = 0x3f80 and -2.5 = 0xc020."""
    entries = {
        "0.weight": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]},
        "0.bias": {"dtype": "BF16", "shape": [1], "data_offsets": [4, 6]},
    }
    write_raw(path, entries, struct.pack("<3H", 0x3F80, 0xC020, 0x4000))
    model = import_torch(path)
    assert model.network.layers[0][0][0].tolist() == [[1], [-2.5]] and model.network.layers[0][1][0].tolist() == [2]
    assert model.metadata["imported_types"] == ["BF16"]


def test_import_takes_normalization_into_the_first_layer(path):
    save_file(STATE, path)
    normalized = (X - 0.1307) / 0.3081
    expected = np.maximum(normalized @ W1.T.astype(np.float64) + B1, 0) @ W2.T + B2
    network = import_torch(path, "relu", mean=0.1307, std=0.3081).network
    np.testing.assert_allclose(network.logits(X), expected, rtol=1e-5, atol=1e-5)
    network = import_torch(path, "relu", std=1 / 255).network  # trained on 0..255
    expected = np.maximum(255 * X @ W1.T.astype(np.float64) + B1, 0) @ W2.T + B2
    np.testing.assert_allclose(network.logits(X), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [{"std": 0.0}, {"std": -1.0}, {"std": np.nan}, {"mean": np.inf}], ids=str)
def test_import_refuses_a_normalization_that_is_none(path, scale):
    save_file(STATE, path)
    with refused("mean", "std"):
        import_torch(path, "relu", **scale)
    with refused("0.weight", "no finite numbers"):
        import_torch(path, "relu", std=1e-45)


# What is something else


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.bias": None}, ["'0.weight'", "no '0.bias'", "zeros"]),
        ({"2.weight": None}, ["'2.bias'", "no '2.weight'"]),
        ({"0.weight": W1.T.copy()}, ["[6, 5]", "[5]"]),  # the wrong way round
        ({"2.weight": np.ones((3, 4), np.float32)}, ["5 outputs", "4 inputs"]),
        ({"0.weight": np.ones((5, 6, 3, 3), np.float32)}, ["[5, 6, 3, 3]", "only linear layers"]),
        ({"0.weight": np.ones((5, 0), np.float32)}, ["[5, 0]"]),
        ({"0.bias": np.ones((5, 1), np.float32)}, ["[5, 1]", "'0.bias'"]),
        ({"2.bias": np.array([0, np.nan, 0], np.float32)}, ["'2.bias'", "no finite numbers"]),
        ({"2.bias": np.array([0, -np.inf, 0], np.float32)}, ["'2.bias'", "no finite numbers"]),
        ({"2.bias": np.array([0, 1e300, 0])}, ["'2.bias'", "no finite numbers"]),  # infinite in float32
        ({"2.bias": np.ones(3, np.int64)}, ["'2.bias'", "I64", "float32"]),
        ({"1.running_mean": B1}, ["running_mean", "only numbered linear layers"]),
        ({"out.weight": W2}, ["out.weight", "rename"]),
        ({"fc3.weight": W2, "fc3.bias": B2}, ["order", "rename"]),
        ({"00.weight": W1, "00.bias": B1}, ["order", "rename"]),  # as the number, 0 twice
        ({"x" * 10_000: B1}, ["xxx"]),
        ({"line\nbreak.weight": B1}, ["break"]),
        (dict.fromkeys(STATE), ["no tensors"]),
    ],
    ids=str,
)
def test_import_refuses_what_is_no_chain_of_linear_layers(path, change, words):
    save_file({name: values for name, values in {**STATE, **change}.items() if values is not None}, path)
    with refused(path, *words) as caught:
        import_torch(path, "relu")
    assert len(str(caught.value)) < 400 + len(str(path))


def test_import_asks_for_what_weights_do_not_tell(path):
    save_file(STATE, path)
    with refused("activation", "relu, sigmoid, tanh or identity"):
        import_torch(path)
    with refused("activation 'gelu'"):
        import_torch(path, "gelu")
    with refused("loss 'hinge'"):
        import_torch(path, "relu", loss="hinge")
    with refused("binary_cross_entropy needs one output"):
        import_torch(path, "relu", loss="binary_cross_entropy")


def test_import_refuses_an_activation_where_a_sequential_has_none(path):
    save_file(renamed("0.weight", "0.bias", "1.weight", "1.bias"), path)
    with refused("'0' and '1'", "without an activation"):
        import_torch(path, "relu")
    np.testing.assert_allclose(
        import_torch(path, "identity").network.logits(X), (X @ W1.T + B1) @ W2.T + B2, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "b"], ["a", "b", ""], list("abcd")], ids=str)
def test_import_refuses_class_names_that_do_not_fit(path, names):
    save_file(STATE, path)
    with refused("3 classes"):
        import_torch(path, "relu", class_names=names)


def test_import_refuses_what_is_not_there(path):
    with refused(path, "no file"):
        import_torch(path, "relu")
    with refused(path.parent, "no file"):
        import_torch(path.parent, "relu")


def test_import_refuses_gpunets_own_models(path):
    save_model(path, MLP((6, 3)), ("a", "b", "c"))
    with refused(path, "already"):
        import_torch(path, "relu")


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".PT", ".pkl"])
def test_import_never_opens_a_pickle_by_its_name(path, ending):
    """Not even where it is none."""
    save_file(STATE, path)
    path = path.rename(path.with_suffix(ending))
    with refused(path, "pickle", "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"):
        import_torch(path, "relu")


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(60), b"\x80\x02}q\x00.", b"\x80\x04\x95" + bytes(60)])
def test_import_never_opens_a_pickle_by_its_content(path, content):
    path.write_bytes(content)
    with refused(path, "pickle", "save_file"):
        import_torch(path, "relu")


def test_import_takes_a_header_as_long_as_a_pickles_first_bytes(path):
    """0x280 = 640 bytes of header begin with 80 02, as a pickle does."""
    save_file(STATE, path)
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    padded = content[8 : 8 + length].ljust(640)
    path.write_bytes(struct.pack("<Q", 640) + padded + content[8 + length :])
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert import_torch(path, "relu").network.sizes == (6, 5, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"no safetensors at all, but text", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"{}x"],
    ids=["empty", "text", "huge header", "bytes left over"],
)
def test_import_refuses_what_is_no_safetensors_file(path, content):
    path.write_bytes(content)
    with refused(path, "no readable safetensors file"):
        import_torch(path, "relu")


def test_import_refuses_a_file_that_may_not_be_read(path, monkeypatch):
    save_file(STATE, path)

    def forbidden(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    monkeypatch.setattr(Path, "open", forbidden)
    with refused(path, "Permission denied"):
        import_torch(path, "relu")


def test_import_allocates_nothing_for_a_promise(path):
    entries = {
        "0.weight": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]},
        "0.bias": {"dtype": "F32", "shape": [10**6], "data_offsets": [4 * 10**12, 4 * 10**12 + 4 * 10**6]},
    }
    write_raw(path, entries, bytes(64))
    tracemalloc.start()
    try:
        with refused(path, "no readable safetensors file"):
            import_torch(path, "relu")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
