"""Beyond the reports: what they name as future work, each idea beside the report's model that it sets out from."""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.experiments import BEYOND, Experiment
from gpunet.reproduction.numpy_report import FINAL
from gpunet.reproduction.printed import Training
from gpunet.reproduction.pytorch_report import EXP2

REFERENCES = {"multiclass": (EXP2, "exp2"), "binary": (FINAL, "the NumPy report's model")}


@dataclass(frozen=True)
class Idea:
    """An experiment beyond the reports, and whose test accuracy it is to exceed: the reference's, which has a name."""

    experiment: Experiment
    training: Training
    reference: Training
    reference_name: str


def _idea(experiment: Experiment) -> Idea:
    training = Training(f"{experiment.task} {experiment.name}", experiment.task, experiment.name, is_printed=False)
    return Idea(experiment, training, *REFERENCES[experiment.task])


IDEAS: tuple[Idea, ...] = tuple(map(_idea, BEYOND))
