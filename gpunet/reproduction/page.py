"""The page: what was trained on what, then each report's tables and figures with ours beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from gpunet.reporting.facts import DRAWN_WARNING, clean, data_name, duration, is_drawn, seeds_text
from gpunet.reproduction import pytorch_report
from gpunet.reproduction.best_model import Choice, choose_model
from gpunet.reproduction.beyond import IDEAS, REFERENCES, Idea
from gpunet.reproduction.blocks import Block, Facts, Heading, Pairs, Picture, Rows, Text
from gpunet.reproduction.figures import DESCRIPTIONS
from gpunet.reproduction.findings import Finding, find, interval_text, mark, ours_text
from gpunet.reproduction.gains import find_gain
from gpunet.reproduction.gains_figure import NAME as GAINS_FIGURE
from gpunet.reproduction.printed import Printed, Table, Training
from gpunet.reproduction.pytorch_report import CLASS_QUANTITIES, MODELS, MULTICLASS, SETUP, percent
from gpunet.reproduction.quantities import COUNT, QUANTITIES, SECONDS
from gpunet.reproduction.reports import TABLES, trainings
from gpunet.reproduction.running import Outcome

TITLE = "Both course reports, reproduced"
NO_EVIDENCE = "agreement with the reports' figures is no evidence of anything"
INTERVAL = "95% interval"
CLASS_NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}
LOSSES = {"softmax_cross_entropy": "CrossEntropyLoss", "binary_cross_entropy": "BCEWithLogitsLoss"}


def blocks(outcome: Outcome, facts: dict[str, Any], drawn: set[str]) -> list[Block]:
    """The page. facts: of `artifacts.facts`. drawn: the names of the figures that there are."""
    return list(_Page(outcome, facts, drawn).blocks())


def data_warning(outcome: Outcome) -> str | None:
    """What a reader must know of the data before the first figure; None of the reports' own."""
    if outcome.is_evidence:
        return None
    if is_drawn(outcome.dataset):
        return f"{DRAWN_WARNING} They were calibrated to these very reports: {NO_EVIDENCE}."
    return f"Not the reports' images, but {data_name(outcome.dataset)}: {NO_EVIDENCE}."


def brevity(outcome: Outcome) -> str | None:
    """That it was to be quick, and what was left out."""
    if not outcome.plan.quick:
        return None
    seeds = "one seed" if outcome.plan.seeds == 1 else f"{outcome.plan.seeds} seeds"
    return (
        f"A quick look: {seeds}, fewer beyond the reports, and one network of each kind timed by itself. Images, "
        "epochs and all else are those of the whole."
    )


def interruption(outcome: Outcome) -> str | None:
    """That Ctrl-C ended it, and after how much."""
    if not outcome.interrupted:
        return None
    done = len(outcome.results) + len(outcome.diverged)
    return f"Interrupted after {done} of {len(trainings())} trainings: what is missing below stands as '-'."


def agreement(outcome: Outcome) -> tuple[int, int]:
    """Of how many figures the report's run lies inside our interval, and of how many that is said; without the other
    networks than the report states, and without counts of images."""
    found = [find(each, outcome) for table in TABLES for each in table.figures if _counts(each)]
    marked = [each.inside for each in found if each is not None and each.inside is not None]
    return sum(marked), len(marked)


def _counts(printed: Printed) -> bool:
    return QUANTITIES[printed.quantity].kind != COUNT


