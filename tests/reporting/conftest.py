"""Small runs to report on: blobs that a network learns in milliseconds, and what happens to people's runs besides."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from gpunet.ops import NumpyOps
from gpunet.runs import RunConfig, RunResult, run
from gpunet.seed_runs import SeedsResult, run_seeds


def write_blobs(path, class_names, per_class=30, noise=140, seed=0):
    """An .npz of images that are their class's random pattern under noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(class_names)), per_class)
    images = rng.uniform(60, 195, (len(class_names), 784))[labels] + rng.normal(0, noise, (len(labels), 784))
    np.savez(path, dataset=np.clip(images, 0, 255).astype(np.uint8), labels=np.array(class_names)[labels])
    return str(path)


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory):
    return write_blobs(tmp_path_factory.mktemp("blobs") / "blobs.npz", list("0123456789"))


@pytest.fixture(scope="session")
def multiclass(digits_file) -> RunResult:
    result = run(RunConfig.from_experiment("multiclass", "exp1", data=digits_file, epochs=3))
    assert 0.3 < result.test.accuracy < 0.97  # some right, some wrong: else there is little to report
    return result


@pytest.fixture(scope="session")
def binary(digits_file) -> RunResult:
    """Without validation, one image a step."""
    return run(RunConfig.from_experiment("binary", "numpy", data=digits_file, epochs=2))


@pytest.fixture(scope="session")
def squared_error(digits_file) -> RunResult:
    """Without probabilities."""
    result = run(
        RunConfig.from_experiment("binary", "numpy", data=digits_file, epochs=1, loss="squared_error", init="pytorch")
    )
    assert result.test.confidence is None
    return result


@pytest.fixture(scope="session")
def interrupted(digits_file) -> RunResult:
    """Ctrl-C in the second step of the first epoch."""
    steps = iter(range(1, 1000))
    update = NumpyOps.dense_update

    def dense_update(*arguments):
        if next(steps) == 2:
            raise KeyboardInterrupt
        update(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyOps, "dense_update", dense_update)
        result = run(RunConfig.from_experiment("multiclass", "exp1", data=digits_file))
    assert result.history.interrupted and result.history.epochs == 0
    return result


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory) -> RunResult:
    """A hundred classes, most of them never predicted."""
    path = write_blobs(tmp_path_factory.mktemp("many") / "many.npz", [f"c{i}" for i in range(100)], per_class=10)
    result = run(RunConfig.from_experiment("multiclass", "base", data=path, epochs=1))
    assert (result.test.confusion_matrix.sum(axis=0) == 0).any()
    return result


@pytest.fixture(scope="session")
def awkward_names(tmp_path_factory) -> RunResult:
    """Names that are HTML, rich markup, formulas, control codes, another script, and long."""
    names = ["<script>alert(1)</script>", "[bold]x[/bold]", "$x^2$ & $y$", "\x1b[31mred", "手話", "n" * 90]
    path = write_blobs(tmp_path_factory.mktemp("awkward") / "a&b <c>.npz", names)
    return run(RunConfig.from_experiment("multiclass", "base", data=path, epochs=1))


@pytest.fixture(scope="session")
def perfect(multiclass) -> RunResult:
    """Nothing misread."""
    labels = multiclass.dataset.labels[multiclass.split.test]
    test = replace(
        multiclass.test, predictions=labels, accuracy=1.0, confusion_matrix=np.diag(np.bincount(labels, minlength=10))
    )
    return replace(multiclass, test=test)


@pytest.fixture(scope="session")
def drawn(multiclass) -> RunResult:
    """As if on the drawn hands."""
    return replace(multiclass, dataset=replace(multiclass.dataset, source="synthetic", note="Drawn, not photographed."))


@pytest.fixture(scope="session")
def like_the_report(multiclass) -> RunResult:
    """As if an unchanged experiment on the reports' own images."""
    return replace(
        multiclass,
        config=replace(multiclass.config, epochs=10),
        dataset=replace(multiclass.dataset, source="signs", note="the course reports' own file"),
    )


