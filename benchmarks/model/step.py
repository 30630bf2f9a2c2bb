"""A model of a training step on a device: the least time that its operations, bytes and launches take.

Everything is counted from the shapes. A step is its kernels one after another (a hidden layer's forward passes, the
head, the layers between backwards, the update), each of all P networks. A kernel takes as long as the longest of

    operations      of its matrix products, at the float32 peak
    memory          of what comes from memory, at the data sheet's bandwidth
    L2              of all that it has to read once and write once, at the L2 cache's bandwidth

and a node of a CUDA graph before it. From memory come the parameters and Adam's moments, unless everything that a step
of all networks touches fits the L2 cache together with the training images: then nothing does. Between two uses of a
parameter lies the whole rest of the step, and what a cache keeps of such a round is the less, the larger the round; the
model takes it for nothing. Images and activations, which are used again soon, count as L2 traffic alone.

No device does all of it at once at its peak: latency, barriers, and tiles that read the same data again come on top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from device_clock import CEILINGS, Ceiling
from operations.case import FLOAT, Case
from operations.layers import DenseBackward, DenseForward, DenseHead
from operations.parameters import UPDATE_FLOATS, DenseUpdate

from gpunet.parameters import ParameterLayout

STATE_FLOATS = 3  # of a weight: itself and Adam's moments


class Limits(NamedTuple):
    """What a device can do at most. l2_bytes: the cache's size. l2_bandwidth: bytes a second. copy_bandwidth: of
    memory, as a copy reached it, or None. node_us: of a node in a CUDA graph, microseconds."""

    ceiling: Ceiling
    l2_bytes: float
    l2_bandwidth: float
    copy_bandwidth: float | None
    node_us: float


# Sizes from NVIDIA's data sheets, as the ceilings. L2 bandwidths were measured by others: a T4's by Jia et al.
# ("Dissecting the NVidia Turing T4 GPU via microbenchmarking", 2019), an H100's by the authors of XLA, for its cost
# model; an H200 has the same chip. Others also measured the copy, and a node's cost: 1.1 to 1.3 us, of which the
# smaller counts here, and not on each of these devices.
NODE_US = 1.1
LIMITS = {
    "Tesla T4": Limits(CEILINGS["Tesla T4"], 4e6, 1.27e12, None, NODE_US),
    "NVIDIA H100 80GB HBM3": Limits(CEILINGS["NVIDIA H100 80GB HBM3"], 50e6, 6.65e12, 3.0e12, NODE_US),
    "NVIDIA H200": Limits(CEILINGS["NVIDIA H200"], 50e6, 6.65e12, None, NODE_US),
}
SHORT_NAMES = {"Tesla T4": "T4", "NVIDIA H100 80GB HBM3": "H100", "NVIDIA H200": "H200"}


@dataclass(frozen=True)
class Kernel:
    """One launch, counted for one network. flops: of its matrix products. bytes: read once and written once.
    parameter_bytes: those of them that are parameters and moments."""

    name: str
    flops: int
    bytes: int
    parameter_bytes: int

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes


class Floor(NamedTuple):
    """Microseconds of one launch or of a step: what each limit asks for by itself, and what all ask for together."""

    flops: float
    memory: float
    l2: float
    launches: float
    together: float


@dataclass(frozen=True)
class StepModel:
    """A step of networks with one hidden layer or more, trained by Adam on bytes.

    sizes: of the layers. rows: B. training_rows: of the data set, from which batches are gathered.
    """

    sizes: tuple[int, ...]
    rows: int
    training_rows: int

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        sizes, rows, layout = self.sizes, self.rows, ParameterLayout(self.sizes)
        pairs = list(zip(sizes, sizes[1:], strict=False))
        hidden, (inputs, outputs) = pairs[:-1], pairs[-1]
        kernels = []
        for index, layer in enumerate(hidden):
            kernels.append(_kernel(DenseForward(rows, *layer, gathered=index == 0), 1, (layer[0] + 1) * layer[1]))
        kernels.append(_kernel(DenseHead(rows, inputs, outputs), 2, (inputs + 1) * outputs))
        for layer in reversed(hidden[1:]):
            kernels.append(_kernel(DenseBackward(rows, *layer), 1, math.prod(layer)))
        update = DenseUpdate(sizes, rows)
        flops = 2 * rows * sum(map(math.prod, pairs))
        return (*kernels, Kernel(update.kernel, flops, update.bytes, FLOAT * UPDATE_FLOATS["adam"] * layout.count))

    @property
    def whole(self) -> Kernel:
        """The step as if it were one kernel."""
        counts = ((kernel.flops, kernel.bytes, kernel.parameter_bytes) for kernel in self.kernels)
        return Kernel("step", *map(sum, zip(*counts, strict=True)))

    def working_set(self, networks: int) -> int:
        """Bytes that a step of all networks touches or may touch: parameters and moments, activations and gradients,
        and the training images, which all share."""
        units = sum(self.sizes[1:])
        activations = FLOAT * self.rows * 2 * units
        state = FLOAT * STATE_FLOATS * ParameterLayout(self.sizes).length
        return networks * (state + activations) + self.training_rows * self.sizes[0]

    def memory_bytes(self, kernel: Kernel, networks: int, limits: Limits) -> int:
        """What a kernel of all networks, or the whole step, moves from and to memory."""
        return 0 if self.working_set(networks) <= limits.l2_bytes else networks * kernel.parameter_bytes

    def kernel_floor(self, kernel: Kernel, networks: int, limits: Limits) -> Floor:
        flops = 1e6 * networks * kernel.flops / limits.ceiling.flops
        memory = 1e6 * self.memory_bytes(kernel, networks, limits) / limits.ceiling.bandwidth
        l2 = 1e6 * networks * kernel.bytes / limits.l2_bandwidth
        return Floor(flops, memory, l2, limits.node_us, max(flops, memory, l2) + limits.node_us)

    def floor(self, networks: int, limits: Limits) -> Floor:
        """Of a whole step."""
        floors = [self.kernel_floor(kernel, networks, limits) for kernel in self.kernels]
        return Floor(*map(sum, zip(*floors, strict=True)))

    def copy_us(self, networks: int, limits: Limits) -> float | None:
        """A step's bytes from memory at the speed of a copy, where that is known."""
        if limits.copy_bandwidth is None:
            return None
        return 1e6 * self.memory_bytes(self.whole, networks, limits) / limits.copy_bandwidth


def largest_in_l2(model: StepModel, limits: Limits) -> int:
    """The most networks of which a step touches no memory; 0 if not even one."""
    alone = model.working_set(1) - model.working_set(0)
    return max(0, int(limits.l2_bytes - model.working_set(0)) // alone)


def _kernel(case: Case, products: int, parameters: int) -> Kernel:
    """products: how many, each of the case's size. parameters: read."""
    return Kernel(case.kernel, 2 * products * case.largest_product, case.bytes, FLOAT * parameters)
