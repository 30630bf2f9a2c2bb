"""A population in JAX: vmap over the networks, scan over the steps, all of it one compiled function."""

from __future__ import annotations

import os
import time
from functools import partial

import numpy as np

from gpunet.optimizers import step_table
from population.problem import Problem, Run, Trained

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory of the device as well
import jax  # noqa: E402 (reads the variable)
import jax.numpy as jnp  # noqa: E402

jax.config.update("jax_default_matmul_precision", "highest")  # float32, where a GPU would take TF32

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def why_not(*, on_device: bool) -> str | None:
    """Why JAX cannot compute there, or None if it can."""
    if not on_device:
        jax.config.update("jax_platforms", "cpu")
    return "this JAX cannot use the GPU" if on_device and jax.default_backend() != "gpu" else None


def by_jax(problem: Problem, networks: int) -> Run:
    """Compiles for so many networks."""
    layers = [tuple(map(jnp.asarray, layer)) for layer in problem.initial_layers(networks)]
    factors = jnp.asarray(step_table(problem.optimizer, 1, problem.steps)[0, :, :2], jnp.float32)
    images, labels = jnp.asarray(problem.images, jnp.float32) / 255, jnp.asarray(problem.labels, jnp.int32)
    arguments = (layers, images, labels, jnp.asarray(problem.batches(networks)), factors)
    train = jax.jit(partial(_train, problem)).lower(*arguments).compile()

    def run() -> Trained:
        jax.block_until_ready(arguments)
        began = time.perf_counter()
        losses = np.asarray(jax.block_until_ready(train(*arguments))[1])
        return Trained(time.perf_counter() - began, losses.T)

    return run


def _train(problem: Problem, layers: list, images: jax.Array, labels: jax.Array, batches: jax.Array, factors):
    """The layers after all steps, and the losses ``[steps, P]``."""
    activation, adam = ACTIVATIONS[problem.experiment.activation], problem.optimizer

    def loss(layers: list, x: jax.Array, y: jax.Array) -> jax.Array:
        *hidden, (weight, bias) = layers
        for w, b in hidden:
            x = activation(x @ w + b)
        log_probabilities = jax.nn.log_softmax(x @ weight + bias)
        return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()

    losses_and_gradients = jax.vmap(jax.value_and_grad(loss))

    def step(state: tuple, batch: tuple) -> tuple:
        layers, m, v = state
        rows, (rate, root) = batch
        losses, gradients = losses_and_gradients(layers, images[rows], labels[rows])
        m = jax.tree.map(lambda m, g: adam.beta1 * m + (1 - adam.beta1) * g, m, gradients)
        v = jax.tree.map(lambda v, g: adam.beta2 * v + (1 - adam.beta2) * g * g, v, gradients)
        layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * root + adam.eps), layers, m, v)
        return (layers, m, v), losses

    zeros = jax.tree.map(jnp.zeros_like, layers)
    (layers, _, _), losses = jax.lax.scan(step, (layers, zeros, zeros), (batches, factors))
    return layers, losses
