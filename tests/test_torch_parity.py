"""The same training in PyTorch, step by step: same initial weights, same batches."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from tolerances import PARITY_FLOAT32, PARITY_FLOAT64, assert_within

from gpunet import MLP, SGD, Adam, train
from gpunet.ops import NumpyOps

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


MODULES = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "identity": torch.nn.Identity}


def torch_copy(network):
    """The same network in PyTorch, whose layers keep the weights' transposes."""
    layers = []
    for weight, bias in network.layers:
        linear = torch.nn.Linear(*weight.shape[1:]).to(torch.from_numpy(weight).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight[0].T.copy()))
            linear.bias.copy_(torch.from_numpy(bias[0].copy()))
        layers += [linear, MODULES[network.activation]()]
    return torch.nn.Sequential(*layers[:-1])


def torch_loss(name, logits, labels, reduction="mean"):
    how = {"reduction": reduction}
    if name == "softmax_cross_entropy":
        return torch.nn.functional.cross_entropy(logits, labels, **how)
    if name == "binary_cross_entropy":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), **how)
    targets = torch.nn.functional.one_hot(labels, logits.shape[1]) if logits.shape[1] > 1 else labels[:, None]
    return torch.nn.functional.mse_loss(logits, targets.to(logits.dtype), **how)


def torch_weighted_loss(name, logits, labels, weights):
    """sum w l / sum w, which is what PyTorch's own weighted cross-entropy is where weights go by class."""
    losses = torch_loss(name, logits, labels, "none")
    losses = losses.mean(dim=1) if losses.ndim > 1 else losses
    return (weights * losses).sum() / weights.sum()


def torch_optimizer(optimizer, parameters):
    rates = {"lr": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    if optimizer.method == "sgd":
        return torch.optim.SGD(parameters, momentum=optimizer.momentum, **rates)
    kind = torch.optim.AdamW if optimizer.decoupled else torch.optim.Adam
    return kind(parameters, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.eps, **rates)


def assert_parity(sizes, optimizer, batch_size, n, dtype=np.float64, epochs=10, sample_weight=None, **options):
    """Train both over `epochs` orders of n rows, and hold each step's loss and each final tensor."""
    classes = max(2, sizes[-1])
    images, labels = images_and_labels(n, classes, sizes[0])
    order = np.stack([np.random.default_rng(epoch).permutation(n) for epoch in range(epochs)])
    network = MLP(sizes, seed=3, ops=NumpyOps(dtype), **options)
    model = torch_copy(network)
    run = {"optimizer": optimizer, "epochs": epochs, "batch_size": batch_size, "shuffle": order}
    history = train(network, images, labels, sample_weight=sample_weight, **run)

    stepper, losses = torch_optimizer(optimizer, model.parameters()), []
    x, y = torch.from_numpy(images.astype(dtype) * dtype(1 / 255)), torch.from_numpy(labels)
    for rows in map(torch.from_numpy, order):
        for part in rows.split(batch_size):
            stepper.zero_grad()
            if sample_weight is None:
                loss = torch_loss(network.loss, model(x[part]), y[part])
            else:
                loss = torch_weighted_loss(network.loss, model(x[part]), y[part], torch.from_numpy(sample_weight)[part])
            loss.backward()
            stepper.step()
            losses.append(loss.item())

    tolerance = PARITY_FLOAT64 if dtype == np.float64 else PARITY_FLOAT32
    assert len(losses) == history.step_loss.size
    if len(losses) == 50:
        # A run that learns nothing compares nothing; of one that learnt all, PyTorch's losses have no digits left.
        assert 1e-3 < losses[-1] < 0.9 * losses[0]
    assert_within(history.step_loss.reshape(-1), np.array(losses), tolerance * np.array(losses))
    linears = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    for (weight, bias), linear in zip(network.layers, linears, strict=True):
        for mine, theirs in ((weight[0].T, linear.weight), (bias[0], linear.bias)):
            theirs = theirs.detach().numpy()
            assert_within(mine, theirs, tolerance * abs(theirs).max())


DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


# 50 steps: ten epochs of five batches, of which the last is short.


@DTYPES
def test_parity_with_pytorch_of_exp2(dtype):
    assert_parity((784, 64, 10), Adam(learning_rate=0.003), 128, 600, dtype)


@DTYPES
def test_parity_with_pytorch_of_binary_base(dtype):
    assert_parity((784, 64, 1), Adam(learning_rate=0.001), 64, 300, dtype)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(learning_rate=0.1),
        SGD(learning_rate=0.05, momentum=0.9),
        SGD(learning_rate=0.05, momentum=0.9, weight_decay=0.01),
        Adam(learning_rate=0.003, weight_decay=0.01),
        Adam(learning_rate=0.003, weight_decay=0.1, decoupled=True),
        Adam(learning_rate=0.003, beta1=0.8, beta2=0.99, eps=1e-3),
    ],
    ids=str,
)
def test_parity_with_pytorch_of_the_optimizers(optimizer):
    assert_parity((100, 32, 4), optimizer, 32, 150)


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("hidden", [(32,), (24, 16, 12)], ids=str)
def test_parity_with_pytorch_of_the_activations(activation, hidden):
    saturating = activation == "sigmoid"  # learns slowly from small weights
    rate, init = (0.02, "glorot") if saturating else (0.004, "pytorch")
    assert_parity((100, *hidden, 4), Adam(learning_rate=rate), 32, 150, activation=activation, init=init)


@pytest.mark.parametrize("outputs", [1, 4])
def test_parity_with_pytorch_of_the_squared_error(outputs):
    assert_parity((100, 32, outputs), Adam(learning_rate=0.003), 32, 150, loss="squared_error")


@pytest.mark.parametrize(
    ("outputs", "loss"), [(4, "softmax_cross_entropy"), (1, "binary_cross_entropy"), (4, "squared_error")]
)
def test_parity_with_pytorch_of_sample_weights(outputs, loss):
    weights = np.random.default_rng(8).uniform(0.05, 3, 150)
    assert_parity((100, 32, outputs), Adam(learning_rate=0.003), 32, 150, loss=loss, sample_weight=weights)


def test_class_weights_are_pytorch_s_as_sample_weights_by_label():
    images, labels = images_and_labels(40, 4, 12)
    of_classes = np.array([0.3, 1.0, 2.0, 7.0])
    network = MLP((12, 5, 4), seed=3, ops=NumpyOps(np.float64))
    logits, theirs = torch.from_numpy(network.forward(images)), torch.from_numpy(labels)
    expected = torch.nn.functional.cross_entropy(logits, theirs, weight=torch.from_numpy(of_classes)).item()
    assert_within(network.backward(labels, of_classes[labels]), expected, PARITY_FLOAT64)


def test_parity_with_pytorch_without_hidden_layers():
    assert_parity((100, 4), Adam(learning_rate=0.01), 32, 150)


def test_parity_with_pytorch_of_per_sample_sgd():
    """Algorithm 1 of the NumPy report: one sample a step, two epochs."""
    assert_parity((100, 10, 1), SGD(learning_rate=0.1), 1, 80, epochs=2, activation="sigmoid", init="normal")
