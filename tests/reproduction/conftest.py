"""Both reports reproduced on tiny data that nobody photographed, and as if on the reports' own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from listening import Listener
from made_up import images_and_labels

from gpunet.reproduction.running import Outcome, Plan, reproduce


@pytest.fixture(scope="session")
def digits_path(tmp_path_factory) -> str:
    """200 images, 20 of each digit."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    images, labels = images_and_labels(200, classes=10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return str(path)


@pytest.fixture(scope="session")
def listener() -> Listener:
    """That of `outcome`."""
    return Listener()


@pytest.fixture(scope="session")
def outcome(digits_path, listener) -> Outcome:
    """Seeds 5 to 7."""
    return reproduce(Plan(data=digits_path, seeds=3, first_seed=5), listener)


@pytest.fixture(scope="session")
def on_signs(outcome) -> Outcome:
    """As if on the reports' own images."""

    def signs(dataset):
        return replace(dataset, source="signs", note="the course reports' own file")

    results = {each: replace(result, dataset=signs(result.dataset)) for each, result in outcome.results.items()}
    return replace(outcome, dataset=signs(outcome.dataset), results=results)
