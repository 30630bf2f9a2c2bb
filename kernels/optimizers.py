"""Adam and SGD: w = keep * w - before * direction, for every element of the flat parameters ``[P, length]``.

`adam_step` and `sgd_step` update one weight in registers; `dense_update.py` calls them where a gradient is summed, the
kernels here where it lies in memory (gradient checks, clipping). Each element is one thread's: Adam reads 16 bytes and
writes 12 for it, SGD 8 and 4, with momentum 12 and 8. Padding is zero in all buffers and stays zero. The population is
on grid axis y.

Every sum is written as a fused multiply-add. Left to the compiler, a product could be rounded before it is added in one
kernel and not in another, and the fused update would differ in the last bit from the one that goes through memory.
"""

import math
from functools import cache
from typing import Any

from numba import cuda, float32, types, uint32
from numba.cuda import libdevice

from gpunet.kernels.launch import SIMULATOR, ReportCase, StepCounter, ceil_div, enqueue, jit

THREADS = 256

# IEEE's division and square root would be 150 instructions of an update. These are a few, and off by two units in the
# last place at most, as much as a few roundings; NaN, infinities and zeros come out of them as they should.
if SIMULATOR:

    @cuda.jit(device=True)
    def quotient(a, b):
        return a / b

    @cuda.jit(device=True)
    def root(v):
        return float32(math.sqrt(v))

else:

    @cuda.jit(device=True)
    def quotient(a, b):
        return libdevice.fast_fdividef(a, b)

    @cuda.jit(device=True)
    def root(v):
        # not v * rsqrt(v), which makes NaN of 0 and of infinity
        return libdevice.fast_fdividef(float32(1), libdevice.rsqrtf(v))


@cuda.jit(device=True)
def adam_step(w, gradient, m, v, before, root_factor, keep, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, eps):
    """The new weight and its moments. The factors are `step_factors`' four."""
    gradient = cuda.fma(decay, w, gradient)
    m = cuda.fma(beta1, m, one_minus_beta1 * gradient)
    v = cuda.fma(beta2, v, one_minus_beta2 * (gradient * gradient))
    direction = quotient(m, cuda.fma(root(v), root_factor, eps))
    return cuda.fma(-before, direction, keep * w), m, v


@cuda.jit(device=True)
def sgd_step(w, gradient, velocity, before, keep, decay, momentum):
    """The new weight and its velocity. Without momentum the velocity is the gradient itself."""
    velocity = cuda.fma(momentum, velocity, cuda.fma(decay, w, gradient))
    return cuda.fma(-before, velocity, keep * w), velocity


@cuda.jit(device=True)
def step_factors(network, step_table, lr_scale, l2, epoch, index, per_epoch, steps, has_l2, decoupled):
    """What a network's update is multiplied by in this step: before, root_factor, keep and decay.

    keep is 1 less the decoupled weight decay; decay times the weight is added to the gradient. lr_scale multiplies
    before and the decoupled decay, so that zero leaves the weights as they are.
    """
    step = uint32(uint32(epoch[0]) * per_epoch + index)
    entry = uint32((network * steps + step) * uint32(3))
    scale = lr_scale[network]
    keep = float32(1)
    if decoupled:
        keep = float32(1) - step_table[entry + uint32(2)] * scale
    decay = float32(0)
    if has_l2:
        decay = l2[network]
    return step_table[entry] * scale, step_table[entry + uint32(1)], keep, decay


@jit
def adam_kernel(
    parameters,
    gradient,
    m,
    v,
    step_table,
    lr_scale,
    l2,
    epoch,
    index,
    per_epoch,
    steps,
    length,
    has_l2,
    decoupled,
    beta1,
    one_minus_beta1,
    beta2,
    one_minus_beta2,
    eps,
):
    network = uint32(cuda.blockIdx.y)
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= length:
        return
    at = uint32(network * length + i)
    before, root_factor, keep, decay = step_factors(
        network, step_table, lr_scale, l2, epoch, index, per_epoch, steps, has_l2, decoupled
    )
    w, m_new, v_new = adam_step(
        parameters[at],
        gradient[at],
        m[at],
        v[at],
        before,
        root_factor,
        keep,
        decay,
        beta1,
        one_minus_beta1,
        beta2,
        one_minus_beta2,
        eps,
    )
    m[at] = m_new
    v[at] = v_new
    parameters[at] = w


