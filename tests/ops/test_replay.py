"""What `CudaOps.capture` makes of a list of calls: the same launches, whether made directly or through a graph."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba.cuda")

from gpunet import MLP, Adam, train
from gpunet.kernels.launch import SIMULATOR, Launch
from gpunet.ops import cuda_ops
from gpunet.ops.cuda_ops import CudaOps
from gpunet.ops.device_memory import SimulatorMemory
from gpunet.ops.replay import Replay

RNG = np.random.default_rng(3)
IMAGES, LABELS = RNG.integers(0, 256, (5, 4), dtype=np.uint8), RNG.integers(0, 2, 5)

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered"),  # uint32 arithmetic, in the simulator
    pytest.mark.skipif(not SIMULATOR, reason="stands in for a device's graphs; tests/gpu has those themselves"),
]


class GraphMemory(SimulatorMemory):
    """The simulator with a stand-in for graphs: what it captures it keeps, and launches in one go."""

    def __init__(self, fails=False):
        super().__init__()
        self.captured, self.replayed, self.made, self.fails = [], 0, 0, fails

    def graph(self, functions):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.captured.append([function.func for function in functions])

        def replay():
            self.replayed += 1
            for function in functions:
                function()

        return replay

    def zeros(self, shape, dtype):
        self.made += 1
        return super().zeros(shape, dtype)

    def asarray(self, values, dtype):
        self.made += 1
        return super().asarray(values, dtype)


class Kernel:
    """Stands for a compiled kernel; notes each launch in `calls`."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def __getitem__(self, configuration):
        return lambda *arguments: self.calls.append((self.name, configuration, arguments))


@pytest.fixture
def memory(monkeypatch):
    made = GraphMemory()
    monkeypatch.setattr(cuda_ops, "SimulatorMemory", lambda: made)
    return made


def launches_of(*names, calls):
    return [Launch(Kernel(name, calls), (2, 1), 32, (name,)) for name in names]


def identity(launches):
    """What a launch does, for comparison: its kernel, its grid, and the memory and the numbers it is given."""

    def of(argument):
        if isinstance(argument, tuple):
            return tuple(map(of, argument))
        array = getattr(argument, "_ary", None)
        return argument if array is None else (array.ctypes.data, array.shape, array.dtype.str)

    return [(launch.kernel, launch.grid, launch.threads, of(launch.arguments)) for launch in launches]


def test_replay_makes_the_launches_in_order_whether_direct_or_captured():
    calls, memory = [], GraphMemory()
    replay = Replay(launches_of("a", "b", "a", calls=calls), memory, graphs=True, calls=3)
    expected = [(name, ((2, 1), 32, 0), (name,)) for name in ("a", "b", "a")]
    for times in (1, 2, 3):
        replay()
        assert calls == expected * times
        assert memory.replayed == times - 1  # the first is direct: these kernels have not run before
    assert len(memory.captured) == 1 and memory.captured[0] == list(replay.launches)


def test_replay_captures_at_once_where_all_kernels_have_run_and_more_calls_follow():
    calls, memory = [], GraphMemory()
    launches = launches_of("a", "b", calls=calls)
    Replay(launches[:1], memory, graphs=True, calls=1)()
    Replay(launches[1:], memory, graphs=True, calls=1)()
    Replay(launches, memory, graphs=True, calls=1)()
    assert memory.replayed == 0
    Replay(launches, memory, graphs=True, calls=2)()
    assert memory.replayed == 1 and [name for name, *_ in calls] == ["a", "b"] * 3


def test_replay_without_graphs_launches_each_time():
    calls, memory = [], GraphMemory()
    replay = Replay(launches_of("a", calls=calls), memory, graphs=False, calls=9)
    for _ in range(3):
        replay()
    assert len(calls) == 3 and not memory.captured


def test_replay_that_cannot_be_captured_says_so_once_and_launches_directly():
    calls, memory = [], GraphMemory(fails=True)
    replay = Replay(launches_of("a", "b", calls=calls), memory, graphs=True, calls=9)
    replay()
    with pytest.warns(UserWarning, match="one by one, because they cannot be captured .*not permitted") as warned:
        replay()
        replay()
    assert len(warned) == 1 and [name for name, *_ in calls] == ["a", "b"] * 3


def epoch_of(network):
    """An epoch's calls, as `train` captures them."""
    from gpunet.training_run import TrainingRun

    run = TrainingRun(network, IMAGES, LABELS, None, np.arange(2), 2, 3, "each epoch", None, None, True)
    return run.launches(Adam(0.01))


def test_capture_records_the_launches_that_are_made_directly(memory, monkeypatch):
    """One epoch: shuffle, two steps of three launches, two evaluations of two, three sums, and the counter."""
    network = MLP((4, 3, 2), seed=1, ops=CudaOps())
    epoch = epoch_of(network)
    before = network.parameters.copy()
    recorded = network.ops.capture(epoch).launches
    assert len(recorded) == 1 + 2 * 3 + 2 * 2 + 3 + 1
    np.testing.assert_array_equal(network.parameters, before)  # nothing has run
    direct = []
    monkeypatch.setattr(Launch, "__call__", lambda launch, stream=0: direct.append(launch))
    for call in epoch:
        call()
    assert identity(direct) == identity(recorded) == identity(network.ops.capture(epoch).launches)


def test_capture_trains_to_the_same_bits_and_allocates_nothing_in_an_epoch(memory, monkeypatch):
    def trained(graphs):
        network = MLP((4, 3, 2), seed=1, ops=CudaOps(graphs=graphs))
        history = train(network, IMAGES, LABELS, optimizer=Adam(0.01), epochs=3, batch_size=3, on_epoch=count)
        return network.parameters, history.step_loss

    counts = []

    def count(report):
        counts.append(memory.made)

    direct, captured = trained(False), trained(True)
    assert memory.replayed == 3 and len(memory.captured) == 1
    for ours, others in zip(direct, captured, strict=True):
        np.testing.assert_array_equal(ours, others)
    assert counts[0] == counts[1] == counts[2] and counts[3] == counts[4] == counts[5]
