"""The networks of the registry's experiments, untrained, and images for them."""

from __future__ import annotations

import pytest
from made_up import images_and_labels

from gpunet.data.dataset import Dataset
from gpunet.experiments import EXPERIMENTS
from gpunet.runs import RunConfig, make_network

EACH_EXPERIMENT = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: f"{e.task}-{e.name}")
ROUND_TRIP = 1e-5  # of the largest logit, or of 1: sums of up to 784 terms in another order
IMAGES = images_and_labels(50, 10)[0]


def network_and_names(experiment):
    """An experiment's network as a run makes it, and its classes' names."""
    names = ("4", "9") if experiment.task == "binary" else tuple("0123456789")
    images, labels = images_and_labels(20, len(names))
    config = RunConfig.from_experiment(experiment.task, experiment.name, seed=3)
    return make_network(config, Dataset(images, labels, names, "made up", "")), names
