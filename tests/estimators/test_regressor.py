"""MLPRegressor: scikit-learn's arithmetic for one target, its own for several, and where it does not run."""

from __future__ import annotations

import numpy as np
import pytest
from in_sklearn import assert_same_weights, fitted_alike, unconverged
from sentences import refused
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor as TheirRegressor
from tolerances import PARITY_FLOAT64, assert_same_bits

from gpunet import MLPRegressor, NumpyOps

RNG = np.random.default_rng(1)
X = RNG.normal(size=(70, 4))
Y = np.stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 3] - 1], axis=1)
SOLVERS = {
    "adam": {"solver": "adam", "epsilon": 1e-30},
    "sgd": {"solver": "sgd", "momentum": 0.8, "learning_rate_init": 0.05},
}


def fitted(X=X, y=Y, sample_weight=None, **parameters):
    parameters = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 3, **parameters}
    with unconverged():
        return MLPRegressor(**parameters).fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("solver", SOLVERS)
def test_regressor_trains_as_scikit_learns(solver):
    common = {"hidden_layer_sizes": (6, 5), "activation": "tanh", "alpha": 2.0, "batch_size": 20, **SOLVERS[solver]}
    others = {"nesterovs_momentum": False} if solver == "sgd" else {}
    ours, theirs = MLPRegressor(**common), TheirRegressor(**common, **others)
    fitted_alike(ours, theirs, X, Y[:, 0], epochs=4)
    assert_same_weights(ours, theirs, 1e3 * PARITY_FLOAT64)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    assert ours.out_activation_ == theirs.out_activation_ == "identity"


def test_regressor_states_scikit_learns_loss():
    """Half of the squared error, averaged over rows and targets; before the first step, so that both have it alike."""
    still = {"alpha": 0.0, "learning_rate_init": 1e-12, "epsilon": 1.0, "hidden_layer_sizes": (5,)}
    ours, theirs = fitted_alike(MLPRegressor(**still), TheirRegressor(**still), X, Y, epochs=1)
    expected = np.square(ours.predict(X) - Y).mean() / 2
    np.testing.assert_allclose([ours.loss_, theirs.loss_], expected, rtol=1e-9)


def test_regressor_with_sample_weight_trains_as_scikit_learns():
    weight = np.random.default_rng(3).uniform(0.1, 4, len(X))
    common = {"hidden_layer_sizes": (6,), "alpha": 2.0, "batch_size": len(X), "epsilon": 1e-30}
    ours, theirs = MLPRegressor(**common), TheirRegressor(**common)
    fitted_alike(ours, theirs, X, Y[:, 1], epochs=5, sample_weight=weight)
    assert_same_weights(ours, theirs, 1e3 * PARITY_FLOAT64)


def test_epsilon_is_that_of_the_stated_loss():
    """Though gpunet's own loss is twice as large.

    In the first step PyTorch's Adam moves a weight by lr g / (|g| + eps), scikit-learn's by
    lr g / (|g| + eps / sqrt(1 - beta2)).
    """
    common = {"hidden_layer_sizes": (5,), "alpha": 0.0, "batch_size": 70, "learning_rate_init": 0.1}
    ours = MLPRegressor(**common, epsilon=1e-3)
    theirs = TheirRegressor(**common, epsilon=1e-3 * np.sqrt(1 - ours.beta_2))
    fitted_alike(ours, theirs, X, Y[:, 0], epochs=1)
    assert_same_weights(ours, theirs, 1e3 * PARITY_FLOAT64)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_regressor_learns_several_targets(early_stopping):
    model = fitted(
        hidden_layer_sizes=(40,), max_iter=400, learning_rate_init=0.01, early_stopping=early_stopping, batch_size=20
    )
    assert model.predict(X).shape == (70, 2) and model.n_outputs_ == 2
    assert model.score(X, Y) > 0.9
    if early_stopping:
        assert model.best_validation_score_ == max(model.validation_scores_) <= 1


def test_validation_score_is_r2():
    """Of the rows that were left out: those of the loss, with their weights."""
    for weight in (None, np.linspace(0.2, 3, len(X))):
        for y in (Y[:, 0], Y):
            model = fitted(y=y, sample_weight=weight, early_stopping=True, max_iter=1, validation_fraction=0.4)
            _, rows = model._split(Y, after_the_seeds(0))
            own = None if weight is None else weight[rows]
            predicted = model.predict(X[rows])
            expected = r2_score(y[rows], predicted, sample_weight=own, multioutput="variance_weighted")
            assert model.best_validation_score_ == pytest.approx(expected, rel=1e-9)


def after_the_seeds(random_state):
    """The generator as `fit` has it when it chooses the validation rows."""
    rng = np.random.RandomState(random_state)
    rng.randint(np.iinfo(np.int32).max, size=1)
    return rng


def test_ensemble_averages_predictions():
    model, alone = fitted(n_members=3), fitted()
    members = []
    for member in range(3):
        alone.coefs_ = [weight[member] for weight in model.coefs_]
        alone.intercepts_ = [bias[member] for bias in model.intercepts_]
        members.append(alone.predict(X))
    np.testing.assert_allclose(model.predict(X), np.mean(members, axis=0), rtol=1e-12)


def test_partial_fits_go_on_as_one_fit_would():
    options = {"shuffle": False, "batch_size": 30, "solver": "sgd", "hidden_layer_sizes": (6,), "random_state": 0}
    model = MLPRegressor(**options)
    for _ in range(3):
        model.partial_fit(X, Y)
    assert_same_bits(model.predict(X), fitted(**options).predict(X))


def test_regressor_takes_a_column_as_one_target():
    with pytest.warns(DataConversionWarning):
        column = fitted(y=Y[:, :1])
    assert_same_bits(column.predict(X), fitted(y=Y[:, 0]).predict(X))
    assert column.predict(X).shape == (70,)


def test_regressor_computes_in_the_type_of_its_input():
    model = fitted(X.astype(np.float32))
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(np.float32)}
    np.testing.assert_allclose(model.predict(X), fitted().predict(X), rtol=1e-3, atol=1e-4)


def test_backend_jit_learns_the_same():
    pytest.importorskip("numba")
    values = X.astype(np.float32)
    one, other = fitted(values, backend="numpy"), fitted(values, backend="jit")
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-5, atol=1e-6)


def test_regressor_serves_a_search():
    with unconverged():
        search = GridSearchCV(MLPRegressor(max_iter=5, random_state=0), {"hidden_layer_sizes": [(3,), (8,)]}, cv=2)
        assert search.fit(X, Y).predict(X).shape == (70, 2)


def test_regressor_refuses_a_backend_that_learns_classes_only(monkeypatch):
    class Kernels(NumpyOps):
        name, takes_targets = "cuda", False

    monkeypatch.setattr("gpunet.estimators.base.make_backend", lambda name, device: type("", (), {"ops": Kernels()}))
    with refused("backend cuda", "numpy or jit"):
        fitted(backend="cuda")


def test_regressor_refuses_targets_that_are_no_numbers():
    with pytest.raises(ValueError, match="could not convert"):
        fitted(y=np.full(70, "a"))
