"""gpunet's networks under scikit-learn's interface, for pipelines, searches and cross-validation.

from gpunet import MLPClassifier

model = MLPClassifier(hidden_layer_sizes=(64,), pixel_scale=1 / 255, random_state=0).fit(images, labels)
model.predict_proba(images)
"""

from gpunet.estimators.classifier import MLPClassifier
from gpunet.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
