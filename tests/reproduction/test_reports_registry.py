"""What is reproduced against the reports, whose figures are typed in here from their text once more."""

from __future__ import annotations

import pytest

from gpunet.reproduction.page import setup_of_ours
from gpunet.reproduction.pytorch_report import MODELS, SETUP
from gpunet.reproduction.reports import TABLES, trainings

# Tables 2 to 4: class, precision, recall, F1; then what accuracy and both averages are.
CLASSES = {
    "table-2": (
        """0 0.99 0.98 0.98
           1 0.98 0.97 0.97
           2 0.93 0.87 0.90
           3 0.92 0.88 0.90
           4 0.82 0.77 0.79
           5 0.91 0.95 0.93
           6 0.78 0.88 0.83
           7 0.73 0.79 0.76
           8 0.95 0.79 0.86
           9 0.89 0.98 0.93""",
        "0.89",
    ),
    "table-3": (
        """0 1.00 1.00 1.00
           1 1.00 0.99 0.99
           2 0.97 0.97 0.97
           3 0.98 0.90 0.94
           4 0.91 0.90 0.90
           5 0.95 0.99 0.97
           6 0.92 0.92 0.92
           7 0.86 0.94 0.90
           8 0.99 0.89 0.94
           9 0.93 1.00 0.97""",
        "0.95",
    ),
    "table-4": (
        """0 0.99 1.00 1.00
           1 1.00 0.99 0.99
           2 0.99 0.98 0.98
           3 0.99 0.94 0.96
           4 0.95 0.91 0.93
           5 0.94 0.99 0.97
           6 0.94 0.94 0.94
           7 0.91 0.96 0.93
           8 0.99 0.96 0.97
           9 0.98 1.00 0.99""",
        "0.97",
    ),
}
MODEL_OF = {"table-2": "multiclass base", "table-3": "multiclass exp1", "table-4": "multiclass exp2"}

TABLE_5 = {
    "training loss": {
        "binary base": "0.134",
        "multiclass base": "0.65",
        "multiclass exp1": "0.22",
        "multiclass exp2": "0.13",
    },
    "validation loss": {"multiclass base": "0.66", "multiclass exp1": "0.24", "multiclass exp2": "0.16"},
    "training accuracy": {
        "binary base": "97.12%",
        "multiclass base": "89.4%",
        "multiclass exp1": "96.1%",
        "multiclass exp2": "97.6%",
    },
    "validation accuracy": {"multiclass base": "88.6%", "multiclass exp1": "95%", "multiclass exp2": "97.3%"},
}
SINGLE = {
    "section-2-2": [("30 s", "seconds")],
    "section-3-2": [("93%", "test_accuracy")],
    "section-3-3": [("89.4%", "test_accuracy")],
    "section-3-6": [("97%", "test_accuracy")],
    "section-1-1": [("800", "training_images"), ("200", "images")],
}
NETWORKS = {
    "section-2-2": ["binary base", "multiclass base", "multiclass exp1", "multiclass exp2"],
    "section-3-2": ["binary base"],
    "section-3-3": ["multiclass base"],
    "section-3-6": ["multiclass exp2"],
    "section-1-1": ["10 neurons, rate 0.1, 10 epochs"],
}
# The NumPy report: neurons, rate, epochs; initial loss, final loss, time, accuracy.
STUDIES = {
    "epochs": """1 0.01 10 | 0.6906 0.3897 913_ms 88.5%
                 1 0.01 20 | 0.6843 0.3266 1.18_s 90.5%
                 1 0.01 30 | 0.6886 0.1794 2.15_s 95.5%
                 1 0.01 40 | 0.6932 0.0356 3.04_s 100%""",
    "neurons": """5 0.01 10 | 0.7066 0.4467 689_ms 84.5%
                  10 0.01 10 | 0.6723 0.2788 701_ms 91.5%
                  20 0.01 10 | 0.7625 0.2230 1.45_s 96.0%
                  60 0.01 10 | 0.8614 0.0682 2.68_s 97.5%""",
    "learning-rates": """1 1 10 | 0.7688 0.7699 636_ms 50%
                         1 0.01 10 | 0.7479 0.4915 599_ms 80.5%
                         1 0.1 10 | 0.6085 0.0090 668_ms 100%""",
    "repeats": """10 0.1 10 | 0.4803 0.0063 704_ms 100%
                  10 0.1 10 | 0.5919 0.0097 757_ms 99.5%
                  10 0.1 10 | 0.4841 0.0074 740_ms 100%""",
}
MEASURED = ("initial_loss", "final_loss", "seconds", "test_accuracy")
BY_KEY = {table.key: table for table in TABLES}


