"""PyTorch on a CPU or a CUDA device: the loop that people write, its data already tensors there.

eager      torch.optim as it comes
fused      its update of all parameters in one call
compiled   forward pass, loss and update through torch.compile
graph      a whole step, the gathering of its rows included, as one CUDA graph, with Adam's capturable form
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from training.contenders.problem import Problem, Train

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "identity": nn.Identity}
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
WARM_UP_STEPS = 3  # before a capture, as PyTorch's manual has it


def why_not(variant: str, device: int | None) -> str | None:
    if device is not None and not torch.cuda.is_available():
        return "this PyTorch finds no CUDA device"
    return None


def prepare(problem: Problem, variant: str, device: int | None) -> Train:
    return (GraphLoop if variant == "graph" else Loop)(problem, variant, device)


class Loop:
    """Epochs of steps, each launched from Python."""

    def __init__(self, problem: Problem, variant: str, device: int | None) -> None:
        experiment = problem.experiment
        self.device = torch.device("cpu" if device is None else f"cuda:{device}")
        if device is not None:
            torch.cuda.set_device(device)
        self.rows, self.steps, self.batch_size = problem.rows, problem.steps, experiment.batch_size
        self.shuffles = problem.shuffles
        self.images = torch.from_numpy(problem.images).to(self.device)
        labels = problem.labels.astype(np.float32)[:, None] if problem.binary else problem.labels
        self.labels = torch.from_numpy(labels).to(self.device)
        self.model = _model(problem).to(self.device)
        self.first_weights = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.loss_function = nn.BCEWithLogitsLoss() if problem.binary else nn.CrossEntropyLoss()
        options = {"fused": True} if variant == "fused" else {}
        if experiment.optimizer == "adam" and self.device.type == "cuda" and variant in ("graph", "compiled"):
            options["capturable"] = True
        self.optimizer = OPTIMIZERS[experiment.optimizer](
            self.model.parameters(), lr=experiment.learning_rate, **options
        )
        self.forward: Callable[[Tensor, Tensor], Tensor] = self._forward
        self.update: Callable[[], object] = self.optimizer.step
        if variant == "compiled":
            # CUDA graphs are what makes small networks quick on a device; on a CPU there is nothing to choose.
            mode = None if device is None else "max-autotune"
            self.forward, self.update = torch.compile(self._forward, mode=mode), torch.compile(self.optimizer.step)

    def __call__(self, epochs: int, order: np.ndarray | None) -> np.ndarray:
        self.start_anew()
        losses: list[Tensor] = []
        for _ in range(epochs):
            for rows in self.order(order).split(self.batch_size):
                losses.append(self.step(rows))
        return torch.stack(losses).cpu().numpy()

    def step(self, rows: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward(self.images[rows], self.labels[rows])
        loss.backward()
        self.update()
        return loss.detach().clone()  # a compiled function may write its next result into the same memory

    @torch.no_grad()
    def start_anew(self) -> None:
        """In place, so that nothing that was compiled or captured needs to be again."""
        for parameter, first in zip(self.model.parameters(), self.first_weights, strict=True):
            parameter.copy_(first)
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def order(self, order: np.ndarray | None) -> Tensor:
        if order is not None:
            return torch.from_numpy(order).to(self.device)
        return (torch.randperm if self.shuffles else torch.arange)(self.rows, device=self.device)

    def _forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.loss_function(self.model(images), labels)


class GraphLoop(Loop):
    """An epoch is a replay for each step: the graph itself knows which rows are next."""

    def __init__(self, problem: Problem, variant: str, device: int | None) -> None:
        super().__init__(problem, variant, device)
        self.epoch_order = torch.arange(self.rows, device=self.device)
        self.losses = torch.zeros(self.steps, device=self.device)
        self.position = torch.zeros(1, dtype=torch.int64, device=self.device)  # the step within the epoch
        self.offsets = torch.arange(self.batch_size, device=self.device)  # kept, because the graphs read them
        full, short = divmod(self.rows, self.batch_size)
        self.graphs = [self._captured(self.batch_size)] * full
        if short:
            self.graphs.append(self._captured(short))

    def __call__(self, epochs: int, order: np.ndarray | None) -> np.ndarray:
        self.start_anew()
        losses: list[Tensor] = []
        for _ in range(epochs):
            self.epoch_order.copy_(self.order(order))
            self.position.zero_()
            for graph in self.graphs:
                graph.replay()
            losses.append(self.losses.clone())
        return torch.cat(losses).cpu().numpy()

    def _captured(self, batch_size: int) -> torch.cuda.CUDAGraph:
        offsets = self.offsets[:batch_size]
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self.position.zero_()
                self._next_step(offsets)
        torch.cuda.current_stream(self.device).wait_stream(side)
        self.position.zero_()
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)  # so that the graph writes gradients into memory of its own
        with torch.cuda.graph(graph):
            self._next_step(offsets)
        return graph

    def _next_step(self, offsets: Tensor) -> None:
        rows = self.epoch_order[self.position * self.batch_size + offsets]
        self.losses.index_copy_(0, self.position, self.step(rows)[None])
        self.position += 1


def _model(problem: Problem) -> nn.Sequential:
    """The network with its first weights."""
    layers: list[nn.Module] = []
    for index, (weight, bias) in enumerate(problem.weights):
        linear = nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        layers.append(linear)
        if index < len(problem.weights) - 1:
            layers.append(ACTIVATIONS[problem.experiment.activation]())
    return nn.Sequential(*layers)