class _Page:
    def __init__(self, outcome: Outcome, facts: dict[str, Any], drawn: set[str]) -> None:
        self.outcome, self.facts, self.drawn = outcome, facts, drawn
        self.tables = {table.key: table for table in TABLES}

    def blocks(self) -> Iterator[Block]:
        yield from self.opening()
        yield from self.explanation()
        yield from self.pytorch_report()
        yield from self.numpy_report()
        yield from self.beyond()
        yield from self.closing()

    def opening(self) -> Iterator[Block]:
        outcome, plan = self.outcome, self.outcome.plan
        seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
        date = datetime.fromisoformat(self.facts["date"])
        yield Heading(TITLE, 1)
        yield Text(f"{date:%Y-%m-%d %H:%M %Z}, {seeds_text(seeds)}, gpunet {self.facts['versions']['gpunet']}", "muted")
        warning = data_warning(outcome)
        if warning is not None:
            yield Text(warning, "warning")
            yield Text(outcome.dataset.note, "note")
        for text in (interruption(outcome), *self.diverged()):
            if text is not None:
                yield Text(text, "warning")
        if plan.quick:
            yield Text(brevity(outcome), "note")
        known = {
            "networks trained": f"{sum(int(result.sound.sum()) for result in outcome.results.values()):,}",
            "seeds of each reported kind": str(plan.seeds),
            "wall-clock time": duration(outcome.took),
            "images": f"{len(outcome.dataset):,}",
        }
        inside, marked = agreement(outcome)
        if marked:
            known = {"reported figures inside our 95% intervals": f"{inside} of {marked}"} | known
        yield Facts(known)

    def diverged(self) -> Iterator[str]:
        for training, why in self.outcome.diverged.items():
            yield f"{training.name}: {why}"
        for training, result in self.outcome.results.items():
            if result.diverged_seeds:
                yield f"{training.name}: {len(result.diverged_seeds)} networks diverged and do not count."

    def explanation(self) -> Iterator[Block]:
        yield Text(f"Data: {clean(data_name(self.outcome.dataset))}. On {self.outcome.backend}.", "muted")
        yield Text(
            "The reports trained each network once. Here each is trained with every seed, which decides its weights, "
            "its batches, and which images it learns from and is tested on. 'Ours' is the mean ± the standard "
            "deviation over the seeds; the 95% interval is where one more run of ours would lie with that probability, "
            "mean ± t s √(1 + 1/N), cut off where no figure can be."
        )
        if self.outcome.is_evidence:
            yield Text(
                "✓: the report's run lies inside the interval, allowing for its rounding. ✗: it lies outside. Of "
                "twenty figures that agree, one is expected to lie outside by chance; figures of one run go together. "
                "Times get no mark, since they are another machine's.",
            )
        else:
            yield Text(
                "Whether the reports' runs lie inside is not said here: that is a question for their own images "
                "alone (--data signs).",
            )

    def pytorch_report(self) -> Iterator[Block]:
        yield Heading("The PyTorch report")
        yield Heading("Table 1: set-up", 3)
        yield from self.setup()
        yield Heading("Figure 1: the binary model", 3)
        yield from self.flat("section-3-2")
        yield from self.picture("binary_confusion_matrix")
        models = zip(("Figure 2", "Figure 3", "Figure 4"), ("table-2", "table-3", "table-4"), MULTICLASS, strict=True)
        for place, key, training in models:
            table, model = self.tables[key], _model(training)
            yield Heading(f"{table.place}: classification report of {model}", 3)
            yield from self.classes(table, training)
            if key == "table-2":
                yield from self.flat("section-3-3")
            yield Heading(f"{place}: loss and accuracy of {model}", 3)
            yield from self.picture(f"{training.exp}_curves")
        yield Heading("Table 5: performance comparison", 3)
        yield from self.flat("table-5")
        yield Heading("The best model", 3)
        yield from self.best_model()
        yield Heading("Training time", 3)
        yield from self.flat("section-2-2")

    def setup(self) -> Iterator[Block]:
        ours = setup_of_ours()
        rows = [
            (aspect, *texts, "the same" if texts == SETUP[aspect] else ", ".join(SETUP[aspect]))
            for aspect, texts in ours.items()
        ]
        yield Rows(("aspect", *MODELS, "the report"), rows, (len(MODELS) + 1,))
        note = MODELS["Exp 2"].config().experiment.reported.note
        yield Text(f"Sigmoid and softmax are part of the loss. {note}", "note")

    def classes(self, table: Table, training: Training) -> Iterator[Block]:
        """One row a class, three figures each, which leaves no room for intervals: these stand in numbers.csv."""
        columns = ["class"]
        for quantity in CLASS_QUANTITIES:
            columns += [f"{CLASS_NAMES[quantity]}: ours", "report"]
        columns += ["images: ours", "report"]
        by_row: dict[str, dict[str, Printed]] = {}
        for printed in table.figures:
            by_row.setdefault(printed.row, {})[printed.quantity] = printed
        rows = [[name, *self.class_cells(printed)] for name, printed in by_row.items()]
        rows += [[clean(name), *self.unreported_class(training, name)] for name in self.unreported(training, by_row)]
        yield Rows(columns, rows, (1, 3, 5, 7))

    def class_cells(self, printed: dict[str, Printed]) -> Iterator[str]:
        for quantity in (*CLASS_QUANTITIES, "images"):
            if quantity == "f1" and "test_accuracy" in printed:
                quantity = "test_accuracy"  # which stands in the column of F1, as in the report
            each = printed.get(quantity)
            yield from ("", "") if each is None else self.ours_and_theirs(each)

    def unreported(self, training: Training, known: dict[str, Any]) -> list[str]:
        """Classes of the data that the report does not have."""
        result = self.outcome.results.get(training)
        return [] if result is None else [name for name in result.dataset.class_names if name not in known]

    def unreported_class(self, training: Training, name: str) -> Iterator[str]:
        for quantity in (*CLASS_QUANTITIES, "images"):
            own = Printed("0" if quantity == "images" else "0.00", quantity, (training,), name, of=name)
            yield from (ours_text(find(own, self.outcome)), "-")

    def best_model(self) -> Iterator[Block]:
        choice = choose_model(self.outcome)
        rows = []
        for model, training in MODELS.items():
            if training in MULTICLASS:
                accuracy, loss = (
                    ours_text(find(Printed(text, quantity, (training,), ""), self.outcome))
                    for text, quantity in (("0.0%", "validation_accuracy"), ("0.00", "validation_loss"))
                )
                wins = "-" if choice is None else f"{choice.wins[training]:g} of {choice.seeds}"
                reported = training.config().experiment.reported
                rows.append((model, accuracy, percent(reported.validation_accuracy), loss, wins))
        columns = (
            "model",
            "validation accuracy: ours",
            "report",
            "validation loss: ours",
            "seeds with which it is best",
        )
        yield Rows(columns, rows, (1,))
        yield Text(_choice_text(choice))
        yield from self.flat("section-3-6")
        yield from self.picture("exp2_confusion_matrix")

    def numpy_report(self) -> Iterator[Block]:
        yield Heading("The NumPy report")
        yield Text(
            "784 inputs, sigmoid, one output, trained sample by sample on 4 against 9. The initial loss is the mean "
            "over the first epoch and the final loss that over the last one, both taken while it trains, each sample "
            "before its update, as the report's public notebook takes them. Training times are those of single "
            f"networks trained by themselves ({self.outcome.plan.timed} of each kind), on another machine than the "
            "report's."
        )
        yield from self.flat("section-1-1")
        for key, figure in (
            ("epochs", "numpy_epochs"),
            ("neurons", "numpy_neurons"),
            ("learning-rates", "numpy_learning_rates"),
            ("repeats", "numpy_repeats"),
        ):
            table = self.tables[key]
            yield Heading(table.title, 3)
            yield from self.flat(key)
            if table.others:
                yield from self.which_networks(table)
            yield from self.picture(figure)

    def beyond(self) -> Iterator[Block]:
        yield Heading("Beyond the reports")
        yield Text(
            "What the reports name as future work, one idea at a time, and 'best', which joins what helped. The gain "
            "is the mean difference to exp2's test accuracy, or to that of the NumPy report's model, ± its standard "
            "error: each network stands beside the one of the same seed, which learns from the same images and is "
            "tested on the same ones. Settings were chosen by validation accuracy on drawn hands, MNIST digits and "
            "photographs of signs, with other seeds than 0 to 19; none by test accuracy."
        )
        rows = []
        for task, (reference, name) in REFERENCES.items():
            rows.append(self.reference_row(reference, name))
            rows += [self.gain_row(idea) for idea in IDEAS if idea.experiment.task == task]
        yield Rows(("", "test accuracy", "gain, points", "seeds", "parameters", "training of one"), rows, (1, 2, 3))
        yield from self.picture(GAINS_FIGURE)
        yield Pairs({idea.training.name: _what(idea) for idea in IDEAS})
        yield Text(
            "Networks that take long get fewer seeds. Times are shares of what all networks of a kind took.", "note"
        )

    def reference_row(self, training: Training, name: str) -> tuple[str, ...]:
        """The model that gains are counted from."""
        found = find(Printed("0.0%", "test_accuracy", (training,), ""), self.outcome)
        if found is None:
            return (name, *["-"] * 5)
        result = self.outcome.results[training]
        seconds = duration(result.seconds["training"] / int(result.population.trained.sum()))
        return (name, ours_text(found), "", str(found.n), f"{result.network.layout.count:,}", seconds)

    def gain_row(self, idea: Idea) -> tuple[str, ...]:
        gain = find_gain(idea, self.outcome)
        if gain is None:
            return (idea.training.name, *["-"] * 5)
        return (
            idea.training.name,
            f"{100 * gain.accuracy:.1f}" + ("%" if gain.sd is None else f" ± {100 * gain.sd:.1f}%"),
            f"{100 * gain.gain:+.2f}" + ("" if gain.error is None else f" ± {100 * gain.error:.2f}"),
            str(gain.n),
            f"{gain.parameters:,}",
            duration(gain.seconds),
        )

    def which_networks(self, table: Table) -> Iterator[Block]:
        """Whether the report's figures look like those of the networks that it states."""
        heaps = (
            "One neuron has learnt by then, or it has not: its losses and accuracies tend to fall into two heaps, of "
            "which a mean and a wide interval say little, and the lines of the figure more."
        )
        if self.outcome.is_evidence:
            stated, others = self.inside_of(table.figures), self.inside_of(table.others)
            heaps = f"Inside the intervals of {table.stated}: {stated}; of {table.otherwise}: {others}. {heaps}"
        yield Text(heaps, "note")

    def inside_of(self, figures: tuple[Printed, ...]) -> str:
        found = [find(each, self.outcome) for each in figures]
        marked = [each.inside for each in found if each is not None and each.inside is not None]
        return f"{sum(marked)} of {len(marked)} losses and accuracies"

    def flat(self, key: str) -> Iterator[Block]:
        """A table with a row for each figure."""
        table = self.tables[key]
        rows = []
        for place, printed in enumerate(table.figures):
            row = [printed.row, printed.text, *self.ours_and_interval(printed)]
            if table.others:
                row += self.ours_and_interval(table.others[place])
            rows.append(row)
        columns = ["", "report", f"{table.stated}: ours" if table.stated else "ours", INTERVAL]
        if table.others:
            columns += [f"{table.otherwise}: ours", INTERVAL]
        if not any(row[3] for row in rows):
            columns, rows = columns[:3], [row[:3] for row in rows]
        yield Rows(columns, rows, (1, 2, 4) if table.others else (1,))
        if table.note:
            yield Text(table.note, "note")

    def ours_and_interval(self, printed: Printed) -> tuple[str, str]:
        found = find(printed, self.outcome)
        return ours_text(found) + self.fewer(found), (interval_text(found) + mark(found)).lstrip()

    def ours_and_theirs(self, printed: Printed) -> tuple[str, str]:
        found = find(printed, self.outcome)
        return ours_text(found) + self.fewer(found), printed.text + mark(found)

    def fewer(self, found: Finding | None) -> str:
        """That some networks do not count."""
        if found is None or found.n == self.outcome.plan.seeds or _is_time(found.printed):
            return ""
        return f" (of {found.n})"

    def picture(self, name: str) -> Iterator[Block]:
        if name in self.drawn:
            yield Picture(name, DESCRIPTIONS[name])
        else:
            yield Text("No figure: its networks were not trained.", "muted")

    def closing(self) -> Iterator[Block]:
        yield Heading("What was trained")
        rows = []
        for training in trainings():
            result = self.outcome.results.get(training)
            if result is None:
                rows.append((training.name, "diverged" if training in self.outcome.diverged else "-", "", "", ""))
                continue
            alone = self.outcome.seconds.get(training, ())
            rows.append(
                (
                    training.name,
                    f"{int(result.sound.sum())}",
                    f"{result.network.layout.count:,}",
                    duration(result.seconds["training"]),
                    duration(float(alone.mean())) if len(alone) else "-",
                )
            )
        yield Rows(("networks", "how many", "parameters each", "training of all", "of one, by itself"), rows)
        yield Heading("Data, versions and device")
        data = self.facts["data"]
        known = {"source": data["source"], "note": data["note"], "images": f"{data['images']:,}"}
        known |= {"classes": ", ".join(data["class_names"]), "SHA-256": data["sha256"]}
        known |= {name: "none" if value is None else str(value) for name, value in self.facts["versions"].items()}
        known |= {name: "none" if value is None else str(value) for name, value in self.facts["device"].items()}
        yield Pairs({name.replace("_", " "): clean(text) for name, text in known.items()})


