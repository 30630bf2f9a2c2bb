"""What a run tells."""

from __future__ import annotations

import numpy as np

from gpunet.history import Curve, EpochReport, History


def test_report_gives_the_first_networks_figures_of_an_epoch():
    def curve(offset):
        return Curve(*(np.array([[1.0, 2], [3, 4]]) + each for each in (offset, offset + 0.5)))

    history = History(curve(0), None, curve(10), np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), 2, 1.0, False)
    assert history.report(1) == EpochReport(2, 2, 2.0, 2.5, None, None, 12.0, 12.5)
    assert all(type(value) is float for value in history.report(0) if value is not None and value != 1 and value != 2)
