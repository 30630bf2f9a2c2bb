"""MLPClassifier: scikit-learn's arithmetic, its company, and what gpunet adds."""

from __future__ import annotations

import io
import os
import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from in_sklearn import assert_same_weights, fitted_alike, unconverged
from made_up import images_and_labels
from sentences import refused
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tolerances import PARITY_FLOAT64, assert_same_bits, eps

from gpunet import MLPClassifier, TrainingDiverged
from gpunet.ops.backend import SIMULATOR_VARIABLE

INPUTS = 12
IMAGES, LABELS = images_and_labels(90, 3, INPUTS)
X = IMAGES / 255
SOLVERS = {
    "adam": {"solver": "adam", "epsilon": 1e-30},  # where epsilon is added is the one thing that differs
    "sgd": {"solver": "sgd", "momentum": 0.8, "learning_rate_init": 0.1},
}


def small(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 3, **parameters})


def fitted(X=X, y=LABELS, sample_weight=None, **parameters):
    with unconverged():
        return small(**parameters).fit(X, y, sample_weight=sample_weight)


def weights_of(model):
    return np.concatenate([array.ravel() for array in model.coefs_ + model.intercepts_])


# The arithmetic is scikit-learn's


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("activation", ["logistic", "relu"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_classifier_trains_as_scikit_learns(solver, activation, classes):
    """alpha is large enough to show, and the last batch short, in which it weighs more."""
    common = {"hidden_layer_sizes": (6, 4), "activation": activation, "alpha": 2.0, "batch_size": 13}
    ours = MLPClassifier(**common, **SOLVERS[solver])
    others = {"nesterovs_momentum": False} if solver == "sgd" else {}
    theirs = TheirClassifier(**common, **SOLVERS[solver], **others)
    rows = np.flatnonzero(LABELS < classes)
    names = np.array(["no", "perhaps", "yes"])[LABELS[rows]]
    fitted_alike(ours, theirs, X[rows], names, epochs=4)
    assert_same_weights(ours, theirs, 1e3 * PARITY_FLOAT64)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_iter_", "n_features_in_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


def test_classifier_with_sample_weight_trains_as_scikit_learns():
    """In whole batches: in others, the penalty is divided by what a batch of this size weighs on average."""
    weight = np.random.default_rng(3).uniform(0.1, 4, len(X))
    common = {"hidden_layer_sizes": (6,), "alpha": 2.0, "batch_size": len(X), "epsilon": 1e-30}
    ours, theirs = MLPClassifier(**common), TheirClassifier(**common)
    fitted_alike(ours, theirs, X, LABELS, epochs=5, sample_weight=weight)
    assert_same_weights(ours, theirs, 1e3 * PARITY_FLOAT64)


def test_classifier_stops_where_scikit_learns_stops():
    common = {"hidden_layer_sizes": (4,), "alpha": 0.0, "epsilon": 1e-30, "batch_size": 30}
    ours, theirs = MLPClassifier(**common), TheirClassifier(**common)
    with unconverged():
        fitted_alike(ours, theirs, X, LABELS, epochs=1)
        for model in (ours, theirs):
            model.set_params(tol=2e-3, n_iter_no_change=4, max_iter=300, learning_rate_init=0.02).fit(X, LABELS)
    assert 5 < ours.n_iter_ == theirs.n_iter_ < 300
    curve = theirs.loss_curve_[1:]  # what came before had other weights
    np.testing.assert_allclose(ours.loss_curve_[1:], curve, rtol=1e-9)
    np.testing.assert_allclose([ours.loss_, ours.best_loss_], [curve[-1], min(curve[1:])], rtol=1e-9)


def test_loss_has_the_penalty_in_it():
    """With weights that hardly move, it is the data's loss and alpha / 2 * sum of w^2 / rows of a batch."""
    still = {"learning_rate_init": 1e-12, "max_iter": 1, "batch_size": 45}
    without, model = fitted(alpha=0.0, **still), fitted(alpha=3.0, **still)
    penalty = 1.5 * sum(np.square(weight).sum() for weight in model.coefs_) / 45
    assert model.loss_ == pytest.approx(without.loss_ + penalty, rel=1e-9)


# Weights of rows and classes


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    kept = weight > 0
    with_zeros, without = fitted(sample_weight=weight), fitted(X[kept], LABELS[kept], sample_weight=weight[kept])
    assert_same_bits(weights_of(with_zeros), weights_of(without))


def test_class_weight_is_a_sample_weight_by_class():
    by_class = fitted(class_weight={0: 1, 1: 3, 2: 0.5})
    assert_same_bits(weights_of(by_class), weights_of(fitted(sample_weight=np.array([1, 3, 0.5])[LABELS])))
    assert (weights_of(by_class) != weights_of(fitted())).any()


def test_class_weight_balanced_gives_all_classes_the_same_say():
    rows = np.flatnonzero((LABELS == 0) | (np.arange(len(LABELS)) % 3 == 0))
    counts = np.bincount(LABELS[rows])
    expected = (len(rows) / (3 * counts))[LABELS[rows]]
    model = fitted(X[rows], LABELS[rows], class_weight="balanced")
    assert_same_bits(weights_of(model), weights_of(fitted(X[rows], LABELS[rows], sample_weight=expected)))
    # Two of a row are a row of weight two.
    weight = 1 + (np.arange(len(rows)) % 2)
    twice = np.repeat(rows, weight)
    weighted = fitted(X[rows], LABELS[rows], weight, class_weight="balanced", shuffle=False)
    repeated = fitted(X[twice], LABELS[twice], class_weight="balanced", shuffle=False)
    np.testing.assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-9)


def test_weights_that_are_all_the_same_change_nothing_without_a_penalty():
    assert_same_bits(weights_of(fitted(alpha=0.0, sample_weight=np.full(90, 7.0))), weights_of(fitted(alpha=0.0)))


# What X may be


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (X, np.float64),
        (X.astype(np.float32), np.float32),
        (X.astype(np.float16), np.float64),
        (IMAGES, np.float64),
        (IMAGES.astype(int), np.float64),
    ],
)
def test_classifier_computes_in_the_type_of_its_input(values, dtype):
    model = fitted(values, batch_size=40)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(dtype)}
    assert model.predict_proba(values).shape == (90, 3)


