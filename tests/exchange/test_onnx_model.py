"""ONNX models: what onnxruntime makes of them is what the network makes of the same images."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from experiment_networks import EACH_EXPERIMENT, IMAGES, ROUND_TRIP, network_and_names
from sentences import refused

from gpunet import MLP
from gpunet.exchange import export_onnx, make_onnx_model, onnx_model
from gpunet.ops import NumpyOps
from gpunet.ops.numpy_activations import ACTIVATIONS


@pytest.fixture
def computed():
    """What onnxruntime computes: a model and images in, its only output out. Skipped where it is not installed."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")

    def compute(model, images):
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {"images": images})
        return output

    return compute


def assert_close(actual, expected):
    assert actual.dtype == np.float32 and actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= ROUND_TRIP * max(1, np.abs(expected).max())


@EACH_EXPERIMENT
def test_onnx_model_computes_what_the_network_does(computed, experiment):
    network, names = network_and_names(experiment)
    logits = network.logits(IMAGES)
    assert_close(computed(make_onnx_model(network, names), IMAGES), logits)
    assert_close(computed(make_onnx_model(network, names, inputs="float"), IMAGES / np.float32(255)), logits)
    if network.loss != "squared_error":
        model = make_onnx_model(network, names, probabilities=True)
        assert_close(computed(model, IMAGES), network.predict_proba(IMAGES).reshape(len(IMAGES), len(names)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(6, 3), (6, 5, 1), (6, 5, 4, 2)], ids=str)
def test_onnx_model_of_every_shape_and_activation(computed, activation, sizes):
    network = MLP(sizes, activation, seed=1, init="normal", ops=NumpyOps(np.float64))
    images = np.random.default_rng(0).integers(0, 256, (7, 6), dtype=np.uint8)
    names = tuple("abc"[: max(2, sizes[-1])])
    for rows in (1, 7):  # the batch is open
        assert_close(computed(make_onnx_model(network, names), images[:rows]), network.logits(images[:rows]))


def test_onnx_probabilities_keep_their_digits_in_the_extremes(computed):
    """Logits of -30 and 30: both classes' probabilities to float32's precision, none 0 by way of 1 - 1."""
    network = MLP((1, 1))
    network.named_parameters["weight1"][:], network.named_parameters["bias1"][:] = 60, -30
    model = make_onnx_model(network, ("a", "b"), probabilities=True)
    tiny = 1 / (1 + np.exp(30.0))
    np.testing.assert_allclose(
        computed(model, np.array([[0], [255]], np.uint8)), [[1, tiny], [tiny, 1]], rtol=1e-5, atol=0
    )


def test_onnx_softmax_survives_large_logits(computed):
    network = MLP((1, 2))
    network.named_parameters["weight1"][0] = [[1e4, -1e4]]
    network.named_parameters["bias1"][:] = 0
    model = make_onnx_model(network, ("a", "b"), probabilities=True)
    np.testing.assert_array_equal(computed(model, np.array([[255]], np.uint8)), [[1, 0]])


def test_onnx_model_says_what_it_is():
    onnx = pytest.importorskip("onnx")
    network = MLP((6, 5, 3), "tanh")
    about = {"data_source": "synthetic", "epochs": 3, "half": "\ud800", "loss": "not this"}
    model = make_onnx_model(network, ("null", "\N{LATIN SMALL LETTER E WITH ACUTE}", "c"), about=about)
    (given,), (got,) = model.graph.input, model.graph.output
    assert (given.name, got.name) == ("images", "logits")
    dimensions = [each.type.tensor_type.shape.dim for each in (given, got)]
    assert [[each.dim_param or each.dim_value for each in shape] for shape in dimensions] == [
        ["batch", 6],
        ["batch", 3],
    ]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [node.op_type for node in model.graph.node] == ["Cast", "Mul", "Gemm", "Tanh", "Gemm"]
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", onnx_model.OPSET)]
    assert model.producer_name == "gpunet" and "6-5-3" in model.doc_string
    # What PyTorch's names stand for is in the file as PyTorch has it.
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    assert shapes == {"pixel_scale": (), "0.weight": (5, 6), "0.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}
    # Shapes inferred, from the batch on.
    inferred = {each.name: each.type.tensor_type.shape.dim for each in model.graph.value_info}
    assert inferred["z1"][0].dim_param == "batch" and inferred["z1"][1].dim_value == 5
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"]) == ["null", "\N{LATIN SMALL LETTER E WITH ACUTE}", "c"]
    assert (facts["loss"], facts["data_source"], facts["epochs"]) == ("softmax_cross_entropy", "synthetic", "3")
    assert facts["pixel_scale"].startswith("1/255") and json.loads(facts["sizes"]) == [6, 5, 3]


def test_onnx_file_is_written_whole(tmp_path, computed):
    onnx = pytest.importorskip("onnx")
    network = MLP((6, 3))
    export_onnx(tmp_path / "model.onnx", network, ("a", "b", "c"), inputs="float")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    model = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["Gemm"]
    x = np.random.default_rng(0).random((2, 6), np.float32)
    assert_close(computed(model, x), network.logits(x))


def test_onnx_model_refuses_what_it_cannot_hold(monkeypatch):
    network = MLP((6, 3), loss="squared_error")
    with refused("squared error", "no probabilities"):
        make_onnx_model(network, ("a", "b", "c"), probabilities=True)
    with refused("'bytes'", "uint8, float"):
        make_onnx_model(network, ("a", "b", "c"), inputs="bytes")
    with pytest.raises(ValueError, match="one network"):
        make_onnx_model(MLP((6, 3), seed=(1, 2)), ("a", "b", "c"))
    monkeypatch.setattr(onnx_model, "LARGEST", 83)
    with refused("21 parameters", "2 GiB"):
        make_onnx_model(network, ("a", "b", "c"))


def test_onnx_model_without_the_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refused('pip install "gpunet[onnx]"'):
        make_onnx_model(MLP((6, 3)), ("a", "b", "c"))
