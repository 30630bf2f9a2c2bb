"""What the PyTorch report prints: "Basics of Deep Learning - Binary and Multiclass classification", Colman 2024.

The figures of Tables 2 to 5 are those of `gpunet.experiments`, written as the report writes them.
"""

from __future__ import annotations

from gpunet.experiments import find_experiment
from gpunet.reproduction.printed import Printed, Table, Training

REPORT = "the PyTorch report"

BINARY = Training("binary base", "binary", "base")
BASE = Training("multiclass base", "multiclass", "base")
EXP1 = Training("multiclass exp1", "multiclass", "exp1")
EXP2 = Training("multiclass exp2", "multiclass", "exp2")
MULTICLASS = (BASE, EXP1, EXP2)
MODELS = {"Binary Classification": BINARY, "Base Model": BASE, "Exp 1": EXP1, "Exp 2": EXP2}
BEST = EXP2  # section 3.6

# Table 1, and the last two rows of Table 5: aspect -> what it says of each model.
SETUP = {
    "Model Architecture": ("[784, 64, 1]", "[784, 10]", "[784, 64, 10]", "[784, 64, 10]"),
    "Learning Rate": ("0.001", "0.001", "0.001", "0.003"),
    "Loss Function": ("BCEWithLogitsLoss", "CrossEntropyLoss", "CrossEntropyLoss", "CrossEntropyLoss"),
    "Optimizer": ("Adam", "Adam", "Adam", "Adam"),
    "Batch Size": ("64", "64", "64", "128"),
    "Number of Epochs": ("10", "10", "10", "10"),
}

IMAGES_A_CLASS, TEST_IMAGES = "100", "1000"  # the column "Support" of Tables 2 to 4
CLASS_QUANTITIES = ("precision", "recall", "f1")
AVERAGES = ("macro avg", "weighted avg")


def percent(share: float) -> str:
    """0.894 as '89.4%'."""
    return f"{round(100 * share, 6):g}%"


def _classes(training: Training, place: str, key: str) -> Table:
    """A classification report. Its averages are all printed as its accuracy is."""
    reported = find_experiment(training.task, training.exp).reported
    own, accuracy = (training,), f"{reported.test_accuracy:.2f}"
    figures = []
    for name, values in reported.per_class.items():
        for quantity, value in zip(CLASS_QUANTITIES, values, strict=True):
            figures.append(Printed(f"{value:.2f}", quantity, own, name, of=name))
        figures.append(Printed(IMAGES_A_CLASS, "images", own, name, of=name))
    figures += [
        Printed(accuracy, "test_accuracy", own, "accuracy"),
        Printed(TEST_IMAGES, "images", own, "accuracy"),
    ]
    for name in AVERAGES:
        figures += [Printed(accuracy, quantity, own, name, of=name) for quantity in CLASS_QUANTITIES]
        figures.append(Printed(TEST_IMAGES, "images", own, name))
    model = next(model for model, each in MODELS.items() if each == training)
    return Table(REPORT, key, place, f"Classification report of {model}", tuple(figures))


def _comparison() -> Table:
    rows = {
        "training loss": ("train_loss", "{:g}".format),
        "validation loss": ("validation_loss", "{:g}".format),
        "training accuracy": ("train_accuracy", percent),
        "validation accuracy": ("validation_accuracy", percent),
    }
    figures = []
    for row, (quantity, text) in rows.items():
        for model, training in MODELS.items():
            value = getattr(find_experiment(training.task, training.exp).reported, quantity)
            if value is not None:
                figures.append(Printed(text(value), quantity, (training,), f"{row}, {model}"))
    return Table(
        REPORT,
        "table-5",
        "Table 5",
        "Performance of the models in training and validation",
        tuple(figures),
        note="Training loss and accuracy are means over the last epoch, taken while it trains, as a training loop "
        "prints them; the report does not say how its own were taken.",
    )


TABLES = (
    Table(
        REPORT,
        "section-2-2",
        "section 2.2",
        "Training time",
        (Printed("30 s", "seconds", (BINARY, *MULTICLASS), "training time of the whole notebook"),),
        note="Approximately, says the report, on an NVIDIA T4, with whatever else its notebook did; ours is the "
        "training of its four models alone.",
    ),
    Table(
        REPORT,
        "section-3-2",
        "section 3.2",
        "The binary model's accuracy",
        (Printed("93%", "test_accuracy", (BINARY,), "test accuracy"),),
        note="The report does not name the two digits; 4 against 9 are the NumPy report's. The counts of its Figure 1 "
        "stand in a picture that its text does not repeat, so there are none to compare with.",
    ),
    Table(
        REPORT,
        "section-3-3",
        "section 3.3",
        "The base model's accuracy",
        (Printed("89.4%", "test_accuracy", (BASE,), "test accuracy"),),
        note="The text says 89.4%, which Table 5 gives as the training accuracy; the recalls of Table 2 make 88.6%, "
        "which Table 5 gives as the validation accuracy.",
    ),
    _classes(BASE, "Table 2", "table-2"),
    _classes(EXP1, "Table 3", "table-3"),
    _classes(EXP2, "Table 4", "table-4"),
    Table(
        REPORT,
        "section-3-6",
        "section 3.6",
        "The best model's accuracy",
        (Printed("97%", "test_accuracy", (BEST,), "test accuracy"),),
    ),
    _comparison(),
)