@pytest.fixture(scope="session")
def beyond(digits_file) -> RunResult:
    """Of an experiment that no report has, with other epochs and less dropout than it has."""
    return run(RunConfig.from_experiment("multiclass", "dropout", data=digits_file, epochs=2, dropout=0.1))


RESULTS = (
    "multiclass",
    "binary",
    "squared_error",
    "interrupted",
    "many_classes",
    "awkward_names",
    "perfect",
    "drawn",
    "like_the_report",
    "beyond",
)


@pytest.fixture(params=RESULTS)
def any_result(request) -> RunResult:
    return request.getfixturevalue(request.param)


# Runs with many seeds


@pytest.fixture(scope="session")
def seeds(digits_file) -> SeedsResult:
    """Seeds 3 to 6, the last of which is kept by request."""
    return run_seeds(RunConfig.from_experiment("multiclass", "exp1", data=digits_file, epochs=2, seed=3), 4, keep=6)


@pytest.fixture(scope="session")
def two_seeds_binary(digits_file) -> SeedsResult:
    """Without validation, as if on the drawn hands."""
    result = run_seeds(RunConfig.from_experiment("binary", "base", data=digits_file, epochs=1, limit=40), 2)
    return replace(result, dataset=replace(result.dataset, source="synthetic", note="Drawn, not photographed."))


@pytest.fixture(scope="session")
def seeds_left_out(seeds) -> SeedsResult:
    """The second network diverged, and Ctrl-C came before the last was reached; another backend had little memory."""
    population = deepcopy(seeds.population)
    population.diverged[1], population.trained[3] = True, False
    population.note = "the networks are trained 1 at a time: 4 would take 12 MB of memory, and 5 MB is free"
    missing = np.array([False, True, False, True])

    def without(part):
        nan = {name: np.where(missing.reshape(-1, *[1] * (v.ndim - 1)), np.nan, v) for name, v in vars(part).items()}
        return replace(part, **nan)

    history = replace(
        seeds.history,
        train=without(seeds.history.train),
        train_after=without(seeds.history.train_after),
        validation=without(seeds.history.validation),
        interrupted=True,
    )
    matrix = np.where(missing[:, None, None], 0, seeds.test.confusion_matrix)
    test = replace(
        seeds.test,
        loss=np.where(missing, np.nan, seeds.test.loss),
        accuracy=np.where(missing, np.nan, seeds.test.accuracy),
        confusion_matrix=matrix,
    )
    kept = replace(seeds.kept, index=0)
    return replace(seeds, population=population, history=history, test=test, kept=kept, network=population.member(0))


@pytest.fixture(scope="session")
def seeds_before_an_epoch(seeds) -> SeedsResult:
    """Ctrl-C in the first epoch of the first networks, of which one had been begun."""
    population = deepcopy(seeds.population)
    population.trained[1:] = False

    def none(curve):
        return type(curve)(curve.loss[:, :0], curve.accuracy[:, :0])

    history = seeds.history
    curves = {name: none(getattr(history, name)) for name in ("train", "train_after", "validation")}
    history = replace(history, epochs=0, interrupted=True, **curves)
    kept = replace(seeds.kept, index=0)
    return replace(seeds, population=population, history=history, kept=kept, network=population.member(0))


@pytest.fixture(scope="session")
def seeds_of_awkward_names(awkward_names) -> SeedsResult:
    return run_seeds(awkward_names.config, 2)


@pytest.fixture(scope="session")
def seeds_of_many_classes(many_classes) -> SeedsResult:
    return run_seeds(many_classes.config, 2)


@pytest.fixture(scope="session")
def seeds_beyond(beyond) -> SeedsResult:
    return run_seeds(beyond.config, 2)


SEEDS_RESULTS = (
    "seeds",
    "two_seeds_binary",
    "seeds_left_out",
    "seeds_before_an_epoch",
    "seeds_of_awkward_names",
    "seeds_of_many_classes",
    "seeds_beyond",
)


@pytest.fixture(params=SEEDS_RESULTS)
def any_seeds(request) -> SeedsResult:
    return request.getfixturevalue(request.param)
