"""One training run from its configuration: data, split, network, training, evaluation on the test set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation
from gpunet.clipping import check_clip_norm
from gpunet.data import choose_classes, limit_images, load_data, stratified_split
from gpunet.data.dataset import Dataset
from gpunet.data.split import Split
from gpunet.errors import InputError
from gpunet.evaluation import Evaluation, evaluate
from gpunet.experiments import Experiment, find_experiment, output_count
from gpunet.history import EpochReport, History
from gpunet.memory_limit import within_limit
from gpunet.network import MLP
from gpunet.ops.backend import BACKENDS, make_backend
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.numpy_losses import LOSSES
from gpunet.optimizers import OPTIMIZERS, Optimizer
from gpunet.pacing import EarlyStopping
from gpunet.parameters import INITIALIZERS
from gpunet.resume import Checkpoints
from gpunet.schedules import Schedule, plateau_of, schedule_as_json, schedule_from_json, schedule_parts
from gpunet.training import train
from gpunet.training_run import SHUFFLES

_CHOICES = {
    "backend": BACKENDS,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "init": INITIALIZERS,
    "shuffle": SHUFFLES,
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's outcome. `from_experiment` fills in what the experiment says."""

    task: str
    exp: str
    data: str
    limit: int | None
    classes: tuple[str, str] | None  # of a binary task: which becomes 0, which 1
    backend: str
    device: int  # of the backend cuda
    seed: int
    hidden: tuple[int, ...]
    activation: str
    loss: str
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    dropout: float
    weight_decay: float
    init: str
    shuffle: str
    augmentation: Augmentation | None
    schedule: tuple[Schedule, ...] = ()
    early_stopping: EarlyStopping | None = None
    clip_norm: float | None = None

    @classmethod
    def from_experiment(cls, task: str = "multiclass", exp: str = "exp2", **overrides: Any) -> RunConfig:
        """The configuration of an experiment, with fields overridden; None leaves a field as it is.

        augmentation: one that changes nothing stands for none, which leaves out that of an experiment.
        Raises `InputError` for an unknown task or experiment and for values out of range.
        """
        experiment = find_experiment(task, exp)
        values: dict[str, Any] = {
            "data": "auto",
            "limit": None,
            "classes": ("4", "9") if task == "binary" else None,
            "backend": "auto",
            "device": 0,
            "seed": 0,
        }
        names = {field.name for field in fields(cls)}
        values |= {name: value for name, value in vars(experiment).items() if name in names}
        values |= {name: value for name, value in overrides.items() if value is not None}
        augmentation = values["augmentation"]
        if augmentation is not None and augmentation.changes_nothing:
            values["augmentation"] = None
        config = cls(exp=exp, **values)
        config.check()
        return config

    @property
    def experiment(self) -> Experiment:
        return find_experiment(self.task, self.exp)

    @property
    def changed(self) -> tuple[str, ...]:
        """Fields in which the run departs from its experiment: then the reported figures are no like-for-like
        comparison."""
        experiment = vars(self.experiment)
        departures = [name for name, value in vars(self).items() if name in experiment and value != experiment[name]]
        if self.limit is not None:
            departures.append("limit")
        return tuple(departures)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        """What `as_json` has written, read back; what is no field is passed over."""
        new = {"schedule", "early_stopping", "clip_norm"} - values.keys()  # which older files have not
        kept = {field.name: values[field.name] for field in fields(cls) if field.name not in new}
        kept["schedule"] = schedule_from_json(values.get("schedule", ()))
        for name, kind in (("augmentation", Augmentation), ("early_stopping", EarlyStopping)):
            kept[name] = None if values.get(name) is None else kind(**values[name])
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()})

    def as_json(self) -> dict[str, Any]:
        """Every field, as files hold it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("augmentation", "early_stopping"):
            values[name] = None if values[name] is None else asdict(values[name])
        return values | {"schedule": schedule_as_json(self.schedule)}

    @property
    def watches_validation(self) -> bool:
        """Whether training depends on the validation loss, so that there must be one."""
        return self.early_stopping is not None or plateau_of(self.schedule) is not None

    def make_optimizer(self) -> Optimizer:
        return OPTIMIZERS[self.optimizer](learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def check(self) -> None:
        """Raise `InputError` for values out of range, before any data is touched."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r} is not known: use one of {', '.join(known)}")
        if self.classes is not None and self.task != "binary":
            raise InputError("classes can be chosen for the binary task only: leave them out, or use --task binary")
        for name in ("epochs", "batch_size", "limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be a positive whole number, not {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate must be a positive number, not {self.learning_rate}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be zero or a positive number, not {self.weight_decay}")
        schedule_parts(self.schedule)
        check_clip_norm(self.clip_norm)
        if self.early_stopping is not None:
            self.early_stopping.check()
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be a whole number from 0 to {2**32 - 1}, not {self.seed}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not all(size > 0 for size in self.hidden):
            raise InputError(
                f"hidden layer sizes must be positive whole numbers, not {', '.join(map(str, self.hidden))}"
            )


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind. backend: what it ran on, and why on that. seconds: by phase ("data", "training",
    "evaluation"), wall-clock."""

    config: RunConfig
    backend: str
    dataset: Dataset
    split: Split
    network: MLP
    history: History
    test: Evaluation
    seconds: dict[str, float]

    @property
    def seeds(self) -> tuple[int, ...]:
        return (self.config.seed,)


def prepare(config: RunConfig, *, stream: bool = False) -> tuple[Dataset, Split]:
    """Load the data that a configuration names, choose its classes, and split it as the reports did.

    stream: leave images in their file where `load_data` can.
    """
    dataset = load_classes(config, load_data(config.data, stream=stream))
    if config.limit is not None:
        dataset = limit_images(dataset, config.limit, seed=config.seed)
    return dataset, split_rows(config, dataset.labels, config.seed)


def load_classes(config: RunConfig, dataset: Dataset | None = None) -> Dataset:
    """The data that a configuration names (loaded here, if it is not yet), of the classes that it names, however many
    images."""
    dataset = load_data(config.data) if dataset is None else dataset
    return dataset if config.classes is None else choose_classes(dataset, config.classes)


def split_rows(config: RunConfig, labels: np.ndarray, seed: int) -> Split:
    """Split the rows of these labels as the reports did: of a binary task, none are for validation, unless training
    depends on them."""
    validates = config.task == "multiclass" or config.watches_validation
    return stratified_split(labels, seed=seed, validation=0.2 if validates else 0.0)


def network_sizes(config: RunConfig, dataset: Dataset) -> tuple[int, ...]:
    """Of the layers, from inputs to outputs."""
    outputs = output_count(config.task, config.loss, len(dataset.class_names))
    return (dataset.images.shape[1], *config.hidden, outputs)


def network_options(config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """What a configuration says of its network, as arguments of `MLP` and `Population`."""
    return {
        "sizes": network_sizes(config, dataset),
        "activation": config.activation,
        "loss": config.loss,
        "dropout": config.dropout,
        "init": config.init,
    }


def training_options(config: RunConfig) -> dict[str, Any]:
    """What a configuration says of training, as arguments of `train` and `Population.train`."""
    return {
        "optimizer": config.make_optimizer(),
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "shuffle": config.shuffle,
        "augmentation": config.augmentation,
        "schedule": config.schedule,
        "early_stopping": config.early_stopping,
        "clip_norm": config.clip_norm,
        "evaluate_training": True,
    }


def make_network(config: RunConfig, dataset: Dataset, ops: Any = None) -> MLP:
    """The untrained network for a configuration, its parameters where `ops` computes (default: NumPy)."""
    return MLP(seed=config.seed, ops=ops, **network_options(config, dataset))


def run(
    config: RunConfig,
    *,
    max_memory: int | None = None,
    on_start: Callable[[Dataset, Split, MLP, str], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> RunResult:
    """Train and evaluate. Raises `InputError` for unusable input and `TrainingDiverged` when the loss is no number.

    max_memory: bytes that the data set and the work on it may take; a larger one is read from its file a batch at a
    time, with the same result (see `gpunet.memory_limit.within_limit`).
    on_start: called when the data is loaded, with it, its split, the untrained network and what it runs on.
    checkpoints: as of `train`.
    """
    backend = make_backend(config.backend, config.device)  # before a long download
    began = time.perf_counter()
    dataset, split = prepare(config, stream=True)
    network = make_network(config, dataset, backend.ops)
    dataset = within_limit(
        dataset,
        split,
        backend.ops,
        network.layout,
        max_memory,
        augments=config.augmentation is not None,
        epochs=config.epochs,
        batch_size=config.batch_size,
    )
    seconds = {"data": time.perf_counter() - began}
    if on_start is not None:
        on_start(dataset, split, network, backend.note)
    history = train(
        network,
        dataset.images,
        dataset.labels,
        split.train,
        split.validation if len(split.validation) else None,
        on_epoch=on_epoch,
        checkpoints=checkpoints,
        **training_options(config),
    )
    seconds["training"] = history.seconds
    began = time.perf_counter()
    test = evaluate(network, dataset.images[split.test], dataset.labels[split.test], dataset.class_names)
    seconds["evaluation"] = time.perf_counter() - began
    return RunResult(config, backend.note, dataset, split, network, history, test, seconds)
