"""All that both reports print, the trainings that it takes to set ours beside it, and those beyond the reports."""

from __future__ import annotations

from gpunet.reproduction import beyond, numpy_report, pytorch_report
from gpunet.reproduction.printed import Table, Training

TABLES: tuple[Table, ...] = (*pytorch_report.TABLES, *numpy_report.TABLES)


def trainings() -> tuple[Training, ...]:
    """Each training once, however many figures are of it: in the order of the reports, and then beyond them."""
    of_reports = (training for table in TABLES for training in table.trainings)
    return tuple(dict.fromkeys((*of_reports, *(idea.training for idea in beyond.IDEAS))))