def test_pixel_scale_is_what_it_is_told():
    """By 255ths of bytes, of floats, or by hand: the same network. And no byte is scaled by itself."""
    by_hand = fitted()
    for values in (IMAGES, IMAGES.astype(float), IMAGES.astype(int)):
        model = fitted(values, pixel_scale=1 / 255)
        np.testing.assert_allclose(weights_of(model), weights_of(by_hand), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(model.predict_proba(values), by_hand.predict_proba(X), rtol=1e-9)
    assert_same_bits(weights_of(fitted(IMAGES)), weights_of(fitted(IMAGES.astype(float))))
    assert_same_bits(weights_of(fitted(IMAGES, pixel_scale=0.5)), weights_of(fitted(IMAGES * 0.5)))


def test_bytes_stay_bytes_where_they_are_pixels(monkeypatch):
    seen = []
    monkeypatch.setattr("gpunet.estimators.base.train", lambda network, images, *_, **__: seen.append(images) or 1 / 0)
    for values, parameters in ((IMAGES, {"pixel_scale": 1 / 255}), (IMAGES, {})):
        with pytest.raises(ZeroDivisionError):
            small(**parameters).fit(values, LABELS)
    assert [images.dtype for images in seen] == [np.uint8, np.float64]


def test_arrays_on_a_device_are_fetched():
    def on_device(array):
        return SimpleNamespace(__cuda_array_interface__={}, get=lambda: array)

    weight = np.linspace(0.5, 2, len(X))
    model = fitted(on_device(X), on_device(LABELS), sample_weight=on_device(weight))
    expected = fitted(sample_weight=weight)
    assert_same_bits(weights_of(model), weights_of(expected))
    assert_same_bits(model.predict_proba(on_device(X)), expected.predict_proba(X))


def test_feature_names_are_kept():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel {i}" for i in range(INPUTS)])
    model = fitted(frame, pandas.Series(LABELS).map({0: "a", 1: "b", 2: "c"}))
    assert model.feature_names_in_.tolist() == list(frame.columns) and model.classes_.tolist() == ["a", "b", "c"]
    assert_same_bits(weights_of(model), weights_of(fitted()))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


# Predictions


def test_predict_proba_and_its_logarithm_agree():
    for y in (LABELS, LABELS > 0):
        model = fitted(y=y, n_members=2)
        p, log_p = model.predict_proba(X), model.predict_log_proba(X)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=4 * eps(np.float64))
        np.testing.assert_allclose(log_p, np.log(p), rtol=1e-12)
        np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])


