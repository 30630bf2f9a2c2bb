"""What a layer does besides its products, as compiled loops: one pass over memory each, for one network, and
`NumpyOps`'s bits.

B rows, I inputs, O outputs.
"""

from __future__ import annotations

from gpunet.ops.jit_compile import loop


@loop
def gather(images, labels, rows, scale, x, y):
    """x = images[rows] * scale and y = labels[rows]. images: ``[N, I]``. rows: ``[B]``. x: ``[B, I]``."""
    kind = x.dtype.type
    scale = kind(scale)
    for b in range(len(rows)):
        row = rows[b]
        for i in range(x.shape[1]):
            x[b, i] = kind(images[row, i]) * scale
        y[b] = labels[row]


@loop
def add_bias(z, bias):
    """z += bias. z: ``[B, O]``. bias: ``[O]``."""
    for b in range(z.shape[0]):
        for o in range(z.shape[1]):
            z[b, o] += bias[o]


@loop
def add_bias_relu(z, bias):
    """z = max(z + bias, 0), and NaN where that is NaN."""
    zero = z.dtype.type(0)
    for b in range(z.shape[0]):
        for o in range(z.shape[1]):
            biased = z[b, o] + bias[o]
            z[b, o] = zero if biased <= 0 else biased


@loop
def times_relu_derivative(gradient, a):
    """gradient *= [a > 0], both ``[B, O]``. A NaN of either stays one."""
    one = a.dtype.type(1)
    for b in range(a.shape[0]):
        for o in range(a.shape[1]):
            gradient[b, o] *= one if a[b, o] > 0 else a[b, o]


@loop
def sum_over_rows(dz, dbias):
    """dbias = the sum of dz over rows, one after another. dz: ``[B, O]``. dbias: ``[O]``."""
    outputs = dz.shape[1]
    for o in range(outputs):
        dbias[o] = dz[0, o]
    for b in range(1, len(dz)):
        for o in range(outputs):
            dbias[o] += dz[b, o]


# A bias and an activation in one pass. NumPy's own sigmoid and tanh are faster than a loop, whose exponentials come
# one by one.
ADD_BIAS = {"identity": add_bias, "relu": add_bias_relu}
