"""`dense_update` for a batch of one row: the gradient is an outer product, and there is nothing to share.

    dweight[p, i, o] = x[p, 0, i] * dz[p, 0, o]

The launcher, the arguments and what they mean are `dense_update.py`'s, and so are the bits. Shared memory could save no
reading here, so there is none, and no barrier. A block takes parameters as they follow one another in memory, so that
threads of a narrow layer are as busy as those of a wide one.

Bytes moved: the parameters, m and v once each way, 63 KB for 784-10-1 by SGD; x and dz come from the cache. A thread
has several weights because all its reads are then under way together: on a GPU that one such network cannot fill, what
it waits for is its time.
"""

from functools import cache
from typing import Any

from numba import cuda, float32, uint32

from gpunet.kernels.counter_rng import dropout_hash, dropout_key, dropout_row_key
from gpunet.kernels.launch import jit
from gpunet.kernels.optimizers import adam_step, sgd_step, step_factors
from gpunet.kernels.update_table import (
    BIAS,
    COLUMNS,
    DROPPED,
    DZ,
    FIRST_INPUT,
    FIRST_OUTPUT,
    INPUTS,
    LAYER,
    OUTPUTS,
    WEIGHT,
    Run,
    X,
)


@cache
def make_single_row_kernel(run: Run, method: str, words: bool, dropout: bool) -> Any:
    """The arguments, but for the shape of a block, are `make_dense_update_kernel`'s."""
    threads, weights_each = run
    is_update, is_adam, has_momentum = method != "gradient", method == "adam", method == "momentum"

    @jit
    def dense_update_single_row_kernel(
        images,
        image_pitch,
        image_rows,
        rows_pitch,
        image_scale,
        activations,
        dz,
        table,
        batch,
        seeds,
        thresholds,
        scales,
        parameters,
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
        momentum,
        beta1,
        one_minus_beta1,
        beta2,
        one_minus_beta2,
        eps,
    ):
        network = uint32(cuda.blockIdx.y)
        entry = uint32(cuda.blockIdx.x * uint32(COLUMNS))
        layer = uint32(table[entry + uint32(LAYER)])
        inputs = uint32(table[entry + uint32(INPUTS)])
        outputs = uint32(table[entry + uint32(OUTPUTS)])
        image = uint32(uint32(image_rows[uint32(network * rows_pitch)]) * image_pitch)  # early: the pixels wait for it
        scale = image_scale if layer == uint32(0) else float32(1)
        number = uint32(uint32(table[entry + uint32(FIRST_OUTPUT)]) + uint32(cuda.threadIdx.x))
        i = uint32(uint32(table[entry + uint32(FIRST_INPUT)]) + number // outputs)
        o = uint32(number % outputs)
        if i > inputs:
            return
        dz_start = uint32(uint32(table[entry + uint32(DZ)]) + network * outputs)
        weight = uint32(network * length + uint32(table[entry + uint32(WEIGHT)]))
        bias = uint32(network * length + uint32(table[entry + uint32(BIAS)]))

        # This thread's weights, `threads` apart. Beyond the layer's last one it takes its first again, makes the same
        # update and stores it once more: so no read is behind a branch, and all are under way together.
        own_inputs = cuda.local.array(weights_each, uint32)
        places = cuda.local.array(weights_each, uint32)
        dzs = cuda.local.array(weights_each, float32)
        ws = cuda.local.array(weights_each, float32)
        ms = cuda.local.array(weights_each, float32)
        vs = cuda.local.array(weights_each, float32)
        first_i, first_o = i, o
        down, across = uint32(uint32(threads) // outputs), uint32(uint32(threads) % outputs)
        for k in range(weights_each):
            is_there = i <= inputs
            own_inputs[k] = i if is_there else first_i
            column = o if is_there else first_o
            places[k] = uint32((bias if own_inputs[k] == inputs else uint32(weight + own_inputs[k] * outputs)) + column)
            dzs[k] = dz[uint32(dz_start + column)]
            if is_update:
                ws[k] = parameters[places[k]]
            if is_adam or has_momentum:
                ms[k] = m[places[k]]
            if is_adam:
                vs[k] = v[places[k]]
            i = uint32(i + down)
            o = uint32(o + across)
            if o >= outputs:
                i = uint32(i + uint32(1))
                o = uint32(o - outputs)
        if is_update:
            before, root_factor, keep, decay = step_factors(
                network, step_table, lr_scale, l2, epoch, index, per_epoch, steps, has_l2, decoupled
            )

        # Their inputs. That of the bias is 1; what is read in its stead is the first input.
        xs = cuda.local.array(weights_each, float32)
        if layer == uint32(0):
            for k in range(weights_each):
                i = own_inputs[k] if own_inputs[k] < inputs else uint32(0)
                if words:
                    word = uint32(images[uint32(image + i // uint32(4))])
                    xs[k] = float32(uint32(uint32(word >> uint32(i % uint32(4) * uint32(8))) & uint32(255)))
                else:
                    xs[k] = float32(images[uint32(image + i)])
        else:
            x_start = uint32(uint32(table[entry + uint32(X)]) + network * inputs)
            if dropout:
                step = uint32(uint32(epoch[0]) * per_epoch + index)
                key = dropout_row_key(dropout_key(uint32(seeds[network]), step, layer), uint32(0))
                is_dropped = table[entry + uint32(DROPPED)] != 0
                threshold = uint32(thresholds[network]) if is_dropped else uint32(0)
                kept = scales[network] if is_dropped else float32(1)
            for k in range(weights_each):
                i = own_inputs[k] if own_inputs[k] < inputs else uint32(0)
                xs[k] = activations[uint32(x_start + i)]
                if dropout:
                    xs[k] = xs[k] * (kept if dropout_hash(key, i) >= threshold else float32(0))

        # All updates first, then all stores: no store waits for another weight's division. A gradient is the sum of one
        # chunk of one term, added to zero as any chunk is: a product that vanished is 0 and not -0.
        for k in range(weights_each):
            is_weight = own_inputs[k] < inputs
            x = xs[k] if is_weight else float32(1)
            chunk = cuda.fma(x, dzs[k], float32(0))
            gradient = (float32(0) + chunk) * (scale if is_weight else float32(1))
            if is_adam:
                ws[k], ms[k], vs[k] = adam_step(
                    ws[k],
                    gradient,
                    ms[k],
                    vs[k],
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
            elif is_update:
                velocity = ms[k] if has_momentum else float32(0)
                ws[k], ms[k] = sgd_step(ws[k], gradient, velocity, before, keep, decay, momentum)
            else:
                ws[k] = gradient
        for k in range(weights_each):
            parameters[places[k]] = ws[k]
            if is_adam or has_momentum:
                m[places[k]] = ms[k]
            if is_adam:
                v[places[k]] = vs[k]

    return dense_update_single_row_kernel
