"""Whether a backend computes what NumPy computes in float64: shown on the real steps of a training run.

    tolerances.py   how far correctly written float32 code may be off
    errors.py       the largest error so far, in units of its tolerance
    checked_ops.py  a backend that holds every operation of another against float64
    steps.py        every step begun anew in float64 from the state that the backend had reached
    plan.py         how much of an experiment is trained for that
    comparison.py   one run that does both, and beside it the same run in NumPy, left to itself

`compare` trains a network once on the backend under test, behind `CheckedOps`: each operation is given to NumPy in
float64 with the very inputs that the backend had, and each step with the very state. An error counts in units of its
tolerance, so 1 is the limit everywhere. Integers, random numbers, orders of rows and augmented images must agree
exactly. NaN, or a difference where there may be none, is an infinite error.

`Comparison.as_json()`, which `gpunet equivalence` writes to equivalence.json, is a dictionary of

    what            one sentence
    date            "2026-11-23"
    backend         "cuda", "sim" or "numpy"
    device          the device's name, as in "NVIDIA H100"
    versions        {"gpunet", "python", "numpy", "blas": version}, with the kernels "numba-cuda" and "cupy" as well
    experiment      {"task", "exp", "sizes", "activation", "loss", "optimizer", "learning_rate", "batch_size",
                    "dropout", "seed", "data", "images" (trained on), "epochs", "steps"}
    agrees          true if everything below does
    stopped         null, or the sentence with which the run under test ended before its time
    operations      one object for each operation and place, in the order in which they were first called:
                    operation   "dense_forward", ...
                    where       "layer 1", "all layers", "epoch"
                    shapes      ["128 x 784 -> 64", ...], of its arrays without the population axis, if that is 1
                    calls       how many of them
                    errors      {"out": 0.013, ...}: for each array that it writes the largest of all calls
                    error       the largest of these
                    agrees      error <= 1
    steps           one object for each step: step (from 1), loss (mean of the batch), errors {"row_loss", "parameters",
                    "m", "v"}, error, agrees
    free_running    the whole run left to itself, as distances from float64, infinite where it stopped:
                    allowed     4: how many times as far as NumPy in float32 the backend may be
                    losses      {"distance", "numpy_float32", "least", "ratio", "error", "agrees"}: root mean square
                                over the steps; the ratio is to NumPy's distance or to "least", one rounding, if that is
                                larger
                    weights     the same, root mean square over the final parameters, relative to theirs
    repeat          null where the run was made once, else {"same_bits", "agrees"}: a second run, without the checks
                    and as `train` makes it (on a device: as a CUDA graph), ends with the same bits
    seconds         what it all took

where an infinite error is null.
"""