def test_reports_have_these_tables():
    assert sorted(BY_KEY) == sorted([*CLASSES, "table-5", *SINGLE, *STUDIES]) and len(BY_KEY) == len(TABLES)


@pytest.mark.parametrize("key", CLASSES)
def test_classification_reports_are_the_pytorch_reports(key):
    rows, accuracy = CLASSES[key]
    expected = set()
    for name, *figures in map(str.split, rows.splitlines()):
        expected |= {(name, name, *pair) for pair in zip(("precision", "recall", "f1"), figures, strict=True)}
        expected.add((name, name, "images", "100"))
    for name in ("macro avg", "weighted avg"):
        expected |= {(name, name, quantity, accuracy) for quantity in ("precision", "recall", "f1")}
        expected.add((name, None, "images", "1000"))
    expected |= {("accuracy", None, "test_accuracy", accuracy), ("accuracy", None, "images", "1000")}
    table = BY_KEY[key]
    assert {(each.row, each.of, each.quantity, each.text) for each in table.figures} == expected
    assert len(table.figures) == len(expected) == 50
    assert [training.name for training in table.trainings] == [MODEL_OF[key]]


def test_table_5_is_the_pytorch_reports():
    expected = {(row, name, text) for row, own in TABLE_5.items() for name, text in own.items()}
    figures = BY_KEY["table-5"].figures
    found = {(each.row.partition(",")[0], each.trainings[0].name, each.text) for each in figures}
    assert found == expected and len(figures) == len(expected) == 14
    quantities = {"training": "train", "validation": "validation"}
    for each in figures:
        part, kind = each.row.partition(",")[0].split()
        assert each.quantity == f"{quantities[part]}_{kind}"


@pytest.mark.parametrize("key", SINGLE)
def test_single_figures_are_the_reports(key):
    assert [(each.text, each.quantity) for each in BY_KEY[key].figures] == SINGLE[key]
    assert [training.name for training in BY_KEY[key].trainings] == NETWORKS[key]


@pytest.mark.parametrize("key", STUDIES)
def test_studies_are_the_numpy_reports(key):
    expected = []
    for line in STUDIES[key].splitlines():
        network, _, figures = line.partition("|")
        neurons, rate, epochs = network.split()
        for quantity, text in zip(MEASURED, figures.split(), strict=True):
            expected.append(((int(neurons),), float(rate), int(epochs), quantity, text.replace("_", " ")))
    found = []
    for each in BY_KEY[key].figures:
        (training,) = each.trainings
        config = training.config()
        found.append((config.hidden, config.learning_rate, config.epochs, each.quantity, each.text))
        assert (config.task, config.exp, config.batch_size) == ("binary", "numpy", 1)
    assert found == expected


@pytest.mark.parametrize("key", ["epochs", "learning-rates"])
def test_studies_of_one_neuron_are_made_with_ten_as_well(key):
    table = BY_KEY[key]
    assert [(each.text, each.quantity, each.row) for each in table.others] == [
        (each.text, each.quantity, each.row) for each in table.figures
    ]
    for stated, other in zip(table.figures, table.others, strict=True):
        stated, other = stated.trainings[0].config(), other.trainings[0].config()
        assert (stated.hidden, other.hidden) == ((1,), (10,))
        assert (stated.learning_rate, stated.epochs) == (other.learning_rate, other.epochs)


def test_setup_is_the_pytorch_reports():
    assert SETUP == {
        "Model Architecture": ("[784, 64, 1]", "[784, 10]", "[784, 64, 10]", "[784, 64, 10]"),
        "Learning Rate": ("0.001", "0.001", "0.001", "0.003"),
        "Loss Function": ("BCEWithLogitsLoss", *["CrossEntropyLoss"] * 3),
        "Optimizer": ("Adam",) * 4,
        "Batch Size": ("64", "64", "64", "128"),
        "Number of Epochs": ("10",) * 4,
    }
    assert list(MODELS) == ["Binary Classification", "Base Model", "Exp 1", "Exp 2"]
    assert setup_of_ours() == SETUP


def test_trainings_are_each_made_once():
    found = trainings()
    assert len({training.name for training in found}) == len(found) == 19 + 8
    assert [training.is_printed for training in found] == [True] * 19 + [False] * 8
    configs = [vars(training.config()) for training in found]
    assert all(configs.count(config) == 1 for config in configs)
