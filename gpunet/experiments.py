"""The experiments: those of the two course reports, with what they say came out, and those beyond them.

"The PyTorch report" is "Basics of Deep Learning - Binary and Multiclass classification", "the NumPy report" is "Basic
Of Deep Learning - Mid Semester Project, Part 1", both Colman 2024, on 5,000 images of sign-language digits. Beyond the
reports lies what they name as future work, one idea an experiment, and what all of these bring together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpunet.augmentation import Augmentation
from gpunet.errors import InputError

if TYPE_CHECKING:  # these import NumPy, and `--help` lists experiments without it
    from gpunet.pacing import EarlyStopping
    from gpunet.schedules import Schedule

TASKS = ("multiclass", "binary")


@dataclass(frozen=True)
class Reported:
    """What a report says of an experiment; accuracies are shares (0..1), None where it says nothing.

    source: which report. per_class: {class name: (precision, recall, f1)} of the test set. note: what a reader should
    know beside the figures.
    """

    source: str
    test_accuracy: float | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    per_class: dict[str, tuple[float, float, float]] | None = None
    note: str = ""


NOT_REPORTED = Reported("none")  # what the reports say of an experiment beyond them: nothing, with no figure to look at


@dataclass(frozen=True)
class Experiment:
    """One experiment: the architecture between inputs and outputs, how it was trained, and the figures reported for
    it.

    reported: `NOT_REPORTED` of an experiment beyond the reports, which says in one sentence what it is for: purpose.
    dropout: the share of hidden activations dropped in training. weight_decay: as of the optimizers.
    """

    task: str
    name: str
    hidden: tuple[int, ...]
    learning_rate: float
    batch_size: int
    reported: Reported = NOT_REPORTED
    purpose: str = ""
    activation: str = "relu"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "adam"
    epochs: int = 10
    dropout: float = 0.0
    weight_decay: float = 0.0
    init: str = "pytorch"
    shuffle: str = "each epoch"
    augmentation: Augmentation | None = None
    schedule: tuple[Schedule, ...] = ()
    early_stopping: EarlyStopping | None = None
    clip_norm: float | None = None

    @property
    def is_reported(self) -> bool:
        """Whether it is one of the reports' own."""
        return self.reported is not NOT_REPORTED

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the layers, on the reports' images: 784 pixels, ten digits, of which a binary task takes two."""
        return (784, *self.hidden, output_count(self.task, self.loss, classes=10 if self.task == "multiclass" else 2))


_PYTORCH_REPORT = "the PyTorch report (Colman 2024)"
_NUMPY_REPORT = "the NumPy report (Colman 2024)"


def _table(rows: str) -> dict[str, tuple[float, float, float]]:
    """'0 .99 .98 .98' lines: class, precision, recall, f1."""
    parsed = (line.split() for line in rows.strip().splitlines())
    return {name: tuple(map(float, figures)) for name, *figures in parsed}


REPORTED = (
    Experiment(
        task="multiclass",
        name="base",
        hidden=(),
        learning_rate=0.001,
        batch_size=64,
        reported=Reported(
            _PYTORCH_REPORT,
            test_accuracy=0.89,
            train_loss=0.65,
            train_accuracy=0.894,
            validation_loss=0.66,
            validation_accuracy=0.886,
            per_class=_table("""
                0 0.99 0.98 0.98
                1 0.98 0.97 0.97
                2 0.93 0.87 0.90
                3 0.92 0.88 0.90
                4 0.82 0.77 0.79
                5 0.91 0.95 0.93
                6 0.78 0.88 0.83
                7 0.73 0.79 0.76
                8 0.95 0.79 0.86
                9 0.89 0.98 0.93
            """),
        ),
    ),
    Experiment(
        task="multiclass",
        name="exp1",
        hidden=(64,),
        learning_rate=0.001,
        batch_size=64,
        reported=Reported(
            _PYTORCH_REPORT,
            test_accuracy=0.95,
            train_loss=0.22,
            train_accuracy=0.961,
            validation_loss=0.24,
            validation_accuracy=0.95,
            per_class=_table("""
                0 1.00 1.00 1.00
                1 1.00 0.99 0.99
                2 0.97 0.97 0.97
                3 0.98 0.90 0.94
                4 0.91 0.90 0.90
                5 0.95 0.99 0.97
                6 0.92 0.92 0.92
                7 0.86 0.94 0.90
                8 0.99 0.89 0.94
                9 0.93 1.00 0.97
            """),
        ),
    ),
    Experiment(
        task="multiclass",
        name="exp2",
        hidden=(64,),
        learning_rate=0.003,
        batch_size=128,
        reported=Reported(
            _PYTORCH_REPORT,
            test_accuracy=0.97,
            train_loss=0.13,
            train_accuracy=0.976,
            validation_loss=0.16,
            validation_accuracy=0.973,
            per_class=_table("""
                0 0.99 1.00 1.00
                1 1.00 0.99 0.99
                2 0.99 0.98 0.98
                3 0.99 0.94 0.96
                4 0.95 0.91 0.93
                5 0.94 0.99 0.97
                6 0.94 0.94 0.94
                7 0.91 0.96 0.93
                8 0.99 0.96 0.97
                9 0.98 1.00 0.99
            """),
            note="The report names the dropout rate among what it tuned, but not its value; none is used here.",
        ),
    ),
    Experiment(
        task="binary",
        name="base",
        hidden=(64,),
        learning_rate=0.001,
        batch_size=64,
        loss="binary_cross_entropy",
        reported=Reported(
            _PYTORCH_REPORT,
            test_accuracy=0.93,
            train_loss=0.134,
            train_accuracy=0.9712,
            note="The report does not name the two digits; 4 against 9 are the NumPy report's.",
        ),
    ),
    Experiment(
        task="binary",
        name="numpy",
        hidden=(10,),
        activation="sigmoid",
        loss="binary_cross_entropy",
        optimizer="sgd",
        learning_rate=0.1,
        batch_size=1,
        init="normal",
        shuffle="once",
        reported=Reported(
            _NUMPY_REPORT,
            test_accuracy=1.0,
            train_loss=0.0063,
            note="Three runs of the report: accuracy 100 %, 99.5 % and 100 %, final loss 0.0063, 0.0097 and 0.0074, "
            "704 to 757 ms.",
        ),
    ),
)

