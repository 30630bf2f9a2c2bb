"""A figure as a report prints it, and the networks that it is a figure of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gpunet.runs import RunConfig

_UNITS = {"": 1.0, "%": 0.01, "ms": 0.001, "s": 1.0}


@dataclass(frozen=True)
class Training:
    """An experiment of `gpunet.experiments`, some of whose fields may be changed; `name` tells it from the others.

    is_printed: whether a report prints figures of it. If not, it takes no part in what its single network takes, and a
    long one is trained with fewer seeds.
    """

    name: str
    task: str
    exp: str
    changes: tuple[tuple[str, Any], ...] = ()
    is_printed: bool = True

    def config(self, **options: Any) -> RunConfig:
        """Its configuration, with the data, backend and first seed that are asked for."""
        return RunConfig.from_experiment(self.task, self.exp, **dict(self.changes), **options)


@dataclass(frozen=True)
class Printed:
    """One figure of a report.

    text: as the report prints it: "0.894", "97.12%", "913 ms", "1.18 s", "100". quantity: which of `QUANTITIES` stands
    beside it. trainings: of which networks; of several, the sum. of: the class, or average of classes, that it is
    about. row: what it is called in its table.
    """

    text: str
    quantity: str
    trainings: tuple[Training, ...]
    row: str
    of: str | None = None

    @property
    def value(self) -> float:
        """As a share, in seconds, or plain."""
        number, unit = self._parts
        return float(number) * _UNITS[unit]

    @property
    def half_unit(self) -> float:
        """Half of the last digit's unit: everything this near to `value` is printed the same."""
        number, unit = self._parts
        return 0.5 * 10.0 ** -len(number.partition(".")[2]) * _UNITS[unit]

    @property
    def is_percentage(self) -> bool:
        return self.text.endswith("%")

    @property
    def _parts(self) -> tuple[str, str]:
        number, unit = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(%|ms|s|)", self.text).groups()
        return number, unit


@dataclass(frozen=True)
class Table:
    """Figures that belong together.

    report: which. key: what files call it. place: where they stand in the report. figures: as the report states the
    networks. others: the same figures beside other networks than the report states, in the same order; or none.
    stated, otherwise: what the two kinds of networks are, where there are others. note: what a reader should know.
    """

    report: str
    key: str
    place: str
    title: str
    figures: tuple[Printed, ...]
    others: tuple[Printed, ...] = ()
    stated: str = ""
    otherwise: str = ""
    note: str = ""

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Each once, in the order in which they are first named."""
        return tuple(dict.fromkeys(each for figure in (*self.figures, *self.others) for each in figure.trainings))
