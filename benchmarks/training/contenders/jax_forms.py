"""JAX: the network, its losses and Adam written in jax.numpy, an epoch as one compiled lax.scan over its batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training.contenders.problem import Problem, Train

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "identity": lambda z: z}
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

Parameters = list[tuple[Any, Any]]  # weight [I, O] and bias [O] of each layer
State = tuple[Parameters, Parameters, Parameters, Any]  # parameters, both moments, updates made so far

jax.config.update("jax_default_matmul_precision", "highest")  # float32 products in float32 on every device


def why_not(variant: str, device: int | None) -> str | None:
    if device is not None and jax.default_backend() != "gpu":
        return "this JAX finds no CUDA device"
    return None


def prepare(problem: Problem, variant: str, device: int | None) -> Train:
    experiment = problem.experiment
    place = jax.devices("cpu")[0] if device is None else jax.devices("gpu")[device]
    images, labels = (jax.device_put(array, place) for array in (problem.images, problem.labels))
    update = {"adam": adam, "sgd": sgd}[experiment.optimizer]
    batch_size = experiment.batch_size
    whole = problem.rows // batch_size * batch_size

    @jax.jit
    def epoch(images: Any, labels: Any, state: State, order: Any) -> tuple[State, Any]:
        def step(state: State, rows: Any) -> tuple[State, Any]:
            loss, gradients = jax.value_and_grad(mean_loss)(state[0], images[rows], labels[rows], experiment.activation)
            return update(state, gradients, experiment.learning_rate), loss

        state, losses = jax.lax.scan(step, state, order[:whole].reshape(-1, batch_size))
        if whole < problem.rows:
            state, last = step(state, order[whole:])
            losses = jnp.append(losses, last)
        return state, losses

    @jax.jit
    def shuffled(key: Any) -> Any:
        return jax.random.permutation(key, problem.rows)

    if problem.shuffles:
        shuffled(jax.random.key(0))  # so that its compilation counts with that of everything else

    def run(epochs: int, order: np.ndarray | None) -> np.ndarray:
        first = jax.device_put(problem.weights, place)
        state = (first, jax.tree.map(jnp.zeros_like, first), jax.tree.map(jnp.zeros_like, first), jnp.int32(0))
        if order is None and not problem.shuffles:
            order = np.arange(problem.rows)
        keys = jax.random.split(jax.random.key(0), epochs)
        fixed = None if order is None else jax.device_put(order, place)
        losses = []
        for key in keys:
            state, each = epoch(images, labels, state, shuffled(key) if fixed is None else fixed)
            losses.append(each)
        return np.concatenate(jax.device_get(losses))

    return run


def mean_loss(parameters: Parameters, x: Any, labels: Any, activation: str) -> Any:
    """Of a batch: softmax cross-entropy, or binary cross-entropy where there is one output."""
    *hidden, (weight, bias) = parameters
    for each_weight, each_bias in hidden:
        x = ACTIVATIONS[activation](x @ each_weight + each_bias)
    logits = x @ weight + bias
    if logits.shape[1] == 1:
        z = logits[:, 0]
        return jnp.mean(jax.nn.softplus(z) - labels * z)
    picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def adam(state: State, gradients: Parameters, learning_rate: float) -> State:
    """Kingma & Ba, 2015, algorithm 1. 1 - beta^t by expm1, since beta rounded to float32 is off by more than eps."""
    parameters, m, v, updates = state
    t = updates + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
    m_share, v_share = (-jnp.expm1(t * float(np.log(beta))) for beta in (BETA1, BETA2))
    parameters = jax.tree.map(
        lambda w, m, v: w - learning_rate * (m / m_share) / (jnp.sqrt(v / v_share) + EPS), parameters, m, v
    )
    return parameters, m, v, t


def sgd(state: State, gradients: Parameters, learning_rate: float) -> State:
    parameters, m, v, updates = state
    return jax.tree.map(lambda w, g: w - learning_rate * g, parameters, gradients), m, v, updates + 1
