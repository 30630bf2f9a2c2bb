"""Learning-rate schedules: by what the learning rates of all networks are multiplied, step by step.

`Cosine`, `StepDecay` and `Warmup` know the factor of every step beforehand, and it goes into the run's table of steps.
`Plateau` depends on how the run goes; `gpunet.pacing` follows it, and its factor goes into `lr_scale` between epochs.

Several in a sequence: a warm-up comes first, the others begin where it ends and their factors are multiplied, as
torch.optim.lr_scheduler's SequentialLR and ChainedScheduler do it. Names and formulas are PyTorch's; but what PyTorch
gives as a learning rate (eta_min, min_lr) is a share here, since each network may have a rate of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from gpunet.errors import InputError


@dataclass(frozen=True)
class Cosine:
    """From 1 down to `end` along half a cosine (Loshchilov & Hutter 2017, SGDR, without restarts; CosineAnnealingLR).

    end + (1 - end) * (1 + cos(pi t / T)) / 2 in step t = 0 .. T - 1 of the T that there are.
    """

    end: float = 0.0
    name: ClassVar[str] = "cosine"

    def factors(self, steps: int, per_epoch: int) -> np.ndarray:
        """Of that many steps, so many an epoch: float64 ``[steps]``."""
        return self.end + (1 - self.end) * (1 + np.cos(np.pi * np.arange(steps) / max(1, steps))) / 2

    def check(self) -> None:
        _check_share("the end of a cosine schedule", self.end)

    def __str__(self) -> str:
        return f"cosine to {self.end:g}"


@dataclass(frozen=True)
class StepDecay:
    """Times `gamma` after every `step_size` epochs (StepLR)."""

    step_size: int = 10
    gamma: float = 0.1
    name: ClassVar[str] = "step"

    def factors(self, steps: int, per_epoch: int) -> np.ndarray:
        """As `Cosine.factors`."""
        return self.gamma ** (np.arange(steps) // per_epoch // self.step_size).astype(np.float64)

    def check(self) -> None:
        _check_count("step_size, the epochs between two steps of a schedule,", self.step_size)
        _check_share("gamma, the factor of a step of a schedule,", self.gamma)

    def __str__(self) -> str:
        epochs = "epoch" if self.step_size == 1 else f"{self.step_size} epochs"
        return f"times {self.gamma:g} every {epochs}"


@dataclass(frozen=True)
class Warmup:
    """From `start_factor` up to 1 in a straight line, over the first epochs (LinearLR, stepped at every step).

    start_factor + (1 - start_factor) * t / W in step t of the W that it takes. epochs may be a fraction: 0.5.
    """

    epochs: float = 1
    start_factor: float = 0.01
    name: ClassVar[str] = "warmup"

    def length(self, per_epoch: int) -> int:
        """How many steps it takes."""
        return max(1, round(self.epochs * per_epoch))

    def factors(self, steps: int, per_epoch: int) -> np.ndarray:
        """As `Cosine.factors`; 1 once it is over."""
        share = np.minimum(np.arange(steps) / self.length(per_epoch), 1)
        return self.start_factor + (1 - self.start_factor) * share

    def check(self) -> None:
        if not 0 < self.epochs < np.inf:
            raise InputError(f"a warm-up must take a positive number of epochs, not {self.epochs}")
        _check_share("start_factor, with which a warm-up begins,", self.start_factor)

    def __str__(self) -> str:
        return f"warm-up of {self.epochs:g} epoch{'s' * (self.epochs != 1)}"


@dataclass(frozen=True)
class Plateau:
    """Times `factor` where a network's validation loss has not improved for more than `patience` epochs on end
    (ReduceLROnPlateau).

    A loss improves if it is below (1 - threshold) times the best one. After a reduction, `cooldown` epochs are not
    counted. min_factor: how small the product of all reductions may become.
    """

    patience: int = 10
    factor: float = 0.1
    threshold: float = 1e-4
    cooldown: int = 0
    min_factor: float = 0.0
    name: ClassVar[str] = "plateau"

    def factors(self, steps: int, per_epoch: int) -> np.ndarray:
        """1: beforehand nothing is known."""
        return np.ones(steps)

    def check(self) -> None:
        for name in ("patience", "cooldown"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise InputError(f"{name} of a plateau schedule must be zero or a positive whole number, not {value}")
        if not 0 < self.factor < 1:
            raise InputError(f"the factor of a plateau schedule must lie between 0 and 1, not at {self.factor}")
        for name in ("threshold", "min_factor"):
            _check_share(f"{name} of a plateau schedule", getattr(self, name))

    def __str__(self) -> str:
        epochs = "one epoch" if self.patience == 1 else f"{self.patience} epochs"
        return f"times {self.factor:g} after more than {epochs} without improvement"


Schedule = Cosine | StepDecay | Warmup | Plateau
SCHEDULES = {kind.name: kind for kind in (Cosine, StepDecay, Warmup, Plateau)}


def schedule_parts(schedule: Schedule | Sequence[Schedule] | None) -> tuple[Schedule, ...]:
    """The parts of a schedule, none of None. Raises `InputError` unless they are such, in range and in order."""
    if schedule is None:
        return ()
    parts = tuple(schedule) if isinstance(schedule, (tuple, list)) else (schedule,)
    for part in parts:
        if not isinstance(part, tuple(SCHEDULES.values())):
            raise InputError(f"a schedule must be Cosine(), StepDecay(), Warmup(), Plateau() or several, not {part!r}")
        part.check()
    for part in parts[1:]:
        if isinstance(part, Warmup):
            raise InputError("a warm-up must be the first part of a schedule: put it in front of the others")
    if sum(isinstance(part, Plateau) for part in parts) > 1:
        raise InputError("a schedule takes one Plateau() at most: leave the others out")
    return parts


def plateau_of(parts: Sequence[Schedule]) -> Plateau | None:
    """The part that depends on how the run goes, where there is one."""
    return next((part for part in parts if isinstance(part, Plateau)), None)


def schedule_factors(parts: Sequence[Schedule], epochs: int, per_epoch: int) -> np.ndarray:
    """Of all steps of a run: float64 ``[epochs * per_epoch]``."""
    steps = epochs * per_epoch
    factors = np.ones(steps)
    warmup = 0
    for part in parts:
        if isinstance(part, Warmup):
            factors *= part.factors(steps, per_epoch)
            warmup = min(steps, part.length(per_epoch))
        else:
            factors[warmup:] *= part.factors(steps - warmup, per_epoch)
    return factors


def schedule_as_json(parts: Sequence[Schedule]) -> list[dict[str, Any]]:
    """As files hold it: [{"name": "cosine", "end": 0.0}]."""
    return [{"name": part.name, **asdict(part)} for part in parts]


def schedule_from_json(values: Sequence[dict[str, Any]]) -> tuple[Schedule, ...]:
    """What `schedule_as_json` has written, read back."""
    return tuple(SCHEDULES[part["name"]](**{k: v for k, v in part.items() if k != "name"}) for part in values)


def _check_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{what} must lie between 0 and 1, not at {value}")


def _check_count(what: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{what} must be a positive whole number, not {value}")
