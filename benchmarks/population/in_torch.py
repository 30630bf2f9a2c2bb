"""A population in PyTorch, twice: all networks at once by torch.func.vmap, and one network after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import cross_entropy

from gpunet.optimizers import step_table
from population.problem import Problem, Run, Trained

ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
MODULES = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}


def by_vmap(device: str, problem: Problem, networks: int, *, graph: bool) -> Run:
    """A functional perceptron whose parameters are stacked, and Adam written out for the stack.

    graph: an epoch's steps are captured in a CUDA graph, and replayed.
    """
    initial = [torch.tensor(array, device=device) for layer in problem.initial_layers(networks) for array in layer]
    population = _Stack(problem, initial, ACTIVATIONS[problem.experiment.activation])
    batches = torch.from_numpy(problem.batches(networks)).to(device).long()
    epochs = list(batches.chunk(problem.epochs))
    train_epoch = population.captured(epochs[0]) if graph else population.train_epoch

    def run() -> Trained:
        population.start(initial)
        _wait(device)
        began = time.perf_counter()
        for rows in epochs:
            train_epoch(rows)
        losses = population.losses.cpu()  # waits for a device
        return Trained(time.perf_counter() - began, losses.numpy().T)

    return run


class _Stack:
    """Parameters, moments and losses of all networks, in tensors that stay where they are: ``[P, ...]``; losses
    ``[steps, P]``."""

    def __init__(self, problem: Problem, initial: Sequence[torch.Tensor], activation: Callable) -> None:
        device, networks = initial[0].device, len(initial[0])
        self.images = torch.from_numpy(problem.images).to(device).float() / 255
        self.labels = torch.from_numpy(problem.labels).to(device)
        self.optimizer = problem.optimizer
        rates, roots = step_table(self.optimizer, 1, problem.steps)[0, :, :2].T.copy()
        self.rates, self.roots = (torch.tensor(each, dtype=torch.float32, device=device) for each in (rates, roots))
        self.step = torch.zeros(1, dtype=torch.long, device=device)  # read by a graph too
        self.parameters = tuple(map(torch.clone, initial))
        self.m, self.v = (tuple(map(torch.zeros_like, initial)) for _ in "mv")
        self.losses = torch.zeros(problem.steps, networks, device=device)

        def loss(parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
            for w, b in hidden:
                x = activation(x @ w + b)
            return cross_entropy(x @ weight + bias, y)

        self.gradients_and_losses = torch.func.vmap(torch.func.grad_and_value(loss))

    def start(self, initial: Sequence[torch.Tensor]) -> None:
        for mine, given in zip(self.parameters, initial, strict=True):
            mine.copy_(given)
        for each in (*self.m, *self.v, self.step, self.losses):
            each.zero_()

    def train_epoch(self, batches: torch.Tensor) -> None:
        """batches: rows ``[steps of an epoch, P, B]``."""
        for rows in batches:
            gradients, losses = self.gradients_and_losses(self.parameters, self.images[rows], self.labels[rows])
            self._adam(gradients)
            self.losses.index_copy_(0, self.step, losses[None])
            self.step += 1

    def _adam(self, gradients: Sequence[torch.Tensor]) -> None:
        adam = self.optimizer
        rate, root = (each.index_select(0, self.step) for each in (self.rates, self.roots))
        for w, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m.lerp_(g, 1 - adam.beta1)
            v.mul_(adam.beta2).addcmul_(g, g, value=1 - adam.beta2)
            w.sub_((m * rate).div_(v.sqrt().mul_(root).add_(adam.eps)))

    def captured(self, batches: torch.Tensor) -> Callable[[torch.Tensor], None]:
        """`train_epoch` in a CUDA graph, which always reads the same rows: they are copied there."""
        place = batches.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # once before, as capturing asks for
            self.train_epoch(place[:2])
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.train_epoch(place)

        def replay(rows: torch.Tensor) -> None:
            place.copy_(rows)
            graph.replay()

        return replay


def by_torch(device: str, problem: Problem, networks: int) -> Run:
    """A module and torch.optim.Adam(fused=True), the quickest of its kinds here, for each network in turn."""
    layers = problem.initial_layers(networks)
    images = torch.from_numpy(problem.images).to(device).float() / 255
    labels = torch.from_numpy(problem.labels).to(device)
    batches = torch.from_numpy(problem.batches(networks)).to(device).long()
    loss_function = torch.nn.CrossEntropyLoss()

    def model_of(network: int) -> torch.nn.Sequential:
        modules: list[torch.nn.Module] = []
        for weight, bias in layers:
            linear = torch.nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight[network].T.copy()))
                linear.bias.copy_(torch.from_numpy(bias[network].copy()))
            modules += [linear, MODULES[problem.experiment.activation]()]
        return torch.nn.Sequential(*modules[:-1]).to(device)

    def run() -> Trained:
        models = [model_of(network) for network in range(networks)]
        adam = problem.optimizer
        options = {"lr": adam.learning_rate, "betas": (adam.beta1, adam.beta2), "eps": adam.eps, "fused": True}
        optimizers = [torch.optim.Adam(model.parameters(), **options) for model in models]
        losses: list[torch.Tensor] = []
        _wait(device)
        began = time.perf_counter()
        for network, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            for rows in batches[:, network]:
                optimizer.zero_grad(set_to_none=True)
                loss = loss_function(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        curves = torch.stack(losses).cpu()
        return Trained(time.perf_counter() - began, curves.reshape(networks, -1).numpy())

    return run


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
