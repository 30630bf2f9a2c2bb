"""All that both reports print, and the trainings that it takes to set ours beside it."""

from __future__ import annotations

from gpunet.reproduction import numpy_report, pytorch_report
from gpunet.reproduction.printed import Table, Training

TABLES: tuple[Table, ...] = (*pytorch_report.TABLES, *numpy_report.TABLES)


def trainings() -> tuple[Training, ...]:
    """Each training once, however many figures are of it, in the order of the reports."""
    return tuple(dict.fromkeys(training for table in TABLES for training in table.trainings))
