"""How `dense_update` shares out its work: shapes of blocks, and the columns of the table that tells each what is its.

A layer's parameters are the [inputs + 1, outputs] matrix of its weights and, as the weights of one more input that is
always 1, its biases. An entry of the table says where in which layer a block begins.
"""

from collections.abc import Iterator
from typing import NamedTuple

# Columns of the table.
LAYER, FIRST_INPUT, FIRST_OUTPUT, INPUTS, OUTPUTS, X, DZ, WEIGHT, BIAS, DROPPED = range(10)
COLUMNS = 10


class Tile(NamedTuple):
    """How a block is cut up that makes a rectangle of sums: a warp's lanes lie down x across the tile, each with
    lane_inputs x lane_outputs sums, and `chunks` warps take as many chunks of rows at a time."""

    lane_inputs: int
    lane_outputs: int
    down: int
    across: int
    chunks: int

    @property
    def inputs(self) -> int:
        return self.lane_inputs * self.down

    @property
    def outputs(self) -> int:
        return self.lane_outputs * self.across

    @property
    def threads(self) -> int:
        return self.down * self.across * self.chunks

    def places(self, inputs: int, outputs: int) -> Iterator[tuple[int, int]]:
        """The first input and output of every block of a layer."""
        for i in range(0, inputs + 1, self.inputs):
            for o in range(0, outputs, self.outputs):
                yield i, o


class Run(NamedTuple):
    """How a block is cut up that takes parameters as they follow one another: thread t has number t, t + threads ...
    of them, `weights` in all."""

    threads: int
    weights: int

    def places(self, inputs: int, outputs: int) -> Iterator[tuple[int, int]]:
        """The first input and output of every block of a layer."""
        for number in range(0, (inputs + 1) * outputs, self.threads * self.weights):
            yield divmod(number, outputs)