def test_predict_log_proba_is_finite_where_probabilities_are_zero():
    model = fitted(hidden_layer_sizes=())
    model.coefs_[0] *= 1e4
    assert (model.predict_proba(X) == 0).any()
    assert np.isfinite(model.predict_log_proba(X)).all()


# Ensembles


def test_ensemble_averages_the_probabilities_of_its_members():
    model = fitted(n_members=3)
    assert [weight.shape for weight in model.coefs_] == [(3, INPUTS, 5), (3, 5, 3)]
    assert [bias.shape for bias in model.intercepts_] == [(3, 5), (3, 3)]
    alone = fitted()  # random_state gives the first member its seed
    for of_all, own in zip(model.coefs_ + model.intercepts_, alone.coefs_ + alone.intercepts_, strict=True):
        assert_same_bits(of_all[0], own)
    members = []
    for member in range(3):
        alone.coefs_ = [weight[member] for weight in model.coefs_]
        alone.intercepts_ = [bias[member] for bias in model.intercepts_]
        members.append(alone.predict_proba(X))
    assert (members[0] != members[1]).all()
    np.testing.assert_allclose(model.predict_proba(X), np.mean(members, axis=0), rtol=4 * eps(np.float64))


# How a fit ends


def test_early_stopping_keeps_the_best_weights():
    options = {"early_stopping": True, "validation_fraction": 0.3, "learning_rate_init": 0.02, "n_iter_no_change": 3}
    model = fitted(**options, max_iter=100)
    assert model.n_iter_ < 100 and len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_) and model.best_loss_ is None
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best < model.n_iter_
    until_then = fitted(**options | {"n_iter_no_change": 100}, max_iter=best)
    assert_same_bits(weights_of(model), weights_of(until_then))
    assert model.t_ == 63 * model.n_iter_


def test_fit_warns_that_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        small().fit(X, LABELS)


def test_fit_keeps_what_it_has_learnt_when_it_is_interrupted(monkeypatch):
    def interrupted(stopping, report):
        stopping.losses.append(report.train_loss)
        if report.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("gpunet.estimators.stopping.Stopping.__call__", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = small(max_iter=9).fit(X, LABELS)
    assert model.n_iter_ == 2 and model.predict(X).shape == (90,)


def test_verbose_prints_each_epoch(capsys):
    fitted(verbose=True, early_stopping=True)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed[::2]] == ["Iteration 1", "Iteration 2", "Iteration 3"]
    assert all(line.startswith("Validation score: ") for line in printed[1::2])


def test_warm_start_goes_on():
    model = fitted(solver="sgd", momentum=0.0, shuffle=False, warm_start=True)
    first = weights_of(model)
    with unconverged():
        model.fit(X, LABELS)
    assert (weights_of(model) != first).any()
    assert_same_bits(weights_of(model), weights_of(fitted(solver="sgd", momentum=0.0, shuffle=False, max_iter=6)))
    assert (model.n_iter_, len(model.loss_curve_), model.t_) == (3, 6, 6 * 90)


