"""The estimate of memory against what training really takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet import MLP, SGD, Adam, NumpyOps, train
from gpunet.footprint import training_footprint
from gpunet.parameters import ParameterLayout


class GatheringOps(NumpyOps):
    """As a backend whose kernels gather as they read."""

    def gather_buffers(self, networks, rows, inputs):
        return None, None


@pytest.mark.parametrize(
    ("sizes", "optimizer", "dropout", "batch_size", "weighted"),
    [
        ((300, 64, 10), Adam(), 0.0, 100, False),
        ((300, 10), SGD(), 0.0, 16, False),
        ((300, 10), SGD(), 0.0, 16, True),
        ((300, 40, 30, 1), Adam(), 0.3, 1300, False),
    ],
)
def test_footprint_is_an_upper_bound_and_not_far_off(sizes, optimizer, dropout, batch_size, weighted):
    images, labels = images_and_labels(1500, max(2, sizes[-1]), sizes[0])
    networks, ops = 3, NumpyOps()
    arguments = {"epochs": 2, "batch_size": batch_size, "evaluate_training": True}
    run = {"optimizer": optimizer, "sample_weight": np.ones(len(images)) if weighted else None, **arguments}
    tracemalloc.start()
    try:
        network = MLP(sizes, seed=range(networks), dropout=dropout, ops=ops)
        train(network, images, labels, np.arange(1300), np.arange(1300, 1500), **run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rows = {"train_rows": 1300, "validation_rows": 200, "weighted": weighted}
    footprint = training_footprint(ops, ParameterLayout(sizes), **rows, **arguments)
    taken = (peak - images.nbytes) / networks
    assert 0.9 * taken < footprint.run < 2 * taken
    assert footprint.step <= footprint.run


def test_footprint_counts_no_batches_where_kernels_gather():
    layout = ParameterLayout((784, 10))
    arguments = {"train_rows": 1000, "epochs": 1, "batch_size": 100}
    gathered = training_footprint(NumpyOps(), layout, **arguments).step
    assert gathered - training_footprint(GatheringOps(), layout, **arguments).step == 100 * 784 * 5


def test_footprint_counts_the_best_weights_that_early_stopping_keeps():
    layout, ops = ParameterLayout((300, 10)), NumpyOps()
    arguments = {"train_rows": 100, "validation_rows": 10, "epochs": 2, "batch_size": 10}
    without, kept = (training_footprint(ops, layout, keeps_best=keeps, **arguments) for keeps in (False, True))
    assert (kept.step, kept.run) == (without.step, without.run + 4 * layout.length)
