"""Who trains the reports' networks in bench_train.py: gpunet, and what a user would pick instead.

Each module has two functions. ``prepare(problem, variant, device)`` returns what trains (`problem.Train`), with the
data where the contender wants it. ``why_not(variant, device)`` says in words why it cannot, or None. A module is
imported only in the process in which it trains (training/worker.py).

    problem.py            what all are given: data, first weights, order of rows
    gpunet_forms.py       gpunet on each of its backends
    torch_forms.py        PyTorch as people write it, compiled, and as a CUDA graph
    jax_forms.py          JAX: jit, an epoch as one scan
    sklearn_form.py       scikit-learn's MLPClassifier
    trainkernel_form.py   TrainKernel, which compiles a step of PyTorch into one kernel: only what keeps it from these
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """Somebody who trains.

    module, variant: which form, in this package. package: the distribution that it needs. on_device: whether it
    computes on a GPU. each_thread_count: timed with each number of threads; the others are given all and choose.
    eps_first: its Adam is scikit-learn's (see `gpunet_forms.AdamEpsFirst`).
    """

    name: str
    module: str
    variant: str
    package: str
    on_device: bool = False
    each_thread_count: bool = False
    eps_first: bool = False

    @property
    def is_gpunet(self) -> bool:
        return self.module == "gpunet_forms"


def _torch(name: str, variant: str, **options: bool) -> Contender:
    return Contender(f"PyTorch {name}", "torch_forms", variant, "torch", **options)


CONTENDERS = (
    Contender("gpunet (NumPy)", "gpunet_forms", "numpy", "numpy"),
    Contender("gpunet (jit)", "gpunet_forms", "jit", "numba"),
    _torch("eager", "eager", each_thread_count=True),
    _torch("fused", "fused", each_thread_count=True),
    _torch("compiled", "compiled", each_thread_count=True),
    Contender("JAX", "jax_forms", "scan", "jax", each_thread_count=True),
    Contender("scikit-learn", "sklearn_form", "fit", "scikit-learn", eps_first=True),
    Contender("gpunet (CUDA, each kernel launched)", "gpunet_forms", "cuda-direct", "numba-cuda", on_device=True),
    Contender("gpunet (CUDA graph)", "gpunet_forms", "cuda-graph", "numba-cuda", on_device=True),
    _torch("eager, CUDA", "eager", on_device=True),
    _torch("fused, CUDA", "fused", on_device=True),
    _torch("CUDA graph of a step", "graph", on_device=True),
    _torch("compiled, CUDA", "compiled", on_device=True),
    Contender("JAX, CUDA", "jax_forms", "scan", "jax", on_device=True),
    Contender("TrainKernel", "trainkernel_form", "step", "trainkernel", on_device=True),
)