def test_partial_fits_go_on_as_one_fit_would():
    """Adam's moments and bias corrections with them, through a copy as well."""
    options = {"shuffle": False, "batch_size": 40, "alpha": 0.1}
    model = small(**options)
    for _ in range(3):
        model = pickle.loads(pickle.dumps(model.partial_fit(X, LABELS)))
    expected = fitted(**options)
    assert_same_bits(weights_of(model), weights_of(expected))
    assert (model.n_iter_, model.t_) == (1, 270)
    np.testing.assert_array_equal(model.loss_curve_, expected.loss_curve_)


def test_partial_fits_have_orders_of_their_own():
    model, other = small(batch_size=40), small(batch_size=40)
    for _ in range(2):
        model.partial_fit(X, LABELS)
    other.partial_fit(X, LABELS)
    first = other.loss_
    other._course[1].randint(2, size=99)  # another order, and so another loss, in the second epoch alone
    other.partial_fit(X, LABELS)
    assert model.loss_curve_[0] == first and model.loss_curve_[1] != other.loss_curve_[1]


def test_partial_fit_needs_to_be_told_of_classes_it_does_not_see():
    of_two = LABELS < 2
    model = small().partial_fit(X[of_two], LABELS[of_two], classes=[0, 1, 2]).partial_fit(X[:1], LABELS[:1])
    assert model.predict_proba(X).shape == (90, 3)
    untold = small().partial_fit(X[of_two], LABELS[of_two])
    with refused("[0, 1]", "[0, 1, 2]"):
        untold.partial_fit(X, LABELS)
    with refused("not among", "[0, 1]"):
        small().partial_fit(X, LABELS, classes=[0, 1])
    with refused("early_stopping"):
        small(early_stopping=True).partial_fit(X, LABELS)


def test_partial_fit_keeps_the_type_of_its_weights():
    model = small().partial_fit(X.astype(np.float32), LABELS).partial_fit(X, LABELS)
    assert model.coefs_[0].dtype == np.float32


# Its company


def test_classifier_keeps_scikit_learns_company():
    with unconverged():
        pipeline = make_pipeline(StandardScaler(), small(learning_rate_init=0.03, max_iter=30))
        assert cross_val_score(pipeline, X, LABELS, cv=3).min() > 0.8
        search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e4]}, cv=2).fit(X, LABELS)
        assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
        calibrated = CalibratedClassifierCV(small(n_members=2, max_iter=20, learning_rate_init=0.03), cv=2)
        assert calibrated.fit(X, LABELS).score(X, LABELS) > 0.8


def test_classifier_is_copied_and_stored():
    model = fitted(pixel_scale=1 / 255, n_members=2)
    file = io.BytesIO()
    joblib.dump(model, file)
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(file)):
        assert copy.get_params() == model.get_params()
        assert_same_bits(copy.predict_proba(IMAGES), model.predict_proba(IMAGES))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params() and not hasattr(fresh, "coefs_")


def test_backend_jit_learns_the_same():
    pytest.importorskip("numba")
    values = X.astype(np.float32)
    for_both = {"dropout": 0.2, "sample_weight": np.linspace(1, 2, len(X))}
    one, other = fitted(values, backend="numpy", **for_both), fitted(values, backend="jit", **for_both)
    np.testing.assert_allclose(weights_of(one), weights_of(other), rtol=0, atol=1e-5)


def test_the_kernels_learn_the_same(monkeypatch):
    """On a device, or where there is none in the simulator, with tiles of few threads: in float32 whatever X is."""
    dense_forward = pytest.importorskip("gpunet.kernels.dense_forward")
    backend = "cuda"
    if os.environ.get(SIMULATOR_VARIABLE) == "1":
        tile = dense_forward.Tile(rows=4, columns=4, thread_rows=2, thread_columns=2, slices=2, depth=8)
        monkeypatch.setattr(dense_forward, "VARIANTS", dict.fromkeys(dense_forward.VARIANTS, tile))
        backend = "sim"
    rows = np.flatnonzero(LABELS < 2)[:8]
    common = {"hidden_layer_sizes": 2, "batch_size": 6, "max_iter": 1, "n_members": 2, "alpha": 0.5, "shuffle": False}
    common |= {"early_stopping": True, "validation_fraction": 0.25}
    values, weight = X[rows, -3:], 1.0 + rows % 3
    one = fitted(values.astype(np.float32), LABELS[rows], weight, **common)
    other = fitted(values, LABELS[rows], weight, backend=backend, **common)
    assert other.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(weights_of(other), weights_of(one), rtol=0, atol=1e-5)
    np.testing.assert_allclose(other.predict_proba(values), one.predict_proba(values), rtol=1e-4)
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-4)
    assert other.validation_scores_ == one.validation_scores_