@cache
def make_sgd_kernel(has_momentum: bool) -> Any:
    """Without momentum the velocity is neither read nor written."""

    @jit
    def sgd_kernel(
        parameters,
        gradient,
        velocity,
        step_table,
        lr_scale,
        l2,
        epoch,
        index,
        per_epoch,
        steps,
        length,
        has_l2,
        decoupled,
        momentum,
    ):
        network = uint32(cuda.blockIdx.y)
        i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if i >= length:
            return
        at = uint32(network * length + i)
        before, _, keep, decay = step_factors(
            network, step_table, lr_scale, l2, epoch, index, per_epoch, steps, has_l2, decoupled
        )
        old = float32(0)
        if has_momentum:
            old = velocity[at]
        w, new = sgd_step(parameters[at], gradient[at], old, before, keep, decay, momentum)
        if has_momentum:
            velocity[at] = new
        parameters[at] = w

    return sgd_kernel


def adam(
    parameters: Any,
    gradient: Any,
    m: Any,
    v: Any,
    step_table: Any,
    lr_scale: Any,
    l2: Any | None,
    *,
    networks: int,
    length: int,
    steps: int,
    step: StepCounter,
    beta1: float,
    one_minus_beta1: float,
    beta2: float,
    one_minus_beta2: float,
    eps: float,
    decoupled: bool = False,
    stream: Any = 0,
) -> None:
    """Adam, eps outside of the bias correction. parameters, gradient, m, v: ``[P, length]``.

    step_table: ``[P, steps, 3]``, of each step: the factor before the direction, that of sqrt(v), and the decoupled
    weight decay, read where `decoupled`. lr_scale: ``[P]``. l2: ``[P]``, or None for no such decay. All are float32.
    """
    arguments = (
        parameters,
        gradient,
        m,
        v,
        step_table,
        lr_scale,
        *step_arguments(l2, lr_scale, step, steps, length, decoupled),
        float32(beta1),
        float32(one_minus_beta1),
        float32(beta2),
        float32(one_minus_beta2),
        float32(eps),
    )
    enqueue(adam_kernel, (ceil_div(length, THREADS), networks), THREADS, arguments, stream)


def sgd(
    parameters: Any,
    gradient: Any,
    velocity: Any | None,
    step_table: Any,
    lr_scale: Any,
    l2: Any | None,
    *,
    networks: int,
    length: int,
    steps: int,
    step: StepCounter,
    momentum: float = 0.0,
    decoupled: bool = False,
    stream: Any = 0,
) -> None:
    """SGD; velocity ``[P, length]`` is used where momentum is not zero. For the rest see `adam`."""
    arguments = (
        parameters,
        gradient,
        velocity if momentum else gradient,  # where it is not looked at, any array will do that is not written to
        step_table,
        lr_scale,
        *step_arguments(l2, lr_scale, step, steps, length, decoupled),
        float32(momentum),
    )
    enqueue(make_sgd_kernel(momentum != 0), (ceil_div(length, THREADS), networks), THREADS, arguments, stream)


def step_arguments(
    l2: Any | None, lr_scale: Any, step: StepCounter, steps: int, length: int, decoupled: bool
) -> tuple[Any, ...]:
    """Arguments l2 to decoupled of the kernels above, and of `dense_update`'s."""
    return (
        lr_scale if l2 is None else l2,  # where it is not looked at, any array will do
        step.epoch,
        uint32(step.index),
        uint32(step.per_epoch),
        uint32(steps),
        uint32(length),
        uint32(l2 is not None),
        uint32(decoupled),
    )


FLOATS = types.Array(types.float32, 1, "C")
INTEGERS = types.Array(types.int32, 1, "C")
STEP_TYPES = (FLOATS, INTEGERS, *(types.uint32,) * 6)  # of `step_arguments`


def report_cases() -> list[ReportCase]:
    cases = [ReportCase("adam", adam_kernel, (FLOATS,) * 6 + STEP_TYPES + (types.float32,) * 5, THREADS)]
    signature = (FLOATS,) * 5 + STEP_TYPES + (types.float32,)
    return cases + [
        ReportCase(name, make_sgd_kernel(momentum), signature, THREADS)
        for name, momentum in (("sgd", False), ("sgd_momentum", True))
    ]
