"""gpunet: multilayer perceptrons with hand-written backpropagation, in NumPy and in hand-written CUDA kernels.

Names are imported when they are first used, so that `import gpunet` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "MLP": "gpunet.network",
    "Population": "gpunet.population",
    "train": "gpunet.training",
    "TrainingDiverged": "gpunet.training",
    "Augmentation": "gpunet.augmentation",
    "Adam": "gpunet.optimizers",
    "SGD": "gpunet.optimizers",
    "Cosine": "gpunet.schedules",
    "StepDecay": "gpunet.schedules",
    "Warmup": "gpunet.schedules",
    "Plateau": "gpunet.schedules",
    "EarlyStopping": "gpunet.pacing",
    "Checkpoints": "gpunet.resume",
    "History": "gpunet.history",
    "MLPClassifier": "gpunet.estimators",
    "MLPRegressor": "gpunet.estimators",
    "NumpyOps": "gpunet.ops",
    "load_data": "gpunet.data",
    "load_model": "gpunet.checkpoint",
    "save_model": "gpunet.checkpoint",
    "InputError": "gpunet.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpunet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