# What is refused


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"activation": "gelu"}, ["activation", "'gelu'", "logistic"]),
        ({"solver": "lbfgs"}, ["solver", "'lbfgs'", "adam, sgd"]),
        ({"alpha": -1}, ["alpha", "-1"]),
        ({"alpha": np.nan}, ["alpha", "nan"]),
        ({"tol": "small"}, ["tol", "'small'"]),
        ({"batch_size": 0}, ["batch_size", "'auto'", "0"]),
        ({"batch_size": "all"}, ["batch_size", "'all'"]),
        ({"learning_rate_init": 0}, ["learning_rate_init", "positive"]),
        ({"max_iter": 2.5}, ["max_iter", "2.5"]),
        ({"n_members": 0}, ["n_members", "0"]),
        ({"n_iter_no_change": True}, ["n_iter_no_change", "True"]),
        ({"pixel_scale": None}, ["pixel_scale", "None"]),
        ({"momentum": 1.5}, ["momentum", "1.5"]),
        ({"validation_fraction": 1.0}, ["validation_fraction", "1.0"]),
        ({"hidden_layer_sizes": (5, 0)}, ["hidden_layer_sizes", "(5, 0)"]),
        ({"hidden_layer_sizes": None}, ["hidden_layer_sizes", "None"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"beta_1": 1.0}, ["beta1", "1.0"]),
        ({"backend": "tpu"}, ["backend", "'tpu'"]),
        ({"early_stopping": True, "validation_fraction": 1e-9}, ["validation_fraction", "increase"]),
    ],
)
def test_classifier_refuses_parameters(parameters, words):
    with refused(*words):
        small(**parameters).fit(X, LABELS)


@pytest.mark.parametrize("sizes", [4, (4,), [4], np.array([4]), np.int64(4)])
def test_hidden_layer_sizes_may_be_a_number_or_a_sequence(sizes):
    assert [weight.shape for weight in fitted(hidden_layer_sizes=sizes).coefs_] == [(INPUTS, 4), (4, 3)]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.eye(3)[LABELS], ["multilabel-indicator", "each column"]),
        (np.stack([LABELS, LABELS], axis=1), ["multiclass-multioutput"]),
        (np.zeros(90, int), ["1 class only", "[0]", "two"]),
    ],
)
def test_classifier_refuses_labels(y, words):
    with refused(*words):
        small().fit(X, y)


def test_classifier_refuses_weights():
    with refused("sample_weight", "negative", "-1"):
        small().fit(X, LABELS, sample_weight=np.full(90, -1.0))
    with refused("weight zero", "positive"):
        small(class_weight={0: 0, 1: 1, 2: 1}).fit(X, LABELS, sample_weight=LABELS == 0)


def test_classifier_refuses_sparse_data():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="dense"):
        small().fit(scipy_sparse.csr_matrix(X), LABELS)


def test_warm_start_refuses_another_network_and_other_classes():
    model = fitted(warm_start=True)
    with refused("classes", "[0, 1, 2]", "[1, 2, 3]"):
        model.fit(X, LABELS + 1)
    with refused("without warm_start", "[12, 5, 3]", "[12, 6, 3]"):
        model.set_params(hidden_layer_sizes=6).fit(X, LABELS)


def test_classifier_says_that_it_diverged():
    with pytest.raises(TrainingDiverged, match="smaller learning rate"):
        small(solver="sgd", learning_rate_init=1e30, max_iter=50, batch_size=10).fit(X, LABELS)