BEYOND = (
    Experiment(
        task="multiclass",
        name="longer",
        purpose="Exp2 for thirty epochs, beside which to see what else needs them.",
        hidden=(64,),
        learning_rate=0.003,
        batch_size=128,
        epochs=30,
    ),
    Experiment(
        task="multiclass",
        name="wide",
        purpose="One hidden layer, eight times as wide as exp2's.",
        hidden=(512,),
        learning_rate=0.003,
        batch_size=128,
    ),
    Experiment(
        task="multiclass",
        name="deep",
        purpose="Two hidden layers in place of exp2's one.",
        hidden=(256, 128),
        learning_rate=0.003,
        batch_size=128,
    ),
    Experiment(
        task="multiclass",
        name="dropout",
        purpose="Exp2 for thirty epochs, with a fifth of its hidden activations dropped.",
        hidden=(64,),
        learning_rate=0.003,
        batch_size=128,
        epochs=30,
        dropout=0.2,
    ),
    Experiment(
        task="multiclass",
        name="augmented",
        purpose="Exp2 for thirty epochs, on images turned, shifted and resized a little in each.",
        hidden=(64,),
        learning_rate=0.003,
        batch_size=128,
        epochs=30,
        augmentation=Augmentation(rotation=10, shift=1.5, scale=0.1),
    ),
    Experiment(
        task="multiclass",
        name="best",
        purpose="Two hidden layers, dropout, augmentation, and sixty epochs.",
        hidden=(256, 128),
        learning_rate=0.003,
        batch_size=128,
        epochs=60,
        dropout=0.2,
        augmentation=Augmentation(rotation=10, shift=1.5, scale=0.1),
    ),
    Experiment(
        task="binary",
        name="relu",
        purpose="The NumPy report's model with ReLU, and the smaller weights and steps with which it does not die.",
        hidden=(10,),
        activation="relu",
        loss="binary_cross_entropy",
        optimizer="sgd",
        learning_rate=0.01,
        batch_size=1,
        init="he",
        shuffle="once",
    ),
    Experiment(
        task="binary",
        name="softmax",
        purpose="The NumPy report's model with a softmax over two outputs in place of one sigmoid.",
        hidden=(10,),
        activation="sigmoid",
        loss="softmax_cross_entropy",
        optimizer="sgd",
        learning_rate=0.1,
        batch_size=1,
        init="normal",
        shuffle="once",
    ),
)

EXPERIMENTS = REPORTED + BEYOND


def output_count(task: str, loss: str, classes: int) -> int:
    """How many outputs a network has: one for each class; for two classes, one alone that says how likely it is the
    second, unless the loss is the softmax's."""
    return classes if task == "multiclass" or loss == "softmax_cross_entropy" else 1


def find_experiment(task: str, name: str) -> Experiment:
    """The experiment of that task and name. Raises `InputError` that lists what there is."""
    if task not in TASKS:
        raise InputError(f"task {task!r} is not known: use one of {', '.join(TASKS)}")
    names = [experiment.name for experiment in EXPERIMENTS if experiment.task == task]
    if name not in names:
        raise InputError(f"experiment {name!r} is not known for the task {task}: use one of {', '.join(names)}")
    return next(e for e in EXPERIMENTS if (e.task, e.name) == (task, name))


def reported_figures(reported: Reported) -> dict[str, Any]:
    """The single figures of a report, without those it does not give."""
    names = ("test_accuracy", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    return {name: value for name in names if (value := getattr(reported, name)) is not None}