def setup_of_ours() -> dict[str, tuple[str, ...]]:
    """Table 1 and the last rows of Table 5, of what is trained here: aspect -> what it is for each model."""
    configs = [training.config() for training in MODELS.values()]
    rows: dict[str, Callable[[Any], str]] = {
        "Model Architecture": lambda c: str([784, *c.hidden, 1 if c.task == "binary" else 10]),
        "Learning Rate": lambda c: f"{c.learning_rate:g}",
        "Loss Function": lambda c: LOSSES[c.loss],
        "Optimizer": lambda c: c.optimizer.capitalize(),
        "Batch Size": lambda c: str(c.batch_size),
        "Number of Epochs": lambda c: str(c.epochs),
    }
    return {aspect: tuple(map(text, configs)) for aspect, text in rows.items()}


def _what(idea: Idea) -> str:
    """What an idea is, with its settings."""
    experiment = idea.experiment
    settings = [
        f"{'-'.join(map(str, experiment.sizes))} {experiment.activation}",
        f"{experiment.optimizer} {experiment.learning_rate:g}",
        f"batch {experiment.batch_size}",
        f"{experiment.epochs} epochs",
    ]
    if experiment.dropout:
        settings.append(f"dropout {experiment.dropout:g}")
    if experiment.augmentation is not None:
        settings.append(f"augmentation: {experiment.augmentation}")
    return f"{experiment.purpose} {', '.join(settings)}."


def _model(training: Training) -> str:
    return next(model for model, each in MODELS.items() if each == training)


def _is_time(printed: Printed) -> bool:
    return QUANTITIES[printed.quantity].kind == SECONDS


def _choice_text(choice: Choice | None) -> str:
    if choice is None:
        return "Which model is the best cannot be said: not all of them were trained."
    wins = f"it is the best of the three with {choice.wins[choice.best]:g} of {choice.seeds} seeds"
    if choice.is_the_reports:
        return f"The report chose Exp 2, and so do we, by the mean validation accuracy: {wins}."
    return (
        f"The report chose Exp 2. Here {_model(choice.best)} has the highest mean validation accuracy: {wins}, Exp 2 "
        f"with {choice.wins[pytorch_report.BEST]:g}."
    )
