"""What is shown during training: a line an epoch, or a display, or nothing."""

import io

from rich.console import Console

from gpunet.history import EpochReport
from gpunet.reporting.progress import progress

FIRST = EpochReport(1, 12, 2.30259, 0.0983, 2.1, 0.2, 2.25, 0.111)
LAST = EpochReport(12, 12, 0.123449, 1.0, 0.1, 1.0, 0.5, 0.875)
UNVALIDATED = EpochReport(2, 12, 0.00001234, 0.5, None, None, None, None)


def shown(*reports, **settings):
    console = Console(file=io.StringIO(), width=80, **settings)
    with progress(12, console) as on_epoch:
        for report in reports:
            on_epoch(report)
    return console.file.getvalue()


def test_progress_is_a_plain_line_an_epoch_where_there_is_no_terminal():
    assert shown(FIRST, UNVALIDATED, LAST, force_terminal=False).splitlines() == [
        "epoch  1/12  train loss 2.3026   9.8%  validation loss 2.2500  11.1%",
        "epoch  2/12  train loss 1.23e-05  50.0%",
        "epoch 12/12  train loss 0.1234 100.0%  validation loss 0.5000  87.5%",
    ]


def test_progress_on_a_terminal_ends_with_the_last_epochs_figures():
    text = shown(FIRST, LAST, force_terminal=True, color_system=None)
    assert "12/12" in text and "train loss 0.1234 100.0%  validation loss 0.5000  87.5%" in text


def test_progress_is_silent_and_asks_for_nothing_when_quiet():
    console = Console(file=io.StringIO(), force_terminal=True)
    with progress(12, console, quiet=True) as on_epoch:
        assert on_epoch is None
    assert console.file.getvalue() == ""
