"""scikit-learn's own checks of an estimator, at the defaults. None is expected to fail.

Those of feature names skip themselves without pandas, and that of the array API does unless SCIPY_ARRAY_API=1 is set.
"""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpunet import MLPClassifier, MLPRegressor

EXPECTED_TO_FAIL: dict[str, str] = {}  # {check: reason}


@parametrize_with_checks([MLPClassifier(), MLPRegressor()], expected_failed_checks=lambda model: EXPECTED_TO_FAIL)
@pytest.mark.filterwarnings("ignore")
def test_estimator_is_one_of_scikit_learns(estimator, check):
    check(estimator)
