"""gpunet's own files in PyTorch: as they are, the same logits, and back with every bit."""

from __future__ import annotations

import numpy as np
import pytest
from experiment_networks import EACH_EXPERIMENT, IMAGES, ROUND_TRIP, network_and_names
from made_up import images_and_labels
from tolerances import assert_same_bits

from gpunet import MLP, SGD, save_model, torch_layout, train
from gpunet.exchange import import_torch
from gpunet.ops import NumpyOps
from gpunet.ops.numpy_activations import ACTIVATIONS


def test_torch_layout_by_hand():
    network = MLP((2, 3, 1))
    network.named_parameters["weight1"][0] = [[1, 2, 3], [4, 5, 6]]
    network.named_parameters["bias1"][0] = [7, 8, 9]
    tensors = torch_layout.state_dict(network)
    assert list(tensors) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert tensors["0.weight"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert tensors["0.bias"].tolist() == [7, 8, 9]
    assert tensors["2.weight"].shape == (1, 3) and tensors["2.bias"].shape == (1,)


def test_torch_layout_knows_every_activation():
    assert torch_layout.MODULES.keys() == ACTIVATIONS.keys()


def test_sequential_numbers_layers_as_the_names_do():
    text = torch_layout.sequential((4, 3, 2, 1), "tanh")
    modules = [line.strip() for line in text.splitlines()[1:-1]]
    linear = [index for index, module in enumerate(modules) if module.startswith("torch.nn.Linear")]
    assert [torch_layout.names_of(layer)[0] for layer in range(3)] == [f"{index}.weight" for index in linear]
    assert modules[1] == "torch.nn.Tanh()," and len(modules) == 5  # none behind the last


@EACH_EXPERIMENT
def test_round_trip_through_torch(experiment, tmp_path):
    """Our file into a Sequential; its logits; its state dict saved as PyTorch users do; and back."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    network, names = network_and_names(experiment)
    save_model(tmp_path / "model.safetensors", network, names)
    model = eval(torch_layout.sequential(network.sizes, network.activation), {"torch": torch})
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.no_grad():
        logits = model(torch.from_numpy(IMAGES) / 255).numpy()
    ours = network.logits(IMAGES)
    assert np.abs(logits - ours).max() <= ROUND_TRIP * max(1, np.abs(ours).max())

    save_file(model.state_dict(), tmp_path / "theirs.safetensors")
    back = import_torch(tmp_path / "theirs.safetensors", network.activation, loss=network.loss).network
    assert_same_bits(back.parameters, network.parameters)
    assert_same_bits(back.logits(IMAGES), ours)


def test_a_trained_float64_network_loads_in_torch(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    images, labels = images_and_labels(40, 3, 20)
    network = MLP((20, 6, 5, 3), "sigmoid", ops=NumpyOps(np.float64), dropout=0.3)
    train(network, images, labels, optimizer=SGD(0.5), epochs=2, batch_size=8)
    save_model(tmp_path / "model.safetensors", network, ("a", "b", "c"))
    model = eval(torch_layout.sequential(network.sizes, network.activation), {"torch": torch}).double()
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.no_grad():
        logits = model(torch.from_numpy(images).double() / 255).numpy()
    np.testing.assert_allclose(logits, network.logits(images), rtol=1e-12, atol=1e-12)
