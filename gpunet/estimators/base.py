"""What classifier and regressor share: from scikit-learn's parameters and arrays to a network, a run and back."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from gpunet.errors import InputError
from gpunet.estimators.parameters import ACTIVATIONS, batch_rows, check_parameters, hidden_sizes, make_optimizer
from gpunet.estimators.stopping import Stopping
from gpunet.history import EpochReport, History
from gpunet.network import MLP
from gpunet.ops import NumpyOps
from gpunet.ops.backend import make_backend
from gpunet.optimizers import OptimizerMemory
from gpunet.training import train

try:
    from sklearn.utils.validation import validate_data
except ImportError as error:
    raise ImportError("gpunet's estimators need scikit-learn 1.6 or later: pip install -U scikit-learn") from error

PIXEL = 1 / 255  # the scale with which bytes can stay bytes until a batch of them is read
OUT_ACTIVATIONS = {"binary_cross_entropy": "logistic", "softmax_cross_entropy": "softmax", "squared_error": "identity"}
DTYPES = (np.float64, np.float32)  # what X is converted to, unless it is the second already


class MLPEstimator(BaseEstimator, metaclass=ABCMeta):
    """A multilayer perceptron, or an ensemble of them, that learns by `gpunet.train`.

    What is fitted is plain data (`coefs_`, `intercepts_` and figures), from which each prediction makes its network
    anew: so estimators are copied, pickled and shared between threads as any other of scikit-learn's.
    """

    _loss_name: str  # of the network: gpunet's
    _loss_factor: float  # gpunet's loss by the one that this estimator states
    _is_numeric = False  # whether y has to be numbers

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        dropout: float = 0.0,
        n_members: int = 1,
        pixel_scale: float = 1.0,
        backend: str = "numpy",
        device: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.n_members = n_members
        self.pixel_scale = pixel_scale
        self.backend = backend
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPEstimator:
        """Learn from rows X ``[n, n_features]`` and what they should give, y.

        sample_weight: ``[n]``, none negative: a batch's loss is the weighted mean over its rows. Rows of weight zero
        are dropped before there are batches.

        Raises `InputError`, a ValueError, for parameters and data that cannot be used, and `TrainingDiverged` when the
        loss is no longer finite.
        """
        check_parameters(self)
        X, y = self._validated(X, y)
        goes_on = self.warm_start and hasattr(self, "coefs_")
        rng = check_random_state(self.random_state)
        self._learn(X, self._learn_labels(y, goes_on), sample_weight, rng, goes_on=goes_on, epochs=self.max_iter)
        self._course = None
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> MLPEstimator:
        """One epoch over these rows; options: of `_learn_labels`."""
        check_parameters(self)
        if self.early_stopping:
            raise InputError("partial_fit takes all rows for training: set early_stopping=False")
        goes_on = hasattr(self, "coefs_")
        X, y = self._validated(X, y, reset=not goes_on)
        labels = self._learn_labels(y, goes_on, **options)
        before = self._course if goes_on else None
        memory, rng = before or (OptimizerMemory(), check_random_state(self.random_state))
        self._learn(X, labels, sample_weight, rng, goes_on=goes_on, epochs=1, memory=memory)
        self._course = memory, rng  # of one partial fit after another; a fit has none
        return self

    def _learn(
        self,
        X: np.ndarray,
        labels: np.ndarray,
        sample_weight: Any,
        rng: np.random.RandomState,
        *,
        goes_on: bool,
        epochs: int,
        memory: OptimizerMemory | None = None,
    ) -> None:
        """goes_on: with the weights that are there. memory: of the optimizer that does."""
        weights = self._row_weights(X, labels, sample_weight)
        if weights is not None:
            X, labels, weights = _without_zeros(X, labels, weights)
        network = self._new_network(X, rng, goes_on)
        train_rows, validation_rows = self._split(labels, rng)
        mean_weight, weights = (1.0, None) if weights is None else (weights[train_rows].mean(), _unless_equal(weights))
        rows = batch_rows(self.batch_size, len(train_rows))
        stopping = self._stopping(network, labels, weights, validation_rows, rows * mean_weight)
        history = train(
            network,
            self._scaled(X, network.ops.dtype),
            labels,
            train_rows,
            validation_rows,
            optimizer=make_optimizer(self, self._loss_factor),
            epochs=epochs,
            batch_size=rows,
            shuffle="each epoch" if self.shuffle else "never",
            sample_weight=weights,
            weight_penalty=self.alpha * self._loss_factor / mean_weight,
            memory=memory,
            on_epoch=stopping,
        )
        if history.interrupted:
            warnings.warn("the fit was interrupted: what was learnt so far is kept", stacklevel=3)
        elif memory is None and not stopping.has_stopped:
            text = f"the fit ended after max_iter={epochs} epochs and has not converged yet"
            warnings.warn(text, ConvergenceWarning, stacklevel=3)
        stopping.keep_best()
        self._keep(network, history, stopping, len(train_rows), goes_on)

    # What classifier and regressor have of their own

    @abstractmethod
    def _learn_labels(self, y: np.ndarray, goes_on: bool, **options: Any) -> np.ndarray:
        """What `train` takes of y, after the attributes that say what an output means are set, or, where a fit goes on,
        compared."""

    @abstractmethod
    def _outputs(self) -> int:
        """Of the network."""

    @abstractmethod
    def _class_weights(self, labels: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """The weight of each row by its label, beside its own, or None."""

    @abstractmethod
    def _score_of(self, report: EpochReport, labels: np.ndarray, weights: np.ndarray | None) -> float:
        """The score of the validation rows, whose labels and weights these are, after an epoch."""

    @abstractmethod
    def _strata(self, labels: np.ndarray) -> np.ndarray | None:
        """By what the validation rows are to be spread as all rows are."""

    # Data

    def _validated(self, X: Any, y: Any, *, reset: bool = True) -> tuple[np.ndarray, np.ndarray]:
        options = {"dtype": self._dtypes(), "multi_output": True, "y_numeric": self._is_numeric}
        return validate_data(self, on_host(X), on_host(y), reset=reset, **options)

    def _dtypes(self) -> list[type]:
        """The types that X may have; anything else becomes the first."""
        return [*DTYPES, np.uint8] if self.pixel_scale == PIXEL else [*DTYPES]

    def _scaled(self, X: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """X times pixel_scale. Bytes that are pixels stay bytes: the network reads 255 of them as 1."""
        if X.dtype == np.uint8:
            return X
        return X.astype(dtype, copy=False) if self.pixel_scale == 1 else np.multiply(X, self.pixel_scale, dtype=dtype)

    def _row_weights(self, X: np.ndarray, labels: np.ndarray, sample_weight: Any) -> np.ndarray | None:
        """float64 ``[n]``: sample weight times class weight; None where there is neither."""
        own = None
        if sample_weight is not None:
            own = _check_sample_weight(on_host(sample_weight), X, dtype=np.float64)
            if own.min() < 0:
                raise InputError(f"sample_weight must not be negative, and its least is {own.min():g}")
        by_class = self._class_weights(labels, own)
        if own is None or by_class is None:
            return by_class if own is None else own
        return own * by_class

    def _split(self, labels: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray | None]:
        """Training and validation rows; None without early stopping."""
        rows = np.arange(len(labels))
        if not self.early_stopping:
            return rows, None
        share, strata = self.validation_fraction, self._strata(labels)
        if share * len(rows) <= 1:
            raise InputError(f"validation_fraction {share} of {len(rows)} rows is too little to judge by: increase it")
        return train_test_split(rows, test_size=share, random_state=rng, stratify=strata)

    # The network

    def _new_network(self, X: np.ndarray, rng: np.random.RandomState, goes_on: bool) -> MLP:
        """A network to train: freshly drawn, or as the last fit left it."""
        sizes = (X.shape[1], *hidden_sizes(self.hidden_layer_sizes), self._outputs())
        dtype = self.coefs_[0].dtype if goes_on else X.dtype if X.dtype.kind == "f" else np.float64
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_members).tolist()
        network = self._network(sizes, seeds, dtype)
        if goes_on:
            if (self._sizes, self._members) != (network.sizes, self.n_members):
                raise InputError(
                    f"what is fitted has the layer sizes {self._members} x {list(self._sizes)} and cannot go on with "
                    f"{self.n_members} x {list(network.sizes)}: begin anew, without warm_start"
                )
            self._load(network)
        return network

    def _network(self, sizes: tuple[int, ...], seeds: list[int], dtype: Any) -> MLP:
        ops = make_backend(self.backend, self.device).ops
        if isinstance(ops, NumpyOps) and ops.dtype != dtype:
            ops = type(ops)(dtype)
        return MLP(
            sizes,
            ACTIVATIONS[self.activation],
            seeds[0] if len(seeds) == 1 else seeds,
            loss=self._loss_name,
            dropout=self.dropout,
            init="glorot",
            ops=ops,
        )

    @property
    def _members(self) -> int:
        """The networks of an ensemble that is fitted."""
        return 1 if self.coefs_[0].ndim == 2 else len(self.coefs_[0])

    @property
    def _sizes(self) -> tuple[int, ...]:
        """The layer sizes of networks that are fitted."""
        return (self.coefs_[0].shape[-2], *(weight.shape[-1] for weight in self.coefs_))

    def _load(self, network: MLP) -> None:
        """Give a network the weights in `coefs_` and `intercepts_`."""
        flat = np.zeros((network.networks, network.layout.length), network.ops.dtype)
        for (weight, bias), coefs, intercepts in zip(
            network.layout.views(flat), self.coefs_, self.intercepts_, strict=True
        ):
            weight[:], bias[:] = coefs, intercepts
        network.parameters[:] = network.ops.asarray(flat)

    def _member_outputs(self, X: Any) -> np.ndarray:
        """What each member makes of rows X: logits ``[members, n, O]``."""
        check_is_fitted(self)
        X = validate_data(self, on_host(X), dtype=self._dtypes(), reset=False)
        network = self._network(self._sizes, [0] * self._members, self.coefs_[0].dtype)
        self._load(network)
        outputs = network.logits(self._scaled(X, network.ops.dtype))
        return outputs.reshape(self._members, len(X), -1)

    # The run

    def _stopping(
        self,
        network: MLP,
        labels: np.ndarray,
        weights: np.ndarray | None,
        validation_rows: np.ndarray | None,
        rows: float,
    ) -> Stopping:
        """rows: of a batch, by their weights."""
        score = None
        if validation_rows is not None:
            own = None if weights is None else weights[validation_rows]
            score = partial(self._score_of, labels=labels[validation_rows], weights=own)
        return Stopping(
            network,
            lambda report: report.train_loss / self._loss_factor + self._penalty(network) / rows,
            score,
            tol=self.tol,
            patience=self.n_iter_no_change,
            verbose=self.verbose,
        )

    def _penalty(self, network: MLP) -> float:
        """alpha / 2 times the sum of squared weights, of an ensemble its mean."""
        if not self.alpha:
            return 0.0
        weights = (network.ops.to_host(weight).ravel() for weight, _ in network.layers)
        return self.alpha / 2 * sum(float(weight @ weight) for weight in weights) / network.networks

    def _keep(self, network: MLP, history: History, stopping: Stopping, rows: int, goes_on: bool) -> None:
        """The attributes that a fit leaves; curves and counts go on as the fit does."""
        layers = network.layout.views(network.ops.to_host(network.parameters))
        member = 0 if network.single else slice(None)
        self.coefs_ = [np.array(weight[member]) for weight, _ in layers]
        self.intercepts_ = [np.array(bias[member]) for _, bias in layers]
        self.n_layers_ = len(network.sizes)
        self.n_outputs_ = network.sizes[-1]
        self.out_activation_ = OUT_ACTIVATIONS[network.loss]
        self.n_iter_ = history.epochs
        self.t_ = history.epochs * rows + (self.t_ if goes_on else 0)
        self.loss_curve_ = [*(self.loss_curve_ if goes_on else ()), *stopping.losses]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        before = self.validation_scores_ if goes_on else None
        by_score = self.early_stopping
        self.best_loss_ = None if by_score else stopping.best_loss
        self.best_validation_score_ = stopping.best_score if by_score else None
        self.validation_scores_ = [*(before or ()), *stopping.scores] if by_score else None


def on_host(array: Any) -> Any:
    """A CuPy array as NumPy's; anything else as it is."""
    return array.get() if hasattr(array, "__cuda_array_interface__") and hasattr(array, "get") else array


def _without_zeros(*arrays: np.ndarray) -> list[np.ndarray]:
    """The rows of these arrays of which the last, the weights, is not zero. Raises `InputError` if there are none."""
    kept = arrays[-1] != 0
    if not kept.any():
        raise InputError("every row has the weight zero: give some a positive one")
    return list(arrays) if kept.all() else [array[kept] for array in arrays]


def _unless_equal(weights: np.ndarray) -> np.ndarray | None:
    """Weights that are all the same leave a weighted mean as it is."""
    return None if np.ptp(weights) == 0 else weights
